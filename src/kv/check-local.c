/* SPDX-License-Identifier: Apache-2.0 */
/* What one side sees of its rails: interface, address, RDMA device, port, GID, device node. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

#include <infiniband/verbs.h>

#include "fabric/gid.h"
#include "kv/check.h"
#include "linux/rdma.h"

const char *check_host(struct arena *a, const char *address)
{
	return arena_strndup(a, address, strcspn(address, "/"));
}

static void check_interface(struct check *c, struct check_rail *r)
{
	const char *flags = NULL, *carrier = NULL, *state = NULL;
	const char *expected = arena_printf(c->arena, "up, with carrier, MTU %u", r->mtu);
	uint64_t mtu = 0;

	if (sysfs_read_u64(c->root, 10, &mtu, "class/net/%s/mtu", r->ifname) < 0) {
		check_add(c, CHECK_HERE, CHECK_BAD, r->ifname, "interface", expected,
			  "attach the pod again: the interface is gone from its namespace", "no interface %s here", r->ifname);
		return;
	}
	r->netdev_mtu = (unsigned)mtu;
	sysfs_read(c->root, c->arena, &flags, "class/net/%s/flags", r->ifname);
	sysfs_read(c->root, c->arena, &state, "class/net/%s/operstate", r->ifname);
	/* carrier of an interface that is down cannot be read */
	if (sysfs_read(c->root, c->arena, &carrier, "class/net/%s/carrier", r->ifname) < 0)
		check_add(c, CHECK_HERE, CHECK_BAD, r->ifname, "interface", expected,
			  arena_printf(c->arena, "ip link set %s up", r->ifname), "down, MTU %u", r->netdev_mtu);
	else if (strcmp(carrier, "1") != 0)
		check_add(c, CHECK_HERE, CHECK_BAD, r->ifname, "interface", expected, "look at the PF's cable, its switch port and the VF's link state",
			  "no carrier, MTU %u", r->netdev_mtu);
	else if (r->netdev_mtu != r->mtu)
		check_add(c, CHECK_HERE, CHECK_BAD, r->ifname, "interface", expected,
			  arena_printf(c->arena, "ip link set %s mtu %u, the PF's first; and find out who changed it", r->ifname, r->mtu),
			  "up, MTU %u", r->netdev_mtu);
	else
		check_add(c, CHECK_HERE, CHECK_GOOD, r->ifname, "interface", expected, NULL, "up, MTU %u", r->netdev_mtu);
}

/* The first address of the interface that is no link-local one, with its prefix length, when none was told. */
static const char *address_of(struct check *c, const struct ifaddrs *i)
{
	char text[INET6_ADDRSTRLEN];
	const void *bytes, *mask;
	unsigned n, prefix = 0;

	if (!i->ifa_addr || !i->ifa_netmask)
		return NULL;
	if (i->ifa_addr->sa_family == AF_INET) {
		bytes = &((struct sockaddr_in *)i->ifa_addr)->sin_addr;
		mask = &((struct sockaddr_in *)i->ifa_netmask)->sin_addr;
		n = 4;
	} else if (i->ifa_addr->sa_family == AF_INET6) {
		bytes = &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr;
		mask = &((struct sockaddr_in6 *)i->ifa_netmask)->sin6_addr;
		n = 16;
		if (IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)bytes))
			return NULL;
	} else {
		return NULL;
	}
	for (unsigned b = 0; b < n; b++)
		prefix += (unsigned)__builtin_popcount(((const unsigned char *)mask)[b]);
	inet_ntop(i->ifa_addr->sa_family, bytes, text, sizeof(text));
	return arena_printf(c->arena, "%s/%u", text, prefix);
}

static void check_address(struct check *c, struct check_rail *r)
{
	struct ifaddrs *all = NULL;
	const char *first = NULL, *expected = r->address ? check_host(c->arena, r->address) : "an address";
	bool found = false;

	getifaddrs(&all);
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		const char *address = strcmp(i->ifa_name, r->ifname) == 0 ? address_of(c, i) : NULL;

		if (!address)
			continue;
		first = first ? first : address;
		found = found || (r->address && !strcmp(check_host(c->arena, address), expected));
	}
	freeifaddrs(all);
	if (found || (!r->address && first))
		check_add(c, CHECK_HERE, CHECK_GOOD, r->ifname, "address", expected, NULL, "%s", found ? r->address : first);
	else
		check_add(c, CHECK_HERE, CHECK_BAD, r->ifname, "address", expected, "attach the pod again: its address was taken away", "%s",
			  first ? first : "none");
	if (!r->address)
		r->address = first;
}

/* bytes of enum ibv_mtu */
static unsigned mtu_bytes(enum ibv_mtu mtu)
{
	return mtu >= IBV_MTU_256 && mtu <= IBV_MTU_4096 ? 128u << mtu : 0;
}

