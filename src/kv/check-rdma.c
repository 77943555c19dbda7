/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One rail's RDMA, proven: the transport that carries KV caches connects over exactly this device and address, READs, and the
 * bytes and the device's counters are held to what was asked for.
 */
#include <endian.h>
#include <string.h>

#include "base/clock.h"
#include "fabric/gid.h"
#include "kv/check.h"
#include "kv/transport.h"

#define MOVED (4u << 20)
#define CHUNK (64u << 10)
#define SILENCE_MS 20000

struct check_rdma {
	struct kv_mem *mem;
	struct kv_endpoint *end;
};

struct check_rdma *check_rdma_close(struct check_rdma *x)
{
	if (!x)
		return NULL;
	kv_endpoint_close(x->end);
	kv_mem_free(x->mem);
	free(x);
	return NULL;
}

static void closep(struct check_rdma **x)
{
	check_rdma_close(*x);
}

int check_rdma_open(struct arena *a, const struct check_rail *rail, bool passive, int peer_fd, struct check_rdma **ret, struct err *e)
{
	_cleanup_(closep) struct check_rdma *x = calloc(1, sizeof(*x));
	const char *text = arena_printf(a, "%s:%u%s%s", rail->rdma, rail->port, rail->address ? "@" : "",
					rail->address ? check_host(a, rail->address) : "");
	struct kv_config config = { .rails = &text, .n_rails = 1, .gid_index = -1, .lanes = 1, .passive = passive, .op = KV_READ,
				    .timeout_ms = SILENCE_MS, .peer_fd = peer_fd };
	int rc;

	if (!x)
		abort();
	rc = kv_mem_alloc("host", MOVED, &x->mem, e);
	if (rc < 0)
		return rc;
	config.mem = x->mem;
	rc = kv_endpoint_open("verbs", &config, &x->end, e);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(x);
	return 0;
}

