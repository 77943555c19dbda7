/* SPDX-License-Identifier: Apache-2.0 */
#include <net/if.h>
#include <rdma/rdma_netlink.h>
#include <stdarg.h>
#include <string.h>

#include "base/cleanup.h"
#include "linux/nl-msg.h"
#include "linux/rdma.h"

#define NLDEV(op) RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, op)
#define LAST_ATTR RDMA_NLDEV_NET_NS_FD
#define LIST_TRIES 100

int rdma_open(struct nl **ret, struct err *e)
{
	int x = nl_open(NETLINK_RDMA, ret, e);

	if (x == -EPROTONOSUPPORT)
		return err_set(e, x, "this kernel has no RDMA loaded: run modprobe ib_uverbs, and the card's module "
			       "(mlx5_ib) or rdma_rxe");
	return x;
}

static const struct nl_policy policy[LAST_ATTR + 1] = {
	[RDMA_NLDEV_ATTR_DEV_INDEX] = { NL_U32 },
	[RDMA_NLDEV_ATTR_DEV_NAME] = { NL_STR, RDMA_NAME_MAX - 1 },
	[RDMA_NLDEV_ATTR_PORT_INDEX] = { NL_U32 },
	[RDMA_NLDEV_ATTR_FW_VERSION] = { NL_STR, 0 },
	[RDMA_NLDEV_ATTR_NODE_GUID] = { NL_U64 },
	[RDMA_NLDEV_ATTR_SYS_IMAGE_GUID] = { NL_U64 },
	[RDMA_NLDEV_ATTR_PORT_STATE] = { NL_U8 },
	[RDMA_NLDEV_ATTR_PORT_PHYS_STATE] = { NL_U8 },
	[RDMA_NLDEV_ATTR_NDEV_INDEX] = { NL_U32 },
	[RDMA_NLDEV_ATTR_NDEV_NAME] = { NL_STR, IFNAMSIZ - 1 },
	[RDMA_NLDEV_SYS_ATTR_NETNS_MODE] = { NL_U8 },
	[RDMA_NLDEV_ATTR_DEV_PROTOCOL] = { NL_STR, 0 },
};

/* The operation in an answer's type is not to be relied on: the answer to PORT_GET says GET (nldev_port_get_doit()). */
static int parse(const struct nlmsghdr *h, const struct nlattr *tb[LAST_ATTR + 1])
{
	if (RDMA_NL_GET_CLIENT(h->nlmsg_type) != RDMA_NL_NLDEV)
		return -EBADMSG;
	return nl_parse_msg(h, 0, policy, LAST_ATTR, tb);
}

static void nldev_msg(struct nl_msg *m, uint16_t op)
{
	nl_msg_init(m, NLDEV(op), 0, NULL, 0);
}

static int parse_dev(const struct nlmsghdr *h, struct rdma_dev *ret)
{
	const struct nlattr *tb[LAST_ATTR + 1];
	struct rdma_dev d = { 0 };
	int x = parse(h, tb);

	if (x < 0)
		return x;
	if (!tb[RDMA_NLDEV_ATTR_DEV_INDEX] || !tb[RDMA_NLDEV_ATTR_DEV_NAME])
		return -EBADMSG;
	d.index = nl_u32(tb[RDMA_NLDEV_ATTR_DEV_INDEX]);
	strcpy(d.name, nl_str(tb[RDMA_NLDEV_ATTR_DEV_NAME]));
	if (tb[RDMA_NLDEV_ATTR_PORT_INDEX]) /* of a device: how many it has */
		d.n_ports = nl_u32(tb[RDMA_NLDEV_ATTR_PORT_INDEX]);
	if (tb[RDMA_NLDEV_ATTR_FW_VERSION])
		snprintf(d.fw, sizeof(d.fw), "%s", nl_str(tb[RDMA_NLDEV_ATTR_FW_VERSION]));
	if (tb[RDMA_NLDEV_ATTR_DEV_PROTOCOL])
		snprintf(d.protocol, sizeof(d.protocol), "%s", nl_str(tb[RDMA_NLDEV_ATTR_DEV_PROTOCOL]));
	if (tb[RDMA_NLDEV_ATTR_NODE_GUID])
		d.node_guid = nl_u64(tb[RDMA_NLDEV_ATTR_NODE_GUID]);
	if (tb[RDMA_NLDEV_ATTR_SYS_IMAGE_GUID])
		d.sys_image_guid = nl_u64(tb[RDMA_NLDEV_ATTR_SYS_IMAGE_GUID]);
	*ret = d;
	return 0;
}

struct devs {
	struct arena *arena;
	struct rdma_dev *devs;
	size_t n;
};

static int add_dev(const struct nlmsghdr *h, void *arg)
{
	struct devs *out = arg;
	struct rdma_dev d;
	int x;

	x = parse_dev(h, &d);
	if (x == 0)
		*(struct rdma_dev *)arena_push(out->arena, &out->devs, &out->n, sizeof(d)) = d;
	return x;
}

