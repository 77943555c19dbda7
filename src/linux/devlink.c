/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/genetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "linux/devlink.h"
#include "linux/devlink-uapi.h"
#include "linux/nl-msg.h"

/* enum devlink_eswitch_mode; the last came after Linux 6.12. */
static const char *const modes[] = { "legacy", "switchdev", "switchdev_inactive" };

struct devlink {
	struct nl *nl;
	uint16_t family;
};

static const struct nl_policy family_policy[CTRL_ATTR_FAMILY_ID + 1] = {
	[CTRL_ATTR_FAMILY_ID] = { NL_U16 },
};

static int see_family(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *tb[CTRL_ATTR_FAMILY_ID + 1];
	uint16_t *family = arg;
	int x;

	if (h->nlmsg_type != GENL_ID_CTRL)
		return 0;
	x = nl_parse_msg(h, sizeof(struct genlmsghdr), family_policy, CTRL_ATTR_FAMILY_ID, tb);
	if (x == 0 && tb[CTRL_ATTR_FAMILY_ID])
		*family = nl_u16(tb[CTRL_ATTR_FAMILY_ID]);
	return x;
}

int devlink_on(struct nl *nl, struct devlink **ret, struct err *e)
{
	const struct genlmsghdr genl = { .cmd = CTRL_CMD_GETFAMILY, .version = 1 };
	struct nl_msg m;
	uint16_t family = 0;
	struct devlink *d;
	int x;

	nl_msg_init(&m, GENL_ID_CTRL, 0, &genl, sizeof(genl));
	nl_put_str(&m, CTRL_ATTR_FAMILY_NAME, DEVLINK_GENL_NAME);
	x = nl_call(nl, &m, see_family, &family, e);
	if (x == -ENOENT || (x == 0 && !family))
		x = err_set(e, -ENOENT, "this kernel has no devlink");
	if (x < 0) {
		nl_close(nl);
		return x;
	}
	d = malloc(sizeof(*d));
	if (!d)
		abort();
	*d = (struct devlink){ nl, family };
	*ret = d;
	return 0;
}

int devlink_open(struct devlink **ret, struct err *e)
{
	struct nl *nl;
	int x = nl_open(NETLINK_GENERIC, &nl, e);

	return x < 0 ? x : devlink_on(nl, ret, e);
}

struct devlink *devlink_close(struct devlink *d)
{
	if (!d)
		return NULL;
	nl_close(d->nl);
	free(d);
	return NULL;
}

/* A request about the device at this PCI address. */
static void devlink_msg(struct nl_msg *m, const struct devlink *d, uint8_t cmd, const char *pci)
{
	const struct genlmsghdr genl = { .cmd = cmd, .version = DEVLINK_GENL_VERSION };

	nl_msg_init(m, d->family, 0, &genl, sizeof(genl));
	nl_put_str(m, DEVLINK_ATTR_BUS_NAME, "pci");
	nl_put_str(m, DEVLINK_ATTR_DEV_NAME, pci);
}

#define INFO_LAST DEVLINK_ATTR_INFO_VERSION_VALUE

static const struct nl_policy info_policy[INFO_LAST + 1] = {
	[DEVLINK_ATTR_INFO_DRIVER_NAME] = { NL_STR, 0 },
	[DEVLINK_ATTR_INFO_SERIAL_NUMBER] = { NL_STR, 0 },
	[DEVLINK_ATTR_INFO_VERSION_NAME] = { NL_STR, 0 },
	[DEVLINK_ATTR_INFO_VERSION_VALUE] = { NL_STR, 0 },
};

struct info_answer {
	struct arena *arena;
	uint16_t family;
	struct devlink_info info;
	bool fw_is_exact; /* from fw.version, which wins over fw */
	bool stored_is_exact;
};

/* Take the version under the name "fw.version", or else the one under "fw". */
static void take_fw(struct info_answer *out, const char *name, const char *value, const char **slot, bool *exact)
{
	bool is_exact = strcmp(name, "fw.version") == 0;

	if (*exact || (!is_exact && strcmp(name, "fw") != 0))
		return;
	*slot = arena_strdup(out->arena, value);
	*exact = is_exact;
}

static int take_version(struct info_answer *out, const struct nlattr *attr)
{
	const struct nlattr *tb[INFO_LAST + 1];
	const char *name, *value;
	int x = nl_parse_nest(attr, info_policy, INFO_LAST, tb);

	if (x < 0 || !tb[DEVLINK_ATTR_INFO_VERSION_NAME] || !tb[DEVLINK_ATTR_INFO_VERSION_VALUE])
		return x;
	name = nl_str(tb[DEVLINK_ATTR_INFO_VERSION_NAME]);
	value = nl_str(tb[DEVLINK_ATTR_INFO_VERSION_VALUE]);
	switch (nl_attr_type(attr)) {
	case DEVLINK_ATTR_INFO_VERSION_FIXED:
		if (strcmp(name, "fw.psid") == 0)
			out->info.psid = arena_strdup(out->arena, value);
		break;
	case DEVLINK_ATTR_INFO_VERSION_RUNNING:
		take_fw(out, name, value, &out->info.fw_version, &out->fw_is_exact);
		break;
	case DEVLINK_ATTR_INFO_VERSION_STORED:
		take_fw(out, name, value, &out->info.fw_stored, &out->stored_is_exact);
		break;
	}
	return 0;
}

