/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of src/linux as a command, for test_linux.py:
 *	linux-tool [in NETNS] VERB ARGUMENT...
 * Failures are told as "ERRNO-NAME: message" on standard error, exit status 1.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "linux/devlink.h"
#include "linux/netns.h"
#include "linux/pci.h"
#include "linux/rdma.h"
#include "linux/rtnl.h"

static struct nl *rt, *rd;
static struct arena *arena;
static struct err e;

static unsigned number(const char *s)
{
	uint64_t v;

	if (parse_u64(s, 0, 0, UINT32_MAX, &v) < 0) {
		fprintf(stderr, "linux-tool: \"%s\" is no number\n", s);
		exit(2);
	}
	return (unsigned)v;
}

/* Index of a link; 0, which no link has, when there is none. */
static unsigned link_of(const char *name)
{
	struct rtnl_link l = { 0 };

	return rtnl_link(rt, arena, name, &l, &e) < 0 ? 0 : l.index;
}

static uint32_t rdma_of(const char *name)
{
	struct rdma_dev d;

	return rdma_dev(rd, name, &d, &e) < 0 ? UINT32_MAX : d.index;
}

static int vf(char **a)
{
	const struct rtnl_vf *v;
	struct rtnl_vf *vfs;
	size_t n;
	int x = rtnl_vfs(rt, arena, link_of(a[0]), &vfs, &n, &e);

	v = x == 0 ? rtnl_vf_of(vfs, n, number(a[1])) : NULL;
	if (x == 0 && !v)
		return err_set(&e, -ENODEV, "%s reports no VF %s", a[0], a[1]);
	if (v)
		printf("id=%u mac=%02x:%02x:%02x:%02x:%02x:%02x vlan=%u qos=%u proto=%04x rate=%u-%u spoofchk=%s trust=%s link=%u guid=%d\n",
		       v->id, v->mac[0], v->mac[1], v->mac[2], v->mac[3], v->mac[4], v->mac[5], v->vlan, v->qos, v->vlan_proto, v->min_rate,
		       v->max_rate, v->has_spoofchk ? v->spoofchk ? "on" : "off" : "-", v->has_trust ? v->trust ? "on" : "off" : "-",
		       v->link_state, v->has_guid);
	return x;
}

