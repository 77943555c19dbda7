/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/strbuf.h"
#include "fabric/gid.h"

/* Tables have some hundred entries (mlx5: 255 of RoCE; rxe: 1024); a folder with more than this is no GID table. */
#define GID_INDEX_MAX 65535u
/* The kernel gives a new entry the first free slot (drivers/infiniband/core/cache.c, find_gid), so what is used is at the front. */
#define FREE_IN_A_ROW 16
#define PAUSE_MAX_MS 64

static bool gid_is_zero(const unsigned char gid[16])
{
	static const unsigned char zero[16];

	return !memcmp(gid, zero, 16);
}

/* fe80::/64: made from the MAC or the GUID, without anybody's configuration. */
static bool gid_is_link_local(const unsigned char gid[16])
{
	static const unsigned char prefix[8] = { 0xfe, 0x80 };

	return !memcmp(gid, prefix, 8);
}

char *gid_format(struct arena *a, const unsigned char gid[16])
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < 16; i += 2)
		strbuf_addf(&b, "%s%02x%02x", i ? ":" : "", gid[i], gid[i + 1]);
	return arena_strdup(a, b.s);
}

const char *gid_type_name(enum gid_type t)
{
	switch (t) {
	case GID_ROCE_V1:
		return "RoCE v1";
	case GID_ROCE_V2:
		return "RoCE v2";
	case GID_IB:
		return "InfiniBand";
	case GID_NONE:
		break;
	}
	return "unknown";
}

/* Texts of kernel drivers/infiniband/core/cache.c, gid_type_str; v1 and InfiniBand share one. */
static enum gid_type type_of(const char *text, bool infiniband)
{
	if (!strcmp(text, "RoCE v2"))
		return GID_ROCE_V2;
	if (!strcmp(text, "IB/RoCE v1"))
		return infiniband ? GID_IB : GID_ROCE_V1;
	return GID_NONE;
}

/* "rxe_net1, mlx5_3" or "none". */
static const char *devices_here(const struct sysroot *r, struct arena *a)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	const char **names;
	size_t n;

	if (sysfs_list(r, a, &names, &n, "class/infiniband") < 0 || n == 0)
		return "none";
	for (size_t i = 0; i < n; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", names[i]);
	return arena_strdup(a, b.s);
}

bool gid_is_infiniband(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port)
{
	const char *layer;

	return sysfs_read(r, a, &layer, "class/infiniband/%s/ports/%u/link_layer", rdma, port) == 0 &&
	       !strcmp(layer, "InfiniBand");
}

/* Entry @index; *used is false for a free slot: zeros, and types and ndevs fail with EINVAL. */
static int read_entry(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port,
		      bool infiniband, unsigned index, struct gid_entry *ret, bool *used)
{
	const char *dir = arena_printf(a, "class/infiniband/%s/ports/%u", rdma, port);
	struct gid_entry g = { .index = index };
	const char *text;
	int rc;

	*used = false;
	rc = sysfs_read(r, a, &text, "%s/gids/%u", dir, index);
	if (rc < 0)
		return rc;
	if (inet_pton(AF_INET6, text, g.gid) != 1)
		return -EBADMSG;
	if (gid_is_zero(g.gid))
		return 0;
	/* an entry that goes away between the reads has neither */
	if (sysfs_read(r, a, &text, "%s/gid_attrs/types/%u", dir, index) == 0)
		g.type = type_of(text, infiniband);
	else if (infiniband)
		g.type = GID_IB;
	if (sysfs_read(r, a, &text, "%s/gid_attrs/ndevs/%u", dir, index) == 0)
		g.ndev = text;
	*ret = g;
	*used = true;
	return 0;
}

int gid_table(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port,
	      struct gid_entry **ret, size_t *ret_n, struct err *e)
{
	bool infiniband = gid_is_infiniband(r, a, rdma, port);
	struct gid_entry *table = NULL, entry;
	size_t n = 0, n_names;
	const char **names;
	uint64_t index;
	bool used;
	int rc;

