/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <net/if.h>
#include <string.h>

#include "attach/attachment.h"
#include "attach/hwaddr.h"
#include "base/parse.h"
#include "linux/netns.h"

#define JOURNAL_VERSION 1

#define AT(owner, member) .offset = offsetof(struct owner, member)
#define STR(owner, key, member) { .name = key, .type = FIELD_STR, AT(owner, member) }
#define INT(owner, key, member) { .name = key, .type = FIELD_INT, AT(owner, member) }
#define INT_IN(owner, key, member, from, to) \
	{ .name = key, .type = FIELD_INT, .flags = FIELD_BOUNDED, .min = from, .max = to, AT(owner, member) }
#define BOOL(owner, key, member) { .name = key, .type = FIELD_BOOL, AT(owner, member) }

static const struct field pod_fields[] = {
	{ .name = "namespace", .type = FIELD_STR, .flags = FIELD_ALWAYS, AT(attachment_pod, namespace) },
	{ .name = "name", .type = FIELD_STR, .flags = FIELD_ALWAYS, AT(attachment_pod, name) },
	{ .name = "uid", .type = FIELD_STR, .flags = FIELD_ALWAYS, AT(attachment_pod, uid) },
};
static TABLE(pod, attachment_pod, "pod");

static const struct field gid_fields[] = {
	{ .name = "index", .type = FIELD_INT, .flags = FIELD_ALWAYS, AT(attachment_gid, index) },
	STR(attachment_gid, "type", type),
	STR(attachment_gid, "gid", gid),
	STR(attachment_gid, "address", address),
};
static TABLE(gid, attachment_gid, "gid");

static const struct field found_fields[] = {
	STR(attachment_found, "netdev", netdev),
	STR(attachment_found, "mac", mac),
	STR(attachment_found, "rdma", rdma),
	INT_IN(attachment_found, "mtu", mtu, 0, UINT32_MAX),
	STR(attachment_found, "adminMac", admin_mac),
	STR(attachment_found, "nodeGuid", node_guid),
	STR(attachment_found, "portGuid", port_guid),
	INT_IN(attachment_found, "vlan", vlan, 0, 4095),
	INT_IN(attachment_found, "vlanQos", vlan_qos, 0, 7),
	STR(attachment_found, "vlanProto", vlan_proto),
	{ .name = "minRate", .type = FIELD_INT, .flags = FIELD_POINTER | FIELD_BOUNDED, .max = UINT32_MAX,
	  AT(attachment_found, min_rate) },
	{ .name = "maxRate", .type = FIELD_INT, .flags = FIELD_POINTER | FIELD_BOUNDED, .max = UINT32_MAX,
	  AT(attachment_found, max_rate) },
	{ .name = "linkState", .type = FIELD_INT, .flags = FIELD_POINTER | FIELD_BOUNDED, .max = 2,
	  AT(attachment_found, link_state) },
	{ .name = "spoofchk", .type = FIELD_BOOL, .flags = FIELD_POINTER, AT(attachment_found, spoofchk) },
	{ .name = "trust", .type = FIELD_BOOL, .flags = FIELD_POINTER, AT(attachment_found, trust) },
};
static TABLE(found, attachment_found, "found");

static const struct field set_fields[] = {
	BOOL(attachment_set, "mac", mac),
	BOOL(attachment_set, "vlan", vlan),
	BOOL(attachment_set, "rate", rate),
	BOOL(attachment_set, "spoofchk", spoofchk),
	BOOL(attachment_set, "trust", trust),
	BOOL(attachment_set, "linkState", link_state),
	BOOL(attachment_set, "guid", guid),
	BOOL(attachment_set, "rdma", rdma),
	STR(attachment_set, "rxe", rxe),
};
static TABLE(set, attachment_set, "set");

static const struct field rail_fields[] = {
	STR(attachment_rail, "network", network),
	{ .name = "ifname", .type = FIELD_STR, .flags = FIELD_REQUIRED, AT(attachment_rail, ifname) },
	STR(attachment_rail, "resource", resource),
	{ .name = "vf", .type = FIELD_STR, .flags = FIELD_ALWAYS, AT(attachment_rail, vf) },
	STR(attachment_rail, "pf", pf),
	STR(attachment_rail, "pfPci", pf_pci),
	{ .name = "vfIndex", .type = FIELD_INT, .flags = FIELD_ALWAYS | FIELD_BOUNDED, .max = 65535,
	  AT(attachment_rail, vf_index) },
	STR(attachment_rail, "mac", mac),
	INT_IN(attachment_rail, "mtu", mtu, 0, UINT32_MAX),
	{ .name = "addresses", .type = FIELD_STRS, .flags = FIELD_ALWAYS | FIELD_BOUNDED, .max = 64,
	  AT(attachment_rail, addresses), .n_offset = offsetof(struct attachment_rail, n_addresses) },
	STR(attachment_rail, "rdma", rdma),
	BOOL(attachment_rail, "soft", soft),
	INT_IN(attachment_rail, "port", port, 0, 255),
	{ .name = "gid", .type = FIELD_OBJECT, AT(attachment_rail, gid), .of = &gid },
	INT(attachment_rail, "activeMtu", active_mtu),
	STR(attachment_rail, "linkLayer", link_layer),
	STR(attachment_rail, "driver", driver),
	{ .name = "found", .type = FIELD_OBJECT, AT(attachment_rail, found), .of = &found },
	{ .name = "set", .type = FIELD_OBJECT, AT(attachment_rail, set), .of = &set },
};
static TABLE(rail, attachment_rail, "rail");