/* The port's real path MTU, which sysfs does not tell; 0 when the device cannot be opened. */
static unsigned verbs_active_mtu(const char *rdma, unsigned port)
{
	int n = 0;
	struct ibv_device **list = ibv_get_device_list(&n);
	struct ibv_context *ctx = NULL;
	struct ibv_port_attr attr = { 0 };

	for (int i = 0; i < n && !ctx; i++)
		if (!strcmp(ibv_get_device_name(list[i]), rdma))
			ctx = ibv_open_device(list[i]);
	if (ctx && ibv_query_port(ctx, (uint8_t)port, &attr) != 0)
		attr.active_mtu = 0;
	if (ctx)
		ibv_close_device(ctx);
	if (list)
		ibv_free_device_list(list);
	return mtu_bytes(attr.active_mtu);
}

static void check_port(struct check *c, struct check_rail *r, const struct gid_port *p)
{
	bool infiniband = gid_is_infiniband(c->root, c->arena, r->rdma, r->port);
	const char *expected = infiniband ? "ACTIVE" : arena_printf(c->arena, "ACTIVE, path MTU %u", gid_roce_mtu(r->mtu));
	bool active = p->state && strstr(p->state, "ACTIVE");

	r->active_mtu = verbs_active_mtu(r->rdma, r->port);
	if (!active)
		check_add(c, CHECK_HERE, CHECK_BAD, r->ifname, "RDMA port", expected,
			  arena_printf(c->arena, "bring %s up: a RoCE port follows its interface", r->ifname), "%s, %s",
			  p->state ? p->state : "no state", p->phys_state ? p->phys_state : "");
	else if (!infiniband && r->active_mtu && r->active_mtu != gid_roce_mtu(r->mtu))
		check_add(c, CHECK_HERE, CHECK_BAD, r->ifname, "RDMA port", expected,
			  arena_printf(c->arena, "raise the MTU of %s to %u: the path MTU follows it", r->ifname, r->mtu), "ACTIVE, path MTU %u",
			  r->active_mtu);
	else if (r->active_mtu)
		check_add(c, CHECK_HERE, CHECK_GOOD, r->ifname, "RDMA port", expected, NULL, "ACTIVE, path MTU %u, %s", r->active_mtu,
			  p->rate ? p->rate : "");
	else
		check_add(c, CHECK_HERE, CHECK_NOTE, r->ifname, "RDMA port", expected, NULL, "ACTIVE; the path MTU is not known without the device node");
}

static void check_gid(struct check *c, struct check_rail *r)
{
	const char *host = check_host(c->arena, r->address);
	const char *expected = r->gid_then >= 0 ? arena_printf(c->arena, "RoCE v2 entry of %s, at %d as when attached", host, r->gid_then) :
						  arena_printf(c->arena, "RoCE v2 entry of %s", host);
	struct gid_entry g;
	struct err e;

	if (gid_find(c->root, c->arena, r->rdma, r->port, host, r->ifname, &g, &e) < 0) {
		check_add(c, CHECK_HERE, CHECK_BAD, r->ifname, "GID", expected, "give the interface its address, and see that netdev and RDMA device share this namespace",
			  "%s", e.msg);
		return;
	}
	r->gid_index = (int)g.index;
	r->gid = gid_format(c->arena, g.gid);
	if (r->gid_then >= 0 && r->gid_then != r->gid_index)
		check_add(c, CHECK_HERE, CHECK_BAD, r->ifname, "GID", expected,
			  "start the pod's programs again: what they were told of the index is no longer true", "index %d, %s", r->gid_index, r->gid);
	else
		check_add(c, CHECK_HERE, CHECK_GOOD, r->ifname, "GID", expected, NULL, "index %d%s", r->gid_index,
			  r->gid_index == 3 ? "" : " (manifests that hard-code 3 are wrong here)");
}

const char *check_node_todo(int code, const char *daemonset)
{
	if (code == ENOENT)
		return "give the container the device node (device plugin or CDI)";
	if (code != EPERM) /* of the file; EPERM is the control group's (kernel: security/device_cgroup.c) */
		return "let the container's user read and write it";
	if (daemonset)
		return "the agent's container may open no device, so nothing that moves bytes works from here: add "
		       "deploy/components/privileged to your kustomization, or run kvrail verify on the node itself";
	return "allow the device in the container's device list, or run this outside of the container";
}

