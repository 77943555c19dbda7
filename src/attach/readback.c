/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "attach/address.h"
#include "attach/hwaddr.h"
#include "attach/readback.h"
#include "base/clock.h"
#include "fabric/gid.h"
#include "linux/rdma.h"
#include "linux/rtnl.h"

#define PORT 1 /* a VF's RDMA device has one */
#define GID_WAIT_MS 3000 /* the kernel fills the table from a work queue, and refills it when the device moves */

static int read_link(const struct readback *rb, const struct readback_want *want, struct attachment_rail *rec, struct err *e)
{
	_cleanup_arena_ struct arena *scratch = arena_new();
	struct rtnl_link link;
	char mac[MAC_TEXT];
	int r = rtnl_link(rb->nl, scratch, rec->ifname, &link, e);

	if (r < 0)
		return r;
	if (want->mtu && link.mtu != want->mtu)
		return err_set(e, -EIO, "MTU is %u, %lld was set", link.mtu, (long long)want->mtu);
	if (want->up && !(link.flags & IFF_UP))
		return err_set(e, -EIO, "the interface is down");
	rec->mtu = link.mtu;
	if (link.mac_len == 6) {
		hwaddr_format_mac(link.mac, mac);
		if (want->mac && strcmp(want->mac, mac))
			return err_set(e, -EIO, "MAC address is %s, %s was set", mac, want->mac);
		rec->mac = arena_strdup(rb->arena, mac);
	}
	return address_check(rb->nl, scratch, link.index, rec->addresses, rec->n_addresses, e);
}

static int read_device(const struct readback *rb, const struct attachment_rail *rec, struct err *e)
{
	struct rdma_dev dev;
	int r = rdma_dev(rb->rdma, rec->rdma, &dev, e);

	if (r < 0)
		return err_wrap(e, r, "RDMA device in the pod's namespace");
	if (rb->host_rdma && rdma_dev(rb->host_rdma, rec->rdma, &dev, NULL) == 0)
		return err_set(e, -EIO, "RDMA device %s is seen in the initial namespace too, in exclusive mode", rec->rdma);
	return 0;
}

static void read_port(const struct readback *rb, struct attachment_rail *rec)
{
	_cleanup_arena_ struct arena *scratch = arena_new();
	struct gid_port port;

	rec->port = PORT;
	if (gid_port(rb->root, scratch, rec->rdma, PORT, &port) == 0) {
		rec->active_mtu = port.active_mtu;
		rec->link_layer = arena_strdup(rb->arena, port.link_layer);
	}
}

static int read_gid(const struct readback *rb, struct attachment_rail *rec, struct err *e)
{
	_cleanup_arena_ struct arena *scratch = arena_new();
	char *address = arena_strndup(rb->arena, rec->addresses[0], strcspn(rec->addresses[0], "/"));
	struct gid_entry entry;
	int r = gid_wait(rb->root, scratch, rec->rdma, PORT, address, rec->ifname, GID_WAIT_MS, &entry, e);

	if (r < 0)
		return err_wrap(e, r, "GID of %s", address);
	rec->gid = arena_alloc(rb->arena, sizeof(*rec->gid));
	rec->gid->index = entry.index;
	rec->gid->type = gid_type_name(entry.type);
	rec->gid->gid = gid_format(rb->arena, entry.gid);
	rec->gid->address = address;
	read_port(rb, rec); /* now that the table tells its netdev, and with it the MTU */
	return 0;
}

int readback_rail(const struct readback *rb, const struct readback_want *want, struct attachment_rail *rec, struct err *e)
{
	_cleanup_arena_ struct arena *scratch = arena_new();
	int r = read_link(rb, want, rec, e);

	if (r < 0 || !rec->rdma)
		return r;
	r = read_device(rb, rec, e);
	if (r < 0)
		return r;
	if (gid_is_infiniband(rb->root, scratch, rec->rdma, PORT)) {
		read_port(rb, rec);
		return 0;
	}
	if (!rec->n_addresses)
		return 0;
	return read_gid(rb, rec, e);
}