static const struct field delegate_fields[] = {
	STR(attachment_delegate, "network", network),
	{ .name = "ifname", .type = FIELD_STR, .flags = FIELD_REQUIRED, AT(attachment_delegate, ifname) },
	{ .name = "conf", .type = FIELD_STR, .flags = FIELD_REQUIRED, AT(attachment_delegate, conf) },
	STR(attachment_delegate, "runtime", runtime),
	STR(attachment_delegate, "args", args),
	BOOL(attachment_delegate, "master", master),
	{ .name = "addresses", .type = FIELD_STRS, .flags = FIELD_BOUNDED, .max = 256, AT(attachment_delegate, addresses),
	  .n_offset = offsetof(struct attachment_delegate, n_addresses) },
};
static TABLE(delegate, attachment_delegate, "delegate");

static const char *const states[] = { ATTACHMENT_ADDING, ATTACHMENT_READY, ATTACHMENT_DELETING, NULL };

static const struct field attachment_table_fields[] = {
	{ .name = "pod", .type = FIELD_OBJECT, AT(attachment, pod), .of = &pod },
	{ .name = "container", .type = FIELD_STR, .flags = FIELD_REQUIRED, AT(attachment, container) },
	{ .name = "ifname", .type = FIELD_STR, .flags = FIELD_REQUIRED, AT(attachment, ifname) },
	STR(attachment, "netns", netns),
	STR(attachment, "netnsId", netns_id),
	INT(attachment, "netnsCookie", netns_cookie),
	{ .name = "state", .type = FIELD_STR, .flags = FIELD_REQUIRED, .words = states, AT(attachment, state) },
	STR(attachment, "created", created),
	STR(attachment, "conf", conf_name),
	{ .name = "warnings", .type = FIELD_STRS, .flags = FIELD_BOUNDED, .max = 1024, AT(attachment, warnings),
	  .n_offset = offsetof(struct attachment, n_warnings) },
	{ .name = "rails", .type = FIELD_OBJECTS, .flags = FIELD_ALWAYS | FIELD_BOUNDED, .max = ATTACHMENT_RAILS_MAX,
	  AT(attachment, rails), .n_offset = offsetof(struct attachment, n_rails), .of = &rail },
	{ .name = "delegates", .type = FIELD_OBJECTS, .flags = FIELD_BOUNDED, .max = ATTACHMENT_RAILS_MAX, AT(attachment, delegates),
	  .n_offset = offsetof(struct attachment, n_delegates), .of = &delegate },
	STR(attachment, "pluginDirs", plugin_dirs),
	STR(attachment, "cniDir", cni_dir),
	STR(attachment, "lateStatus", late_status),
	STR(attachment, "cdiFile", cdi_file),
	STR(attachment, "envDir", env_dir),
	{ .name = "devices", .type = FIELD_STRS, .flags = FIELD_BOUNDED, .max = 4096, AT(attachment, devices),
	  .n_offset = offsetof(struct attachment, n_devices) },
};
TABLE(attachment_table, attachment, "attachment");

struct attachment *attachment_new(void)
{
	struct arena *a = arena_new();
	struct attachment *at = arena_alloc(a, sizeof(*at));

	at->arena = a;
	at->pod = arena_alloc(a, sizeof(*at->pod));
	return at;
}

struct attachment *attachment_free(struct attachment *at)
{
	if (at)
		arena_free(at->arena);
	return NULL;
}

void attachment_set_netns(struct attachment *at, int fd)
{
	uint64_t dev, ino, cookie;

	if (netns_id(fd, &dev, &ino) == 0)
		at->netns_id = arena_printf(at->arena, "%" PRIu64 ":%" PRIu64, dev, ino);
	if (netns_cookie(fd, &cookie) == 0)
		at->netns_cookie = (int64_t)cookie;
}

bool attachment_is_netns(const struct attachment *at, int fd)
{
	uint64_t dev, ino, cookie;
	char now[64];

	if (at->netns_id && netns_id(fd, &dev, &ino) == 0) {
		snprintf(now, sizeof(now), "%" PRIu64 ":%" PRIu64, dev, ino);
		if (strcmp(now, at->netns_id))
			return false;
	}
	return !at->netns_cookie || netns_cookie(fd, &cookie) < 0 || (int64_t)cookie == at->netns_cookie;
}

char *attachment_encode(struct arena *a, const struct attachment *at)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_int(doc, root, "version", JOURNAL_VERSION);
	yyjson_mut_obj_add_val(doc, root, "attachment", table_encode(&attachment_table, doc, at));
	return doc_mut_to_json(a, root, false);
}