/* /dev/infiniband/uverbsN of the device, opened as a program of the pod would. */
static void check_node(struct check *c, const struct check_rail *r)
{
	const char **names, *dev, *node = NULL;
	_cleanup_close_ int fd = -1;
	size_t n;

	if (sysfs_list(c->root, c->arena, &names, &n, "class/infiniband_verbs") < 0)
		n = 0;
	for (size_t i = 0; i < n && !node; i++)
		if (sysfs_read(c->root, c->arena, &dev, "class/infiniband_verbs/%s/ibdev", names[i]) == 0 && !strcmp(dev, r->rdma))
			node = arena_printf(c->arena, "/dev/infiniband/%s", names[i]);
	if (!node) {
		check_add(c, CHECK_HERE, CHECK_BAD, r->ifname, "device node", "a uverbs device that opens",
			  "load the module ib_uverbs on the node", "%s has no uverbs device", r->rdma);
		return;
	}
	fd = open(node, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		check_add(c, CHECK_HERE, CHECK_BAD, r->ifname, "device node", arena_printf(c->arena, "%s opens", node),
			  check_node_todo(errno, secure_getenv("DAEMONSET")), "%s", strerror(errno));
	else
		check_add(c, CHECK_HERE, CHECK_GOOD, r->ifname, "device node", "a uverbs device that opens", NULL, "%s", node);
}

static void check_rdma_device(struct check *c, struct check_rail *r)
{
	struct gid_port p;
	const char **names;
	size_t n;

	if (gid_port(c->root, c->arena, r->rdma, r->port, &p) == 0) {
		check_add(c, CHECK_HERE, CHECK_GOOD, r->ifname, "RDMA device", r->rdma, NULL, "%s", r->rdma);
		check_port(c, r, &p);
		if (r->address && !gid_is_infiniband(c->root, c->arena, r->rdma, r->port))
			check_gid(c, r);
		check_node(c, r);
		return;
	}
	if (sysfs_list(c->root, c->arena, &names, &n, "class/infiniband") < 0)
		n = 0;
	check_add(c, CHECK_HERE, CHECK_BAD, r->ifname, "RDMA device", r->rdma,
		  "move the device into this namespace (rdma dev set NAME netns POD), which attaching the pod does", "%zu other%s", n,
		  n == 1 ? "" : "s");
}

void check_local(struct check *c)
{
	for (size_t i = 0; i < c->n_rails; i++) {
		struct check_rail *r = &c->rails[i];

		check_interface(c, r);
		check_address(c, r);
		if (r->rdma)
			check_rdma_device(c, r);
		else
			check_add(c, CHECK_HERE, CHECK_NOTE, r->ifname, "RDMA device", "one for this rail", NULL, "none was attached: TCP only");
	}
	check_devices(c);
	check_processes(c);
}

static bool is_rail(const struct check *c, const char *rdma)
{
	for (size_t i = 0; i < c->n_rails; i++)
		if (c->rails[i].rdma && !strcmp(c->rails[i].rdma, rdma))
			return true;
	return false;
}

/* Only the pod's own devices may be seen here, which is what the exclusive mode is for. */
void check_devices(struct check *c)
{
	const char **names, *foreign = NULL;
	_cleanup_nl_ struct nl *nl = NULL;
	bool exclusive;
	struct err e;
	size_t n;

	if (sysfs_list(c->root, c->arena, &names, &n, "class/infiniband") < 0)
		n = 0;
	for (size_t i = 0; i < n; i++)
		if (!is_rail(c, names[i]))
			foreign = foreign ? arena_printf(c->arena, "%s, %s", foreign, names[i]) : names[i];
	if (foreign)
		check_add(c, CHECK_HERE, CHECK_BAD, NULL, "foreign devices", "none", "set the node to exclusive mode before pods start (rdma system set netns exclusive)",
			  "%s", foreign);
	else
		check_add(c, CHECK_HERE, CHECK_GOOD, NULL, "foreign devices", "none", NULL, "none");
	if (rdma_open(&nl, &e) < 0 || rdma_get_exclusive(nl, &exclusive, &e) < 0)
		check_add(c, CHECK_HERE, CHECK_NOTE, NULL, "RDMA namespaces", "exclusive", NULL, "%s", e.msg);
	else if (!exclusive)
		check_add(c, CHECK_HERE, CHECK_BAD, NULL, "RDMA namespaces", "exclusive", "rdma system set netns exclusive, before any pod starts", "shared");
	else
		check_add(c, CHECK_HERE, CHECK_GOOD, NULL, "RDMA namespaces", "exclusive", NULL, "exclusive");
}

/* A device is a rail of this namespace when the interface of its GIDs is here. */
int check_rails_find(struct check *c, unsigned mtu, struct err *e)
{
	const char **names;
	struct gid_port p;
	size_t n;

	if (sysfs_list(c->root, c->arena, &names, &n, "class/infiniband") < 0)
		n = 0;
	for (size_t i = 0; i < n && c->n_rails < CHECK_RAILS_MAX; i++) {
		struct check_rail *r;

		if (gid_port(c->root, c->arena, names[i], 1, &p) < 0 || !p.ndev ||
		    !gid_ndev_is_here(c->root, c->arena, names[i], p.ndev))
			continue;
		r = arena_push(c->arena, &c->rails, &c->n_rails, sizeof(*r));
		*r = (struct check_rail){ .ifname = p.ndev, .rdma = names[i], .port = 1, .mtu = mtu, .gid_then = -1, .gid_index = -1, .echo_fd = -1 };
	}
	if (c->n_rails == 0)
		return err_set(e, -ENODEV, "no RDMA device with an interface in this network namespace; name a rail with --rail");
	return 0;
}