static void forget_devs(void *arg)
{
	struct devs *out = arg;

	out->devs = NULL;
	out->n = 0;
}

int rdma_devs(struct nl *nl, struct arena *a, struct rdma_dev **ret, size_t *ret_n, struct err *e)
{
	struct devs out = { .arena = a };
	struct nl_msg m;
	int x;

	nldev_msg(&m, RDMA_NLDEV_CMD_GET);
	x = nl_dump(nl, &m, add_dev, forget_devs, &out, e);
	if (x < 0)
		return err_wrap(e, x, "cannot list the RDMA devices");
	*ret = out.devs;
	*ret_n = out.n;
	return 0;
}

static bool same_devs(const struct rdma_dev *a, size_t n_a, const struct rdma_dev *b, size_t n_b)
{
	for (size_t i = 0; n_a == n_b && i < n_a; i++)
		if (a[i].index != b[i].index)
			return false;
	return n_a == n_b;
}

/*
 * A list may lack a device that is there: the kernel sends one device a call and counts how many it has sent, so when one of
 * those leaves meanwhile, the next is skipped, and nothing is said (nldev_get_dumpit()). Not found counts only when two
 * lists in a row agree.
 */
int rdma_dev(struct nl *nl, const char *name, struct rdma_dev *ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct rdma_dev *devs, *before = NULL;
	size_t n, n_before = 0;

	for (unsigned try = 0; try < LIST_TRIES; try++) {
		int x = rdma_devs(nl, a, &devs, &n, e);

		if (x < 0)
			return x;
		for (size_t i = 0; i < n; i++) {
			if (strcmp(devs[i].name, name) != 0)
				continue;
			*ret = devs[i];
			return 0;
		}
		if (try && same_devs(devs, n, before, n_before))
			return err_set(e, -ENODEV, "there is no RDMA device \"%s\" in this network namespace", name);
		before = devs;
		n_before = n;
	}
	return err_set(e, -EAGAIN, "the RDMA devices change faster than they can be listed: \"%s\" was not seen", name);
}

struct port_answer {
	bool found;
	struct rdma_port port;
};

static int see_port(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *tb[LAST_ATTR + 1];
	struct port_answer *out = arg;
	struct rdma_port p = { 0 };
	int x;

	x = parse(h, tb);
	if (x < 0)
		return x;
	if (!tb[RDMA_NLDEV_ATTR_PORT_INDEX])
		return -EBADMSG;
	p.port = nl_u32(tb[RDMA_NLDEV_ATTR_PORT_INDEX]);
	if (tb[RDMA_NLDEV_ATTR_PORT_STATE])
		p.state = nl_u8(tb[RDMA_NLDEV_ATTR_PORT_STATE]);
	if (tb[RDMA_NLDEV_ATTR_PORT_PHYS_STATE])
		p.phys_state = nl_u8(tb[RDMA_NLDEV_ATTR_PORT_PHYS_STATE]);
	if (tb[RDMA_NLDEV_ATTR_NDEV_INDEX])
		p.ndev_index = nl_u32(tb[RDMA_NLDEV_ATTR_NDEV_INDEX]);
	if (tb[RDMA_NLDEV_ATTR_NDEV_NAME])
		strcpy(p.ndev_name, nl_str(tb[RDMA_NLDEV_ATTR_NDEV_NAME]));
	*out = (struct port_answer){ true, p };
	return 0;
}

/* The device's name for an error, or its number when it is gone. */
static const char *label(struct nl *nl, struct arena *a, uint32_t index)
{
	struct devs out = { .arena = a };
	struct nl_msg m;

	nldev_msg(&m, RDMA_NLDEV_CMD_GET);
	nl_put_u32(&m, RDMA_NLDEV_ATTR_DEV_INDEX, index);
	if (nl_call(nl, &m, add_dev, &out, NULL) == 0 && out.n)
		return out.devs[0].name;
	return arena_printf(a, "RDMA device %u", index);
}

int rdma_port(struct nl *nl, uint32_t dev_index, unsigned port, struct rdma_port *ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct port_answer out = { 0 };
	struct nl_msg m;
	int x;

	nldev_msg(&m, RDMA_NLDEV_CMD_PORT_GET);
	nl_put_u32(&m, RDMA_NLDEV_ATTR_DEV_INDEX, dev_index);
	nl_put_u32(&m, RDMA_NLDEV_ATTR_PORT_INDEX, port);
	x = nl_call(nl, &m, see_port, &out, e);
	if (x == 0 && !out.found)
		x = err_set(e, -EBADMSG, "the kernel did not answer");
	if (x < 0)
		return err_wrap(e, x, "%s: cannot read port %u", label(nl, a, dev_index), port);
	*ret = out.port;
	return 0;
}