	rc = sysfs_list(r, a, &names, &n_names, "class/infiniband/%s/ports/%u/gids", rdma, port);
	if (rc == -ENOENT)
		return err_set(e, -ENODEV,
			       "%s has no port %u in this namespace; RDMA devices here: %s", rdma,
			       port, devices_here(r, a));
	if (rc < 0)
		return err_errno(e, rc, "GID table of %s port %u", rdma, port);
	for (size_t i = 0; i < n_names; i++) {
		if (parse_u64(names[i], 10, 0, GID_INDEX_MAX, &index) < 0)
			continue;
		rc = read_entry(r, a, rdma, port, infiniband, (unsigned)index, &entry, &used);
		if (rc < 0)
			return err_errno(e, rc, "GID %s of %s port %u", names[i], rdma, port);
		if (used)
			*(struct gid_entry *)arena_push(a, &table, &n, sizeof(entry)) = entry;
	}
	*ret = table;
	*ret_n = n;
	return 0;
}

/*
 * The first entry that @is accepts, without the many reads that the free rest of a table costs: the look ends where a run of slots is
 * free. -ENOENT: not at the front, which does not say that the table has none.
 */
static int find_in_front(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port,
			 bool (*is)(const struct gid_entry *g, const void *arg), const void *arg, struct gid_entry *ret)
{
	bool infiniband = gid_is_infiniband(r, a, rdma, port), used;
	struct gid_entry g;

	for (unsigned i = 0, unused = 0; unused < FREE_IN_A_ROW; i++) {
		int rc = read_entry(r, a, rdma, port, infiniband, i, &g, &used);

		if (rc < 0)
			return rc;
		unused = used ? 0 : unused + 1;
		if (used && is(&g, arg)) {
			*ret = g;
			return 0;
		}
	}
	return -ENOENT;
}

static bool find_in_table(const struct gid_entry *t, size_t n, bool (*is)(const struct gid_entry *g, const void *arg), const void *arg,
			  struct gid_entry *ret)
{
	for (size_t i = 0; i < n; i++)
		if (is(&t[i], arg)) {
			*ret = t[i];
			return true;
		}
	return false;
}

/* The GID that the kernel makes of an address: ::ffff:a.b.c.d for IPv4, the address itself for IPv6. */
static int gid_of_address(const char *address, unsigned char ret[16])
{
	unsigned char gid[16] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET, address, gid + 12) != 1 && inet_pton(AF_INET6, address, gid) != 1)
		return -EINVAL;
	memcpy(ret, gid, 16);
	return 0;
}

/* "0 fe80:... RoCE v2 net1; 1 ..." of the first few. */
static const char *table_text(struct arena *a, const struct gid_entry *t, size_t n)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	const size_t few = 8;

	for (size_t i = 0; i < n && i < few; i++)
		strbuf_addf(&b, "%s%u %s %s %s", i ? "; " : "", t[i].index, gid_format(a, t[i].gid),
			    gid_type_name(t[i].type), t[i].ndev ? t[i].ndev : "-");
	if (n > few)
		strbuf_addf(&b, "; and %zu more", n - few);
	return arena_strdup(a, b.s);
}

/* What a table without the wanted entry means, and the way out. */
static int not_found(struct arena *a, const struct gid_entry *t, size_t n, const char *rdma, unsigned port,
		     const char *address, const char *ndev, struct err *e)
{
	const struct gid_entry *v1 = NULL, *elsewhere = NULL;
	bool only_link_local = true, infiniband = false;
	unsigned char want[16];
	const char *meaning;

	gid_of_address(address, want);
	for (size_t i = 0; i < n; i++) {
		only_link_local = only_link_local && gid_is_link_local(t[i].gid);
		infiniband = infiniband || t[i].type == GID_IB;
		if (memcmp(t[i].gid, want, 16))
			continue;
		if (t[i].type == GID_ROCE_V2)
			elsewhere = &t[i];
		else
			v1 = &t[i];
	}
	if (n == 0)
		return err_set(e, -ENOENT,
			       "%s port %u has an empty GID table: its netdev is in another namespace or down; move netdev and "
			       "RDMA device into the same namespace",
			       rdma, port);
	if (infiniband)
		meaning = "the port's link layer is InfiniBand, where GIDs do not come from addresses";
	else if (elsewhere)
		meaning = arena_printf(a, "the address belongs to %s, not to %s",
				       elsewhere->ndev ? elsewhere->ndev : "no interface", ndev);
	else if (v1)
		meaning = "the address has a RoCE v1 entry only: the device does not offer RoCE v2";
	else if (only_link_local)
		meaning = arena_printf(a, "only link-local entries: %s has no such address or is down",
				       ndev ? ndev : "the interface");
	else
		meaning = "no interface of this device has that address";
	return err_set(e, -ENOENT, "%s port %u has no RoCE v2 GID for %s: %s (table: %s)", rdma,
		       port, address, meaning, table_text(a, t, n));
}