static int see_info(const struct nlmsghdr *h, void *arg)
{
	const size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct genlmsghdr));
	const struct nlattr *tb[INFO_LAST + 1], *attr;
	struct info_answer *out = arg;
	size_t pos = 0;
	int x;

	if (h->nlmsg_type != out->family)
		return 0;
	x = nl_parse_msg(h, sizeof(struct genlmsghdr), info_policy, INFO_LAST, tb);
	if (x < 0)
		return x;
	if (tb[DEVLINK_ATTR_INFO_DRIVER_NAME])
		out->info.driver = arena_strdup(out->arena, nl_str(tb[DEVLINK_ATTR_INFO_DRIVER_NAME]));
	if (tb[DEVLINK_ATTR_INFO_SERIAL_NUMBER])
		out->info.serial = arena_strdup(out->arena, nl_str(tb[DEVLINK_ATTR_INFO_SERIAL_NUMBER]));
	/* one attribute a version, many of one type */
	while ((x = nl_next((const char *)h + skip, h->nlmsg_len - skip, &pos, &attr)) > 0) {
		uint16_t type = nl_attr_type(attr);

		if (type < DEVLINK_ATTR_INFO_VERSION_FIXED || type > DEVLINK_ATTR_INFO_VERSION_STORED)
			continue;
		x = take_version(out, attr);
		if (x < 0)
			return x;
	}
	return x;
}

int devlink_info(struct devlink *d, struct arena *a, const char *pci, struct devlink_info *ret, struct err *e)
{
	struct info_answer out = { .arena = a, .family = d->family };
	struct nl_msg m;
	int x;

	devlink_msg(&m, d, DEVLINK_CMD_INFO_GET, pci);
	x = nl_call(d->nl, &m, see_info, &out, e);
	if (x < 0)
		return err_wrap(e, x, "pci/%s: cannot read devlink's information", pci);
	*ret = out.info;
	return 0;
}

static const struct nl_policy eswitch_policy[DEVLINK_ATTR_ESWITCH_MODE + 1] = {
	[DEVLINK_ATTR_ESWITCH_MODE] = { NL_U16 },
};

struct mode_answer {
	uint16_t family;
	int mode;
};

static int see_eswitch(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *tb[DEVLINK_ATTR_ESWITCH_MODE + 1];
	struct mode_answer *out = arg;
	int x;

	if (h->nlmsg_type != out->family)
		return 0;
	x = nl_parse_msg(h, sizeof(struct genlmsghdr), eswitch_policy, DEVLINK_ATTR_ESWITCH_MODE, tb);
	if (x == 0 && tb[DEVLINK_ATTR_ESWITCH_MODE])
		out->mode = nl_u16(tb[DEVLINK_ATTR_ESWITCH_MODE]);
	return x;
}

int devlink_eswitch_get(struct devlink *d, struct arena *a, const char *pci, const char **ret, struct err *e)
{
	struct mode_answer out = { d->family, -1 };
	struct nl_msg m;
	int x;

	devlink_msg(&m, d, DEVLINK_CMD_ESWITCH_GET, pci);
	x = nl_call(d->nl, &m, see_eswitch, &out, e);
	if (x == 0 && out.mode < 0)
		x = err_set(e, -EOPNOTSUPP, "the driver does not tell");
	if (x < 0)
		return err_wrap(e, x, "pci/%s: cannot read the eswitch mode", pci);
	*ret = (size_t)out.mode < ARRAY_SIZE(modes) ? modes[out.mode] : arena_printf(a, "mode %d", out.mode);
	return 0;
}

int devlink_eswitch_set(struct devlink *d, const char *pci, const char *mode, struct err *e)
{
	struct nl_msg m;
	uint16_t number = 0;
	int x;

	while (number < ARRAY_SIZE(modes) && strcmp(modes[number], mode) != 0)
		number++;
	if (number == ARRAY_SIZE(modes))
		return err_set(e, -EINVAL, "eswitch mode \"%s\" is none of legacy, switchdev, switchdev_inactive", mode);
	devlink_msg(&m, d, DEVLINK_CMD_ESWITCH_SET, pci);
	nl_put(&m, DEVLINK_ATTR_ESWITCH_MODE, &number, sizeof(number));
	x = nl_call(d->nl, &m, NULL, NULL, e);
	return x < 0 ? err_wrap(e, x, "pci/%s: cannot set the eswitch mode %s", pci, mode) : 0;
}