int check_rdma_endpoint(struct check_rdma *x, struct arena *a, const char **ret, struct err *e)
{
	struct kv_bytes bytes;
	char *text;
	int rc = x->end->ops.describe(x->end, a, &bytes, e);

	if (rc < 0)
		return rc;
	text = arena_alloc(a, (size_t)bytes.n * 2 + 1);
	for (uint32_t i = 0; i < bytes.n; i++)
		snprintf(text + (size_t)i * 2, 3, "%02x", bytes.p[i]);
	*ret = text;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int check_rdma_connect(struct check_rdma *x, struct arena *a, const char *peer, struct err *e)
{
	size_t n = peer ? strlen(peer) / 2 : 0;
	unsigned char *p = arena_alloc(a, n);
	struct kv_bytes bytes = { .p = p, .n = (uint32_t)n };

	if (n == 0 || n > KV_ENDPOINT_MAX)
		return err_set(e, -EBADMSG, "the peer told no endpoint");
	for (size_t i = 0; i < n; i++) {
		int high = hex_digit(peer[i * 2]), low = hex_digit(peer[i * 2 + 1]);

		if (high < 0 || low < 0)
			return err_set(e, -EBADMSG, "the peer's endpoint is not hexadecimal");
		p[i] = (unsigned char)(high << 4 | low);
	}
	return x->end->ops.connect(x->end, &bytes, e);
}

void check_rdma_fill(struct check_rdma *x, uint64_t seed)
{
	for (size_t i = 0; i < MOVED; i += 8) {
		uint64_t word = htole64(kv_mix(&seed));

		memcpy((char *)x->mem->base + i, &word, 8);
	}
}

/* Offset of the first wrong bytes, MOVED when all are right. */
static size_t first_wrong(const struct check_rdma *x, uint64_t seed)
{
	for (size_t i = 0; i < MOVED; i += 8) {
		uint64_t word = htole64(kv_mix(&seed));

		if (memcmp((const char *)x->mem->base + i, &word, 8) != 0)
			return i;
	}
	return MOVED;
}

struct counter {
	const char *path;
	uint64_t before, after;
};

struct counters {
	struct counter *v;
	size_t n;
};

static void list_counters(struct check *c, const struct check_rail *r, const char *folder, struct counters *out)
{
	const char **names, *path;
	uint64_t value;
	size_t n;

	if (sysfs_list(c->root, c->arena, &names, &n, "class/infiniband/%s/ports/%u/%s", r->rdma, r->port, folder) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		path = arena_printf(c->arena, "class/infiniband/%s/ports/%u/%s/%s", r->rdma, r->port, folder, names[i]);
		if (sysfs_read_u64(c->root, 10, &value, "%s", path) == 0)
			*(struct counter *)arena_push(c->arena, &out->v, &out->n, sizeof(*out->v)) =
				(struct counter){ .path = path, .before = value };
	}
}

static uint64_t grown(const struct counter *k)
{
	return k->after > k->before ? k->after - k->before : 0;
}

/* Named differently by every driver: rcvd_pkts, port_rcv_data, rx_bytes, ip4InPkts. */
static bool counts_reception(const char *name)
{
	return strstr(name, "rcv") || strstr(name, "rx_") || strstr(name, "In");
}

static bool counts_loss(const char *name)
{
	static const char *const names[] = { "out_of_sequence", "packet_seq_err", "local_ack_timeout_err", "rnr_nak_retry_err",
					     "implied_nak_seq_err", "roce_adp_retrans", "out_of_buffer", "retry_exceeded_err",
					     "rcvd_seq_err", "out_of_seq_request", "completer_retry_err", NULL };

	for (const char *const *n = names; *n; n++)
		if (!strcmp(*n, name))
			return true;
	return false;
}

/* The bytes came as RDMA packets of this device, or they came another way. */
static void report_counters(struct check *c, const struct check_rail *r, struct counters *k)
{
	uint64_t packets = MOVED / (r->active_mtu ? r->active_mtu : 4096), most = 0;
	const char *expected = arena_printf(c->arena, "%lu packets or more received by %s", (unsigned long)packets, r->rdma);
	const char *proof = NULL, *lost = NULL;

	for (size_t i = 0; i < k->n; i++) {
		const char *name = strrchr(k->v[i].path, '/') + 1;

		if (sysfs_read_u64(c->root, 10, &k->v[i].after, "%s", k->v[i].path) < 0)
			continue;
		if (counts_loss(name) && grown(&k->v[i]))
			lost = arena_printf(c->arena, "%s%s%s +%lu", lost ? lost : "", lost ? ", " : "", name, (unsigned long)grown(&k->v[i]));
		else if (counts_reception(name) && grown(&k->v[i]) > most)
			proof = arena_printf(c->arena, "%s +%lu", name, (unsigned long)(most = grown(&k->v[i])));
	}
	if (k->n == 0)
		check_add(c, CHECK_PATH, CHECK_NOTE, r->ifname, "counters", expected, NULL,
			  "the device shows none here (it does only in its own namespace, in exclusive mode)");
	else if (most < packets)
		check_add(c, CHECK_PATH, CHECK_BAD, r->ifname, "counters", expected, "find out which device carried the bytes", "%s",
			  proof ? proof : "no counter moved");
	else
		check_add(c, CHECK_PATH, CHECK_GOOD, r->ifname, "counters", expected, NULL, "%s", proof);
	if (lost)
		check_add(c, CHECK_PATH, CHECK_NOTE, r->ifname, "loss", "no counter of loss moves", "see that PFC or ECN is on along the path", "%s",
			  lost);
}

/* All of the memory in pieces of the size of a KV block. */
static int read_all(struct check_rdma *x, struct kv_done *ret, struct err *e)
{
	struct kv_desc descs[MOVED / CHUNK];
	struct kv_plan plan = { .v = descs, .n = MOVED / CHUNK, .size = MOVED / CHUNK, .bytes = MOVED };

	for (size_t i = 0; i < plan.n; i++)
		descs[i] = (struct kv_desc){ .local = i * CHUNK, .remote = i * CHUNK, .len = CHUNK };
	return x->end->ops.read(x->end, &plan, ret, e);
}

void check_rdma_read(struct check *c, const struct check_rail *r, struct check_rdma *x, uint64_t seed)
{
	const char *expected = arena_printf(c->arena, "%u MiB by RC READ, every byte right", MOVED >> 20);
	struct counters counters = { NULL };
	struct kv_done done;
	size_t wrong;
	struct err e;

	memset(x->mem->base, 0, MOVED);
	list_counters(c, r, "counters", &counters);
	list_counters(c, r, "hw_counters", &counters);
	if (read_all(x, &done, &e) < 0) {
		check_add(c, CHECK_PATH, CHECK_BAD, r->ifname, "bytes moved", expected,
			  "see that UDP port 4791 is let through and the path MTU holds on the way", "%s", e.msg);
		return;
	}
	wrong = first_wrong(x, seed);
	if (wrong < MOVED)
		check_add(c, CHECK_PATH, CHECK_BAD, r->ifname, "bytes moved", expected, "take this device out of service: it does not keep its data",
			  "wrong from byte %zu on", wrong);
	else
		check_add(c, CHECK_PATH, CHECK_GOOD, r->ifname, "bytes moved", expected, NULL, "in %.1f ms, %.3f GB/s", (double)done.ns / 1e6,
			  (double)MOVED / (double)done.ns);
	report_counters(c, r, &counters);
}
