/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without libFuzzer: each file of the corpus as it is, then mutations of it (cut
 * short, a byte changed, a piece repeated) from a fixed seed, so that a run can be repeated.
 *	fuzz_NAME FOLDER|FILE...
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* A fresh heap block of exact size, so that a read past the end is seen. */
static void run(const char *data, size_t len)
{
	_cleanup_free_ uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
}

static void mutate(const char *data, size_t len, unsigned rounds)
{
	_cleanup_free_ char *m = malloc(len * 2 + 1);

	if (!m)
		abort();
	while (len && rounds--) {
		size_t n = len, at = next() % len, piece;

		memcpy(m, data, len);
		switch (next() % 4) {
		case 0:
			n = at;
			break;
		case 1:
			m[at] = (char)next();
			break;
		case 2: /* a piece twice */
			piece = next() % (len - at) + 1;
			memmove(m + at + piece, m + at, len - at);
			n = len + piece;
			break;
		case 3:
			m[at] ^= (char)(1u << next() % 8);
			m[next() % len] = (char)next();
			break;
		}
		run(m, n);
	}
}

static int one(const char *path, unsigned rounds)
{
	_cleanup_free_ char *data = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, path, 1 << 20, &data, &len);

	if (r < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(-r));
		return 1;
	}
	run(data, len);
	mutate(data, len, rounds);
	return 0;
}

int main(int argc, char **argv)
{
	const unsigned rounds = 300;
	unsigned files = 0;
	int bad = 0;

	for (int i = 1; i < argc; i++) {
		_cleanup_closedir_ DIR *d = opendir(argv[i]);
		struct dirent *de;

		if (!d) {
			bad |= one(argv[i], rounds);
			files++;
			continue;
		}
		while ((de = readdir(d))) {
			char path[PATH_MAX];

			if (de->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i], de->d_name);
			bad |= one(path, rounds);
			files++;
		}
	}
	run("", 0);
	if (!files)
		fprintf(stderr, "no corpus\n");
	return bad || !files;
}