/* What the tables cannot say: names that become paths and devices again. */
static int check(struct attachment *at, const char *source, struct err *e)
{
	if (at->n_rails > ATTACHMENT_RAILS_MAX)
		return err_set(e, -EBADMSG, "%s: attachment.rails: %zu, more than %d", source, at->n_rails, ATTACHMENT_RAILS_MAX);
	if (!parse_is_ifname(at->ifname))
		return err_set(e, -EBADMSG, "%s: attachment.ifname: \"%s\" is no interface name", source, at->ifname);
	if (!at->pod)
		at->pod = arena_alloc(at->arena, sizeof(*at->pod));
	for (size_t i = 0; i < at->n_rails; i++) {
		struct attachment_rail *r = &at->rails[i];
		unsigned char mac[6];

		if (!r->found)
			r->found = arena_alloc(at->arena, sizeof(*r->found));
		if (!r->set)
			r->set = arena_alloc(at->arena, sizeof(*r->set));
		if (!r->vf)
			r->vf = "";
		if (!parse_is_ifname(r->ifname) || (r->found->netdev && !parse_is_ifname(r->found->netdev)))
			return err_set(e, -EBADMSG, "%s: attachment.rails[%zu]: an interface name is none", source, i);
		if ((r->found->mac && hwaddr_parse(r->found->mac, mac, 6) < 0) ||
		    (r->found->admin_mac && hwaddr_parse(r->found->admin_mac, mac, 6) < 0))
			return err_set(e, -EBADMSG, "%s: attachment.rails[%zu].found: a MAC address is none", source, i);
	}
	for (size_t i = 0; i < at->n_devices; i++)
		if (!*at->devices[i] || strchr(at->devices[i], '/'))
			return err_set(e, -EBADMSG, "%s: attachment.devices[%zu]: \"%s\" is no PCI address", source, i, at->devices[i]);
	for (size_t i = 0; i < at->n_delegates; i++)
		if (!parse_is_ifname(at->delegates[i].ifname))
			return err_set(e, -EBADMSG, "%s: attachment.delegates[%zu].ifname: \"%s\" is no interface name", source, i,
				       at->delegates[i].ifname);
	return 0;
}

int attachment_decode(const char *source, const char *text, size_t len, struct attachment **ret, struct err *e)
{
	struct attachment *at = attachment_new();
	struct complaints c = { .arena = at->arena };
	yyjson_val *root;
	int64_t version;
	int r;

	r = doc_parse_json(at->arena, source, text, len, ATTACHMENT_SIZE_MAX, &root, e);
	if (r < 0) {
		r = -EBADMSG;
		goto fail;
	}
	version = doc_int(root, "version", 0);
	if (version != JOURNAL_VERSION) {
		r = version > JOURNAL_VERSION ?
			    err_set(e, -ENOTSUP, "%s: version %lld, written by a newer kvrail", source, (long long)version) :
			    err_set(e, -EBADMSG, "%s: no journal: \"version\" is missing", source);
		goto fail;
	}
	if (!yyjson_is_obj(yyjson_obj_get(root, "attachment"))) {
		r = err_set(e, -EBADMSG, "%s: no journal: \"attachment\" is missing", source);
		goto fail;
	}
	if (table_decode(&attachment_table, at->arena, yyjson_obj_get(root, "attachment"), "attachment", at, &c) < 0) {
		r = err_set(e, -EBADMSG, "%s: %s: %s", source, c.n ? c.v[0].path : "attachment", c.n ? c.v[0].text : "malformed");
		goto fail;
	}
	r = check(at, source, e);
	if (r < 0)
		goto fail;
	*ret = at;
	return 0;
fail:
	attachment_free(at);
	return r;
}

yyjson_mut_val *attachment_json(yyjson_mut_doc *doc, const struct attachment *at)
{
	yyjson_mut_val *v = table_encode(&attachment_table, doc, at), *rail_v;
	yyjson_mut_arr_iter it;

	yyjson_mut_arr_iter_init(yyjson_mut_obj_get(v, "rails"), &it);
	while ((rail_v = yyjson_mut_arr_iter_next(&it))) {
		yyjson_mut_val *kept = yyjson_mut_obj_remove_key(rail_v, "found");

		yyjson_mut_obj_add_val(doc, rail_v, "hostIfname", yyjson_mut_obj_get(kept, "netdev"));
		yyjson_mut_obj_remove_key(rail_v, "set");
	}
	yyjson_mut_arr_iter_init(yyjson_mut_obj_get(v, "delegates"), &it);
	while ((rail_v = yyjson_mut_arr_iter_next(&it))) {
		yyjson_mut_obj_remove_key(rail_v, "conf");
		yyjson_mut_obj_remove_key(rail_v, "runtime");
		yyjson_mut_obj_remove_key(rail_v, "args");
	}
	yyjson_mut_obj_remove_key(v, "pluginDirs");
	yyjson_mut_obj_remove_key(v, "cniDir");
	yyjson_mut_obj_remove_key(v, "lateStatus");
	return v;
}

void attachment_warn(struct attachment *at, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = arena_vprintf(at->arena, fmt, ap);
	va_end(ap);
	*(const char **)arena_push(at->arena, &at->warnings, &at->n_warnings, sizeof(text)) = text;
}
