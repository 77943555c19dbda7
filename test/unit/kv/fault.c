/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the lab: two ends of transport verbs in one process, one of which is told something wrong.
 *	kv_fault none|key|short|beyond|gid RAIL RAIL
 * Prints one error, or "moved".
 */
#include <endian.h>
#include <string.h>

#include "kv/verbs.h"

/* As in verbs.c: base, size, rails, lanes, then a struct kv_verbs_there. */
struct hello {
	uint64_t base, size;
	uint32_t n_rails, n_lanes;
	struct kv_verbs_there rail;
};

static void spoil(struct hello *h, const char *fault, size_t size)
{
	if (!strcmp(fault, "key"))
		h->rail.key ^= htole32(0x5a00);
	else if (!strcmp(fault, "short"))
		h->size = htole64(size / 2);
	else if (!strcmp(fault, "beyond"))
		h->base = htole64(le64toh(h->base) + size);
	else if (!strcmp(fault, "gid"))
		h->rail.gid.raw[15] ^= 0x40; /* an address that nobody has */
}

static int run(const char *fault, const char *here, const char *there, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_kv_mem_ struct kv_mem *from = NULL, *to = NULL;
	_cleanup_kv_endpoint_ struct kv_endpoint *passive = NULL, *active = NULL;
	const size_t size = 1 << 20;
	struct kv_config c = { .rails = &there, .n_rails = 1, .gid_index = -1, .lanes = 1, .passive = true, .timeout_ms = 60000,
			       .peer_fd = -1 };
	struct kv_desc all = { 0, 0, size };
	struct kv_plan plan = { &all, 1, 1, size };
	struct kv_bytes told, back;
	struct kv_done done;
	int r = kv_mem_alloc("host", size, &from, e);

	if (r == 0)
		r = kv_mem_alloc("host", size, &to, e);
	if (r < 0)
		return r;
	memset(from->base, 7, size);
	c.mem = from;
	r = kv_endpoint_open("verbs", &c, &passive, e);
	c.rails = &here;
	c.passive = false;
	c.mem = to;
	if (r == 0)
		r = kv_endpoint_open("verbs", &c, &active, e);
	if (r == 0)
		r = passive->ops.describe(passive, a, &told, e);
	if (r == 0)
		r = active->ops.describe(active, a, &back, e);
	if (r == 0)
		r = passive->ops.connect(passive, &back, e);
	if (r < 0)
		return r;
	spoil((struct hello *)told.p, fault, size);
	r = active->ops.connect(active, &told, e);
	if (r == 0)
		r = active->ops.read(active, &plan, &done, e);
	if (r == 0 && memcmp(from->base, to->base, size) != 0)
		r = err_set(e, -EBADMSG, "other bytes arrived");
	return r;
}

int main(int argc, char **argv)
{
	struct err e;

	if (argc != 4)
		return 2;
	if (run(argv[1], argv[2], argv[3], &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	puts("moved");
	return 0;
}