static int vf_mac(char **a)
{
	unsigned char m[6];

	if (sscanf(a[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) != 6)
		return err_set(&e, -EINVAL, "\"%s\" is no MAC address", a[2]);
	return rtnl_vf_set_mac(rt, link_of(a[0]), number(a[1]), m, &e);
}

static int vf_vlan(char **a)
{
	return rtnl_vf_set_vlan(rt, link_of(a[0]), number(a[1]), (uint16_t)number(a[2]), (uint8_t)number(a[3]),
				(uint16_t)number(a[4]), &e);
}

static int vf_rate(char **a)
{
	return rtnl_vf_set_rate(rt, link_of(a[0]), number(a[1]), number(a[2]), number(a[3]), &e);
}

static int vf_spoofchk(char **a)
{
	return rtnl_vf_set_spoofchk(rt, link_of(a[0]), number(a[1]), strcmp(a[2], "on") == 0, &e);
}

static int vf_trust(char **a)
{
	return rtnl_vf_set_trust(rt, link_of(a[0]), number(a[1]), strcmp(a[2], "on") == 0, &e);
}

static int vf_link(char **a)
{
	return rtnl_vf_set_link_state(rt, link_of(a[0]), number(a[1]), number(a[2]), &e);
}

static int links(char **a)
{
	struct rtnl_link *all;
	size_t n;
	int x = rtnl_links(rt, arena, &all, &n, &e);

	for (size_t i = 0; x == 0 && i < n; i++)
		printf("%s mtu=%u %s%s\n", all[i].name, all[i].mtu, all[i].flags & IFF_UP ? "up " : "",
		       all[i].parent_dev ? all[i].parent_dev : "");
	return x;
}

static int set_mtu(char **a)
{
	return rtnl_set_mtu(rt, link_of(a[0]), number(a[1]), &e);
}

static int set_up(char **a)
{
	return rtnl_set_up(rt, link_of(a[0]), true, &e);
}

static int add_addr(char **a)
{
	struct rtnl_addr addr = { .family = strchr(a[1], ':') ? AF_INET6 : AF_INET, .prefix_len = (uint8_t)number(a[2]) };

	if (inet_pton(addr.family, a[1], addr.addr) != 1)
		return err_set(&e, -EINVAL, "\"%s\" is no address", a[1]);
	return rtnl_add_addr(rt, link_of(a[0]), &addr, &e);
}

static int move_link(char **a)
{
	_cleanup_close_ int fd = netns_open(a[1], &e);

	return fd < 0 ? fd : rtnl_move(rt, link_of(a[0]), fd, a[2], &e);
}

static int ls(char **a)
{
	struct sysroot *r;
	const char **names;
	size_t n;
	int x = sysroot_open_here(&r, &e);

	if (x < 0)
		return x;
	x = sysfs_list(r, arena, &names, &n, "%s", a[0]);
	for (size_t i = 0; x == 0 && i < n; i++)
		printf("%s\n", names[i]);
	sysroot_close(r);
	return x < 0 ? err_errno(&e, x, "%s", a[0]) : 0;
}

static int with_root(int (*fn)(const struct sysroot *r, char **a), char **a)
{
	struct sysroot *r;
	int x = sysroot_open(NULL, &r, &e);

	if (x < 0)
		return x;
	x = fn(r, a);
	sysroot_close(r);
	return x;
}

static int do_write(const struct sysroot *r, char **a)
{
	return sysfs_write(r, a[1], &e, "%s", a[0]);
}

static int do_bind(const struct sysroot *r, char **a)
{
	return pci_bind(r, a[0], strcmp(a[1], "-") == 0 ? NULL : a[1], &e);
}

static int do_unbind(const struct sysroot *r, char **a)
{
	return pci_unbind(r, a[0], &e);
}

static int do_driver(const struct sysroot *r, char **a)
{
	const char *driver;
	int x = pci_driver(r, arena, a[0], &driver);

	if (x == 0)
		printf("%s\n", driver ? driver : "-");
	return x < 0 ? err_errno(&e, x, "%s", a[0]) : 0;
}

static int sys_write(char **a)
{
	return with_root(do_write, a);
}

static int bind_driver(char **a)
{
	return with_root(do_bind, a);
}

static int unbind_driver(char **a)
{
	return with_root(do_unbind, a);
}

static int driver(char **a)
{
	return with_root(do_driver, a);
}

static int rdma(char **a)
{
	struct rdma_dev *all;
	size_t n;
	int x = rdma_devs(rd, arena, &all, &n, &e);

	for (size_t i = 0; x == 0 && i < n; i++)
		printf("%s ports=%u %s %016llx\n", all[i].name, all[i].n_ports, all[i].protocol,
		       (unsigned long long)all[i].node_guid);
	return x;
}

static int rdma_show_port(char **a)
{
	struct rdma_port p;
	int x = rdma_port(rd, rdma_of(a[0]), number(a[1]), &p, &e);

	if (x == 0)
		printf("state=%u phys=%u ndev=%s\n", p.state, p.phys_state, p.ndev_index ? p.ndev_name : "-");
	return x;
}

static int rdma_to(char **a)
{
	_cleanup_close_ int fd = netns_open(a[1], &e);

	return fd < 0 ? fd : rdma_move(rd, rdma_of(a[0]), fd, &e);
}

static int rdma_name(char **a)
{
	return rdma_rename(rd, rdma_of(a[0]), a[1], &e);
}

static int rdma_del(char **a)
{
	return rdma_del_link(rd, rdma_of(a[0]), &e);
}

static int rxe(char **a)
{
	return rdma_add_rxe(rd, a[0], a[1], &e);
}

static int rdma_mode(char **a)
{
	bool on;
	int x = rdma_get_exclusive(rd, &on, &e);

	if (x == 0)
		printf("%s\n", on ? "exclusive" : "shared");
	return x;
}

static int rdma_set_mode(char **a)
{
	return rdma_set_exclusive(rd, strcmp(a[0], "exclusive") == 0, &e);
}

static int devlink_show(char **a)
{
	struct devlink_info i;
	struct devlink *d;
	int x = devlink_open(&d, &e);

	if (x < 0)
		return x;
	x = devlink_info(d, arena, a[0], &i, &e);
	if (x == 0)
		printf("%s %s\n", i.driver ? i.driver : "-", i.fw_version ? i.fw_version : "-");
	devlink_close(d);
	return x;
}

static int namespace_add(char **a)
{
	return netns_add(a[0], &e);
}

static int namespace_del(char **a)
{
	return netns_del(a[0], &e);
}

static const struct verb {
	const char *name;
	int n_args;
	int (*run)(char **args);
} verbs[] = {
	{ "vf", 2, vf },
	{ "vf-mac", 3, vf_mac },
	{ "vf-vlan", 5, vf_vlan },
	{ "vf-rate", 4, vf_rate },
	{ "vf-spoofchk", 3, vf_spoofchk },
	{ "vf-trust", 3, vf_trust },
	{ "vf-link", 3, vf_link },
	{ "links", 0, links },
	{ "mtu", 2, set_mtu },
	{ "up", 1, set_up },
	{ "addr", 3, add_addr },
	{ "move", 3, move_link },
	{ "ls", 1, ls },
	{ "write", 2, sys_write },
	{ "bind", 2, bind_driver },
	{ "unbind", 1, unbind_driver },
	{ "driver", 1, driver },
	{ "rdma", 0, rdma },
	{ "rdma-port", 2, rdma_show_port },
	{ "rdma-move", 2, rdma_to },
	{ "rdma-rename", 2, rdma_name },
	{ "rdma-del", 1, rdma_del },
	{ "rdma-mode", 0, rdma_mode },
	{ "rdma-set-mode", 1, rdma_set_mode },
	{ "rxe", 2, rxe },
	{ "devlink", 1, devlink_show },
	{ "netns-add", 1, namespace_add },
	{ "netns-del", 1, namespace_del },
};

static int enter(const char *path)
{
	_cleanup_close_ int fd = netns_open(path, &e);

	return fd < 0 ? fd : netns_enter(fd, false, &e);
}

static int run(int argc, char **argv)
{
	int x = 0;

	if (argc > 2 && strcmp(argv[1], "in") == 0) {
		x = enter(argv[2]);
		argv += 2;
		argc -= 2;
	}
	if (x == 0)
		x = rtnl_open(&rt, &e);
	if (x == 0)
		x = rdma_open(&rd, &e);
	if (x < 0)
		return x;
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(verbs); i++)
		if (strcmp(argv[1], verbs[i].name) == 0 && argc - 2 == verbs[i].n_args)
			return verbs[i].run(argv + 2);
	return err_set(&e, -EINVAL, "no such verb, or another number of arguments: %s", argc > 1 ? argv[1] : "");
}

int main(int argc, char **argv)
{
	int x;

	arena = arena_new();
	x = run(argc, argv);
	if (x < 0)
		fprintf(stderr, "%s: %s\n", strerrorname_np(-x), e.msg);
	nl_close(rt);
	nl_close(rd);
	arena_free(arena);
	return x < 0;
}
