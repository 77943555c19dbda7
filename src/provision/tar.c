/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "provision/tar.h"

#define BLOCK 512
#define NAME_MAX_USTAR 100

/* POSIX.1-2017, pax, "ustar Interchange Format". */
struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, target[100], magic[6], version[2],
		user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};

_Static_assert(sizeof(struct header) == BLOCK, "a tar header is one block");

static void put(char *field, size_t size, const char *text)
{
	size_t n = strlen(text);

	memcpy(field, text, n < size ? n : size); /* a full field has no NUL */
}

static void pad_block(FILE *f, size_t len)
{
	static const char zeros[BLOCK];

	if (len % BLOCK)
		fwrite(zeros, 1, BLOCK - len % BLOCK, f);
}

static void write_header(FILE *f, const char *path, char type, const char *target, size_t len)
{
	struct header h = { .type = type };
	unsigned sum = 0;
	char text[16];

	put(h.name, sizeof(h.name), path);
	put(h.mode, sizeof(h.mode), type == '5' ? "0000755" : "0000644");
	put(h.uid, sizeof(h.uid), "0000000");
	put(h.gid, sizeof(h.gid), "0000000");
	snprintf(text, sizeof(text), "%011zo", len);
	put(h.size, sizeof(h.size), text);
	put(h.mtime, sizeof(h.mtime), "00000000000");
	if (target)
		put(h.target, sizeof(h.target), target);
	memcpy(h.magic, "ustar", 6);
	memcpy(h.version, "00", 2);
	memset(h.checksum, ' ', sizeof(h.checksum));
	for (size_t i = 0; i < sizeof(h); i++)
		sum += ((const unsigned char *)&h)[i];
	snprintf(text, sizeof(text), "%06o", sum);
	memcpy(h.checksum, text, 7); /* six digits, NUL, and the space that is there */
	fwrite(&h, 1, sizeof(h), f);
}

/* GNU tar: a name of any length as the content of an entry of its own, before the entry that has it. */
static void write_long(FILE *f, char type, const char *text)
{
	if (strlen(text) <= NAME_MAX_USTAR)
		return;
	write_header(f, "././@LongLink", type, NULL, strlen(text) + 1);
	fwrite(text, 1, strlen(text) + 1, f);
	pad_block(f, strlen(text) + 1);
}

static void write_entry(FILE *f, const char *path, char type, const char *target, size_t len)
{
	if (target)
		write_long(f, 'K', target);
	write_long(f, 'L', path);
	write_header(f, path, type, target, len);
}

void tar_file(FILE *f, const char *path, const void *data, size_t len)
{
	write_entry(f, path, '0', NULL, len);
	fwrite(data, 1, len, f);
	pad_block(f, len);
}

void tar_link(FILE *f, const char *path, const char *target)
{
	write_entry(f, path, '2', target, 0);
}

void tar_folder(FILE *f, const char *path)
{
	write_entry(f, path, '5', NULL, 0);
}

void tar_end(FILE *f)
{
	static const char zeros[2 * BLOCK];

	fwrite(zeros, 1, sizeof(zeros), f);
}