struct wanted {
	unsigned char gid[16];
	const char *ndev; /* NULL: any */
};

static bool is_wanted(const struct gid_entry *g, const void *arg)
{
	const struct wanted *w = arg;

	return g->type == GID_ROCE_V2 && !memcmp(g->gid, w->gid, 16) && (!w->ndev || (g->ndev && !strcmp(g->ndev, w->ndev)));
}

int gid_wait(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port, const char *address,
	     const char *ndev, unsigned ms, struct gid_entry *ret, struct err *e)
{
	uint64_t end = clock_ns() + (uint64_t)ms * 1000000;
	struct wanted w = { .ndev = ndev };
	struct gid_entry *t;
	size_t n;
	int rc;

	if (gid_of_address(address, w.gid) < 0)
		return err_set(e, -EINVAL, "%s is no IPv4 or IPv6 address", address);
	for (unsigned pause = 1;; pause = pause < PAUSE_MAX_MS ? pause * 2 : pause) {
		if (find_in_front(r, a, rdma, port, is_wanted, &w, ret) == 0)
			return 0;
		if (clock_ns() >= end)
			break;
		clock_sleep_ms(pause);
	}
	rc = gid_table(r, a, rdma, port, &t, &n, e);
	if (rc < 0)
		return rc;
	if (find_in_table(t, n, is_wanted, &w, ret))
		return 0;
	return not_found(a, t, n, rdma, port, address, ndev, e);
}

int gid_find(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port, const char *address,
	     const char *ndev, struct gid_entry *ret, struct err *e)
{
	return gid_wait(r, a, rdma, port, address, ndev, 0, ret, e);
}

bool gid_ndev_is_here(const struct sysroot *r, struct arena *a, const char *rdma, const char *ndev)
{
	const char *of_device, *of_ndev;

	if (!ndev)
		return true;
	if (!sysfs_exists(r, "class/net/%s", ndev))
		return false;
	return sysfs_link(r, a, &of_device, "class/infiniband/%s/device", rdma) < 0 ||
	       sysfs_link(r, a, &of_ndev, "class/net/%s/device", ndev) < 0 || !strcmp(of_device, of_ndev);
}

/* Kernel include/rdma/ib_addr.h, iboe_get_mtu(): GRH 40, UDP 8, BTH 12, XRC 4, atomic 28, ICRC 4. */
unsigned gid_roce_mtu(unsigned netdev_mtu)
{
	const unsigned headers = 96;

	for (unsigned mtu = 4096; mtu >= 256; mtu /= 2)
		if (netdev_mtu >= mtu + headers)
			return mtu;
	return 0;
}

static bool tells_ndev(const struct gid_entry *g, const void *arg)
{
	return g->ndev;
}

int gid_port(const struct sysroot *r, struct arena *a, const char *rdma, unsigned port, struct gid_port *ret)
{
	const char *dir = arena_printf(a, "class/infiniband/%s/ports/%u", rdma, port);
	struct gid_port p = { NULL };
	struct gid_entry g = { 0 }, *t;
	uint64_t mtu;
	size_t n;

	if (!sysfs_exists(r, "%s", dir))
		return -ENODEV;
	sysfs_read(r, a, &p.state, "%s/state", dir);
	sysfs_read(r, a, &p.phys_state, "%s/phys_state", dir);
	sysfs_read(r, a, &p.link_layer, "%s/link_layer", dir);
	sysfs_read(r, a, &p.rate, "%s/rate", dir);
	if (find_in_front(r, a, rdma, port, tells_ndev, NULL, &g) == 0 ||
	    (gid_table(r, a, rdma, port, &t, &n, NULL) == 0 && find_in_table(t, n, tells_ndev, NULL, &g)))
		p.ndev = g.ndev;
	if (p.ndev && p.link_layer && !strcmp(p.link_layer, "Ethernet") &&
	    sysfs_read_u64(r, 10, &mtu, "class/net/%s/mtu", p.ndev) == 0 && mtu <= UINT32_MAX)
		p.active_mtu = gid_roce_mtu((unsigned)mtu);
	*ret = p;
	return 0;
}
