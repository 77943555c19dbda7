/* SPDX-License-Identifier: Apache-2.0 */
/* From a rail's text, or from nothing, to a device, a port and a GID. */
#include <arpa/inet.h>
#include <string.h>

#include "base/parse.h"
#include "base/strbuf.h"
#include "kv/verbs.h"

static bool is_link_local(const unsigned char gid[16])
{
	return gid[0] == 0xfe && (gid[1] & 0xc0) == 0x80;
}

static bool is_ipv4(const unsigned char gid[16])
{
	static const unsigned char prefix[12] = { [10] = 0xff, [11] = 0xff };

	return !memcmp(gid, prefix, sizeof(prefix));
}

static void address_of(const struct gid_entry *g, char *ret)
{
	*ret = '\0';
	if (g->type == GID_ROCE_V2 && is_ipv4(g->gid))
		inet_ntop(AF_INET, g->gid + 12, ret, KV_ADDR_MAX);
	else if (g->type == GID_ROCE_V2)
		inet_ntop(AF_INET6, g->gid, ret, KV_ADDR_MAX);
}

static int set(struct kv_verbs_rail *v, const char *device, unsigned port, const struct gid_entry *g)
{
	snprintf(v->device, sizeof(v->device), "%s", device);
	v->port = (uint8_t)port;
	v->gid = *g;
	v->gid.ndev = NULL;
	address_of(g, v->address);
	return 0;
}

/* The entry that carries a configured address of this namespace: IPv4 first, then IPv6 beyond the link; on InfiniBand the first. */
static int best_gid(const struct sysroot *r, struct arena *a, const char *device, unsigned port, struct gid_entry *ret,
		    struct err *e)
{
	const struct gid_entry *best = NULL;
	const char *away = NULL;
	struct gid_entry *table;
	size_t n;
	int rc = gid_table(r, a, device, port, &table, &n, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		const struct gid_entry *g = &table[i];

		if (g->type != GID_IB && (g->type != GID_ROCE_V2 || is_link_local(g->gid)))
			continue;
		if (g->type != GID_IB && !gid_ndev_is_here(r, a, device, g->ndev)) {
			away = g->ndev;
			continue;
		}
		if (!best || (is_ipv4(g->gid) && !is_ipv4(best->gid)))
			best = g;
	}
	if (!best && away)
		return err_set(e, -ENOENT, "%s:%u is of interface %s in another network namespace", device, port, away);
	if (!best)
		return err_set(e, -ENOENT, "%s:%u has no RoCE v2 GID of a configured address (%zu entries): give its netdev an "
			       "address", device, port, n);
	*ret = *best;
	return 0;
}

static int gid_at(const struct sysroot *r, struct arena *a, const char *device, unsigned port, unsigned index,
		  struct gid_entry *ret, struct err *e)
{
	struct gid_entry *table;
	size_t n;
	int rc = gid_table(r, a, device, port, &table, &n, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		if (table[i].index == index) {
			*ret = table[i];
			return 0;
		}
	return err_set(e, -ENOENT, "%s:%u has no GID at index %u (%zu entries; leave the index away to find the one of an "
		       "address)", device, port, index, n);
}

/* The device that has @address in its table. */
static int find_address(const struct sysroot *r, struct arena *a, const char *address, struct kv_verbs_rail *ret,
			struct err *e)
{
	const char **names, **ports;
	size_t n, n_ports;
	struct gid_entry g;

	if (sysfs_list(r, a, &names, &n, "class/infiniband") < 0)
		n = 0;
	for (size_t i = 0; i < n; i++) {
		if (sysfs_list(r, a, &ports, &n_ports, "class/infiniband/%s/ports", names[i]) < 0)
			continue;
		for (size_t k = 0; k < n_ports; k++) {
			uint64_t port;

			if (parse_u64(ports[k], 10, 1, 255, &port) == 0 &&
			    gid_find(r, a, names[i], (unsigned)port, address, NULL, &g, NULL) == 0)
				return set(ret, names[i], (unsigned)port, &g);
		}
	}
	return err_set(e, -ENODEV, "no RDMA device here has a RoCE v2 GID of %s (%zu devices in this namespace)", address, n);
}

int kv_verbs_rail_find(const struct sysroot *r, struct arena *a, const char *text, int gid_index, struct kv_verbs_rail *ret,
		    struct err *e)
{
	char *device = arena_strdup(a, text), *at = strchr(device, '@'), *colon;
	struct gid_entry g;
	uint64_t port = 1, index;
	int rc;

	if (kv_addr_is(text))
		return find_address(r, a, text, ret, e);
	if (at)
		*at++ = '\0';
	colon = strchr(device, ':');
	if (colon)
		*colon++ = '\0';
	if (!*device || strlen(device) >= sizeof(ret->device) || strchr(device, '/') ||
	    (colon && parse_u64(colon, 10, 1, 255, &port) < 0))
		return err_set(e, -EINVAL, "%s is no rail: write ADDRESS or DEVICE[:PORT][@ADDRESS|@GID-INDEX]", text);
	if (at && kv_addr_is(at) && gid_is_infiniband(r, a, device, (unsigned)port))
		rc = best_gid(r, a, device, (unsigned)port, &g, e);
	else if (at && kv_addr_is(at))
		rc = gid_find(r, a, device, (unsigned)port, at, NULL, &g, e);
	else if (at && parse_u64(at, 10, 0, 65535, &index) < 0)
		return err_set(e, -EINVAL, "%s: %s is neither an address nor a GID index", text, at);
	else if (at || gid_index >= 0)
		rc = gid_at(r, a, device, (unsigned)port, at ? (unsigned)index : (unsigned)gid_index, &g, e);
	else
		rc = best_gid(r, a, device, (unsigned)port, &g, e);
	return rc < 0 ? rc : set(ret, device, (unsigned)port, &g);
}

int kv_verbs_rails_find(const struct sysroot *r, struct arena *a, struct kv_verbs_rail *ret, size_t max, size_t *ret_n,
		     struct err *e)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	const char **names, **ports;
	size_t n, n_ports, found = 0;

	if (sysfs_list(r, a, &names, &n, "class/infiniband") < 0 || n == 0)
		return err_set(e, -ENODEV, "no RDMA device in this namespace");
	for (size_t i = 0; i < n; i++) {
		if (sysfs_list(r, a, &ports, &n_ports, "class/infiniband/%s/ports", names[i]) < 0)
			continue;
		for (size_t k = 0; k < n_ports && found < max; k++) {
			struct gid_port state;
			struct gid_entry g;
			struct err ge;
			uint64_t port;

			if (parse_u64(ports[k], 10, 1, 255, &port) < 0)
				continue;
			if (gid_port(r, a, names[i], (unsigned)port, &state) == 0 && state.state &&
			    !strstr(state.state, "ACTIVE")) {
				strbuf_addf(&why, "; %s:%s is %s", names[i], ports[k], state.state);
				continue;
			}
			if (best_gid(r, a, names[i], (unsigned)port, &g, &ge) < 0)
				strbuf_addf(&why, "; %s", ge.msg);
			else
				set(&ret[found++], names[i], (unsigned)port, &g);
		}
	}
	if (!found)
		return err_set(e, -ENODEV, "no usable RDMA device of %zu%s", n, why.s ? why.s : "");
	*ret_n = found;
	return 0;
}