/* Send @m, which changes a device; what fails is told as "NAME: cannot <fmt>". */
static int change(struct nl *nl, struct nl_msg *m, uint32_t index, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

static int change(struct nl *nl, struct nl_msg *m, uint32_t index, struct err *e, const char *fmt, ...)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *what;
	va_list ap;
	int x = nl_call(nl, m, NULL, NULL, e);

	if (x >= 0 || !e)
		return x;
	va_start(ap, fmt);
	what = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return err_wrap(e, x, "%s: cannot %s", label(nl, a, index), what);
}

/* Linux 6.12, given name and namespace in one message, does only the rename (nldev_set_doit()): one at a time. */
int rdma_move(struct nl *nl, uint32_t dev_index, int netns_fd, struct err *e)
{
	struct nl_msg m;
	int x;

	nldev_msg(&m, RDMA_NLDEV_CMD_SET);
	nl_put_u32(&m, RDMA_NLDEV_ATTR_DEV_INDEX, dev_index);
	nl_put_u32(&m, RDMA_NLDEV_NET_NS_FD, (uint32_t)netns_fd);
	x = change(nl, &m, dev_index, e, "%s", "move it to another network namespace");
	if (x == -EOPNOTSUPP)
		err_append(e, x, " (namespaces share RDMA devices here, see `rdma system`, or the driver cannot take a device "
			   "away from its users)");
	return x;
}

int rdma_rename(struct nl *nl, uint32_t dev_index, const char *name, struct err *e)
{
	struct nl_msg m;

	nldev_msg(&m, RDMA_NLDEV_CMD_SET);
	nl_put_u32(&m, RDMA_NLDEV_ATTR_DEV_INDEX, dev_index);
	nl_put_str(&m, RDMA_NLDEV_ATTR_DEV_NAME, name);
	return change(nl, &m, dev_index, e, "rename it to %s", name);
}

static int see_mode(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *tb[LAST_ATTR + 1];
	int x, *mode = arg;

	x = parse(h, tb);
	if (x == 0 && tb[RDMA_NLDEV_SYS_ATTR_NETNS_MODE])
		*mode = nl_u8(tb[RDMA_NLDEV_SYS_ATTR_NETNS_MODE]);
	return x;
}

int rdma_get_exclusive(struct nl *nl, bool *ret, struct err *e)
{
	struct nl_msg m;
	int mode = -1, x;

	nldev_msg(&m, RDMA_NLDEV_CMD_SYS_GET);
	x = nl_call(nl, &m, see_mode, &mode, e);
	if (x == 0 && mode < 0)
		x = err_set(e, -EOPNOTSUPP, "the kernel does not tell");
	if (x < 0)
		return err_wrap(e, x, "cannot read whether network namespaces share RDMA devices");
	*ret = mode == 0; /* 1: shared */
	return 0;
}

int rdma_set_exclusive(struct nl *nl, bool on, struct err *e)
{
	struct nl_msg m;
	int x;

	nldev_msg(&m, RDMA_NLDEV_CMD_SYS_SET);
	nl_put_u8(&m, RDMA_NLDEV_SYS_ATTR_NETNS_MODE, !on);
	x = nl_call(nl, &m, NULL, NULL, e);
	if (x == -EBUSY)
		return err_set(e, x, "the RDMA mode cannot become %s while other network namespaces exist: boot with "
			       "ib_core.netns_mode=%d, or set it before the first pod starts", on ? "exclusive" : "shared", !on);
	return x < 0 ? err_wrap(e, x, "cannot set the RDMA mode %s", on ? "exclusive" : "shared") : 0;
}

int rdma_add_rxe(struct nl *nl, const char *name, const char *netdev, struct err *e)
{
	struct nl_msg m;
	int x;

	nldev_msg(&m, RDMA_NLDEV_CMD_NEWLINK);
	nl_put_str(&m, RDMA_NLDEV_ATTR_DEV_NAME, name);
	nl_put_str(&m, RDMA_NLDEV_ATTR_LINK_TYPE, "rxe");
	nl_put_str(&m, RDMA_NLDEV_ATTR_NDEV_NAME, netdev);
	x = nl_call(nl, &m, NULL, NULL, e);
	if (x < 0)
		err_wrap(e, x, "cannot add soft RoCE %s on %s", name, netdev);
	if (x == -EINVAL)
		err_append(e, x, " (is the module rdma_rxe loaded?)");
	return x;
}

int rdma_del_link(struct nl *nl, uint32_t dev_index, struct err *e)
{
	struct nl_msg m;

	nldev_msg(&m, RDMA_NLDEV_CMD_DELLINK);
	nl_put_u32(&m, RDMA_NLDEV_ATTR_DEV_INDEX, dev_index);
	return change(nl, &m, dev_index, e, "%s", "delete it");
}
