/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "agent/counters.h"
#include "base/clock.h"
#include "linux/netns.h"
#include "linux/pci.h"
#include "linux/sysroot.h"

#define DEVICE_FILE "class/infiniband/%s/ports/%u/%s"

struct look {
	struct arena *arena;
	yyjson_mut_val *attachment;
	struct rail_count **counts;
	size_t *n;
};

static const char *str(yyjson_mut_val *obj, const char *key)
{
	return yyjson_mut_get_str(yyjson_mut_obj_get(obj, key));
}

/*
 * Hardware counts in units of four octets (InfiniBand specification, PortCounters: PortXmitData; the kernel's sysfs gives them as they
 * are), soft RoCE in bytes (drivers/infiniband/sw/rxe/rxe_hw_counters.c).
 */
static bool read_rdma(const struct sysroot *r, unsigned port, struct rail_count *c)
{
	if (sysfs_read_u64(r, 10, &c->rdma_rx, DEVICE_FILE, c->rdma, port, "counters/port_rcv_data") == 0 &&
	    sysfs_read_u64(r, 10, &c->rdma_tx, DEVICE_FILE, c->rdma, port, "counters/port_xmit_data") == 0) {
		c->rdma_rx *= 4;
		c->rdma_tx *= 4;
		return true;
	}
	return sysfs_read_u64(r, 10, &c->rdma_rx, DEVICE_FILE, c->rdma, port, "hw_counters/rcvd_bytes") == 0 &&
	       sysfs_read_u64(r, 10, &c->rdma_tx, DEVICE_FILE, c->rdma, port, "hw_counters/sent_bytes") == 0;
}

static uint64_t less(uint64_t all, uint64_t part)
{
	return all > part ? all - part : 0;
}

static void read_rail(const struct sysroot *r, struct arena *a, yyjson_mut_val *rail, struct rail_count *c)
{
	unsigned port = (unsigned)yyjson_mut_get_uint(yyjson_mut_obj_get(rail, "port"));

	if (c->user_space) {
		c->problem = arena_printf(a, "bound to %s: no interface that counts", str(rail, "driver"));
		return;
	}
	if (sysfs_read_u64(r, 10, &c->tcp_rx, "class/net/%s/statistics/rx_bytes", c->ifname) < 0 ||
	    sysfs_read_u64(r, 10, &c->tcp_tx, "class/net/%s/statistics/tx_bytes", c->ifname) < 0) {
		c->problem = arena_printf(a, "the pod has no interface %s any more", c->ifname);
		return;
	}
	c->counts_rdma = c->rdma && read_rdma(r, port ? port : 1, c);
	if (c->counts_rdma && c->soft) {
		c->tcp_rx = less(c->tcp_rx, c->rdma_rx);
		c->tcp_tx = less(c->tcp_tx, c->rdma_tx);
	}
}

/* In the pod's namespace, with its sysfs. */
static int look_inside(void *arg)
{
	struct look *l = arg;
	struct sysroot *r;
	struct err e;
	yyjson_mut_arr_iter it;
	yyjson_mut_val *rail;
	int rc = sysroot_open_here(&r, &e);
	size_t i = *l->n;

	yyjson_mut_arr_iter_init(yyjson_mut_obj_get(l->attachment, "rails"), &it);
	while (rc == 0 && (rail = yyjson_mut_arr_iter_next(&it)))
		read_rail(r, l->arena, rail, &(*l->counts)[i++]);
	if (rc == 0)
		sysroot_close(r);
	return rc;
}

static size_t add_rails(struct look *l)
{
	yyjson_mut_val *pod = yyjson_mut_obj_get(l->attachment, "pod"), *rail;
	yyjson_mut_arr_iter it;
	size_t n = *l->n;

	yyjson_mut_arr_iter_init(yyjson_mut_obj_get(l->attachment, "rails"), &it);
	while ((rail = yyjson_mut_arr_iter_next(&it))) {
		struct rail_count *c = arena_push(l->arena, l->counts, &n, sizeof(*c));
		const char *rdma = str(rail, "rdma");

		*c = (struct rail_count){
			.namespace = str(pod, "namespace"), .pod = str(pod, "name"), .network = str(rail, "network"),
			.ifname = str(rail, "ifname"), .rdma = rdma && *rdma ? rdma : NULL,
			.soft = yyjson_mut_get_bool(yyjson_mut_obj_get(rail, "soft")),
			.user_space = pci_is_user_space_driver(str(rail, "driver")),
		};
	}
	return n;
}

static void read_attachment(struct look *l)
{
	const char *netns = str(l->attachment, "netns");
	size_t n = add_rails(l);
	struct err e = { 0 };
	int fd, r = -ENOENT;

	if (n == *l->n)
		return;
	fd = netns ? netns_open(netns, &e) : -1;
	if (fd >= 0) {
		r = netns_call(fd, true, look_inside, l, &e);
		close(fd);
	}
	for (size_t i = *l->n; r < 0 && i < n; i++)
		(*l->counts)[i].problem = arena_strdup(l->arena, e.msg);
	*l->n = n;
}

void counters_read(struct agent *ag, struct arena *a, struct rail_count **ret, size_t *ret_n)
{
	yyjson_mut_val *all = attach_list(ag->engine, doc_new(a)), *at;
	struct look l = { .arena = a, .counts = ret, .n = ret_n };
	yyjson_mut_arr_iter it;

	*ret = NULL;
	*ret_n = 0;
	yyjson_mut_arr_iter_init(all, &it);
	while ((at = yyjson_mut_arr_iter_next(&it))) {
		if (!str(at, "state") || strcmp(str(at, "state"), "ready"))
			continue;
		l.attachment = at;
		read_attachment(&l);
	}
}

static void add_str(yyjson_mut_doc *doc, yyjson_mut_val *v, const char *key, const char *value)
{
	if (value)
		yyjson_mut_obj_add_strcpy(doc, v, key, value);
}

yyjson_mut_val *counters_json(struct agent *ag, struct arena *a, yyjson_mut_doc *doc)
{
	yyjson_mut_val *v = yyjson_mut_obj(doc), *list = yyjson_mut_arr(doc);
	struct rail_count *counts;
	size_t n;

	counters_read(ag, a, &counts, &n);
	yyjson_mut_obj_add_uint(doc, v, "timeNs", clock_ns());
	yyjson_mut_obj_add_str(doc, v, "node", ag->node);
	for (size_t i = 0; i < n; i++) {
		const struct rail_count *c = &counts[i];
		yyjson_mut_val *rail = yyjson_mut_arr_add_obj(doc, list);

		add_str(doc, rail, "namespace", c->namespace);
		add_str(doc, rail, "pod", c->pod);
		add_str(doc, rail, "network", c->network);
		add_str(doc, rail, "ifname", c->ifname);
		add_str(doc, rail, "rdma", c->rdma);
		yyjson_mut_obj_add_bool(doc, rail, "soft", c->soft);
		add_str(doc, rail, "problem", c->problem);
		if (c->problem)
			continue;
		if (c->counts_rdma) {
			yyjson_mut_obj_add_uint(doc, rail, "rdmaRxBytes", c->rdma_rx);
			yyjson_mut_obj_add_uint(doc, rail, "rdmaTxBytes", c->rdma_tx);
		}
		yyjson_mut_obj_add_uint(doc, rail, "tcpRxBytes", c->tcp_rx);
		yyjson_mut_obj_add_uint(doc, rail, "tcpTxBytes", c->tcp_tx);
	}
	yyjson_mut_obj_add_val(doc, v, "rails", list);
	return v;
}
