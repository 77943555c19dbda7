/* SPDX-License-Identifier: Apache-2.0 */
/* What is made of the kernel's answers: recorded ones of test/fuzz/corpus, and built ones for what no lab shows. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <rdma/rdma_netlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/strbuf.h"
#include "linux/devlink.h"
#include "linux/nl-msg.h"
#include "linux/rdma.h"
#include "linux/rtnl.h"
#include "replay.h"

static struct arena *arena;
static struct err e;
static struct replay replay;

static int setup(void **state)
{
	arena = arena_new();
	return 0;
}

static int teardown(void **state)
{
	arena = arena_free(arena);
	return 0;
}

/* @times one after the other, for a caller that asks again. */
static struct nl *recordings(const char *name, unsigned times)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	const char *source = getenv("KVRAIL_SOURCE");
	_cleanup_free_ char *data = NULL;
	char path[PATH_MAX];
	size_t len;

	snprintf(path, sizeof(path), "%s/test/fuzz/corpus/%s", source ? source : ".", name);
	if (file_read(AT_FDCWD, path, 1 << 20, &data, &len) < 0)
		fail_msg("cannot read %s", path);
	for (unsigned i = 0; i < times; i++)
		strbuf_add(&b, data, len);
	return replay_open(&replay, arena_memdup(arena, b.s, b.len), b.len);
}

static struct nl *recording(const char *name)
{
	return recordings(name, 1);
}

static struct nl *answers(const struct strbuf *b)
{
	return replay_open(&replay, arena_memdup(arena, b->s, b->len), b->len);
}

/* -- building answers -- */

static void pad(struct strbuf *b)
{
	strbuf_add(b, "\0\0\0", NLMSG_ALIGN(b->len) - b->len);
}

static size_t begin(struct strbuf *b, uint16_t type, uint16_t flags)
{
	const struct nlmsghdr h = { .nlmsg_type = type, .nlmsg_flags = flags };

	strbuf_add(b, &h, sizeof(h));
	return b->len - sizeof(h);
}

static void end(struct strbuf *b, size_t at)
{
	uint32_t len = (uint32_t)(b->len - at);

	memcpy(b->s + at, &len, sizeof(len));
	pad(b);
}

static size_t nest(struct strbuf *b, uint16_t type)
{
	const struct nlattr a = { .nla_type = type };

	strbuf_add(b, &a, sizeof(a));
	return b->len - sizeof(a);
}

static void nest_end(struct strbuf *b, size_t at)
{
	uint16_t len = (uint16_t)(b->len - at);

	memcpy(b->s + at, &len, sizeof(len));
	pad(b);
}

static void attr(struct strbuf *b, uint16_t type, const void *data, size_t len)
{
	size_t at = nest(b, type);

	strbuf_add(b, data, len);
	nest_end(b, at);
}

static size_t begin_link(struct strbuf *b, uint16_t flags, int index)
{
	const struct ifinfomsg ifm = { .ifi_index = index };
	size_t at = begin(b, RTM_NEWLINK, flags);

	strbuf_add(b, &ifm, sizeof(ifm));
	return at;
}

static void link_named(struct strbuf *b, uint16_t flags, int index, const char *name)
{
	size_t at = begin_link(b, flags, index);

	attr(b, IFLA_IFNAME, name, strlen(name) + 1);
	end(b, at);
}

static void done(struct strbuf *b, uint16_t flags, int32_t code)
{
	size_t at = begin(b, NLMSG_DONE, flags);

	strbuf_add(b, &code, sizeof(code));
	end(b, at);
}

/* An acknowledgement with the kernel's words; @whole: with the request in it, of @extra bytes more than its header. */
static void ack(struct strbuf *b, int code, const char *words, bool whole, uint32_t extra)
{
	const struct nlmsgerr err = { .error = code, .msg = { .nlmsg_len = NLMSG_HDRLEN + extra } };
	size_t at = begin(b, NLMSG_ERROR, (words ? NLM_F_ACK_TLVS : 0) | (whole ? 0 : NLM_F_CAPPED));

	strbuf_add(b, &err, sizeof(err));
	for (uint32_t i = 0; whole && i < extra; i++)
		strbuf_addch(b, 'r');
	pad(b);
	if (words)
		attr(b, NLMSGERR_ATTR_MSG, words, strlen(words) + 1);
	end(b, at);
}

static void vf_info(struct strbuf *b, uint32_t id)
{
	const struct ifla_vf_mac mac = { .vf = id, .mac = { 2, 0, 0, 0, 0, (uint8_t)id } };
	const struct ifla_vf_vlan vlan = { .vf = id, .vlan = 100 + id, .qos = 3 };
	const struct ifla_vf_spoofchk spoofchk = { .vf = id, .setting = id % 2 ? 1 : UINT32_MAX };
	const struct ifla_vf_trust trust = { .vf = id, .setting = id % 2 ? 0 : 1 };
	const struct ifla_vf_rate rate = { .vf = id, .min_tx_rate = id, .max_tx_rate = 1000 };
	const struct ifla_vf_link_state state = { .vf = id, .link_state = IFLA_VF_LINK_STATE_ENABLE };
	const struct ifla_vf_guid guid = { .vf = id, .guid = 0x1122334455667700u + id };
	size_t at = nest(b, IFLA_VF_INFO);

	attr(b, IFLA_VF_MAC, &mac, sizeof(mac));
	attr(b, IFLA_VF_VLAN, &vlan, sizeof(vlan));
	attr(b, IFLA_VF_RATE, &rate, sizeof(rate));
	attr(b, IFLA_VF_SPOOFCHK, &spoofchk, sizeof(spoofchk));
	attr(b, IFLA_VF_LINK_STATE, &state, sizeof(state));
	attr(b, IFLA_VF_TRUST, &trust, sizeof(trust));
	attr(b, IFLA_VF_IB_NODE_GUID, &guid, sizeof(guid));
	attr(b, IFLA_VF_IB_PORT_GUID, &guid, sizeof(guid));
	attr(b, 4095, "a newer kernel's", 16);
	nest_end(b, at);
}

/* A PF with @n VFs, listed from the last to the first. */
static void pf(struct strbuf *b, uint16_t flags, int index, uint32_t n)
{
	size_t at = begin_link(b, flags, index), list = nest(b, IFLA_VFINFO_LIST);

	while (n--)
		vf_info(b, n);
	nest_end(b, list);
	end(b, at);
}

/* -- the conversation -- */

static void an_interrupted_dump_starts_anew(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_nl_ struct nl *nl = NULL;
	struct rtnl_link *links;
	size_t n;

	link_named(&b, NLM_F_MULTI, 1, "lo");
	link_named(&b, NLM_F_MULTI | NLM_F_DUMP_INTR, 2, "gone");
	done(&b, NLM_F_MULTI, 0);
	link_named(&b, NLM_F_MULTI, 1, "lo");
	done(&b, NLM_F_MULTI | NLM_F_DUMP_INTR, 0); /* told at the very end */
	link_named(&b, NLM_F_MULTI, 1, "lo");
	link_named(&b, NLM_F_MULTI, 3, "net1");
	done(&b, NLM_F_MULTI, 0);
	nl = answers(&b);
	assert_int_equal(rtnl_links(nl, arena, &links, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_string_equal(links[1].name, "net1");
	assert_int_equal(replay.requests, 3);
}

static void a_table_that_never_rests_is_given_up(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_nl_ struct nl *nl = NULL;
	struct rtnl_link *links = NULL;
	size_t n;

	for (int i = 0; i < 1000; i++)
		done(&b, NLM_F_MULTI | NLM_F_DUMP_INTR, 0);
	nl = answers(&b);
	assert_int_equal(rtnl_links(nl, arena, &links, &n, &e), -EINTR);
	assert_null(links);
	assert_true(replay.requests < 100);
}

static void a_dump_that_ends_with_an_error_fails(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_nl_ struct nl *nl = NULL;
	struct rtnl_link *links = NULL;
	size_t n;

	link_named(&b, NLM_F_MULTI, 1, "lo");
	done(&b, NLM_F_MULTI, -EPERM);
	nl = answers(&b);
	assert_int_equal(rtnl_links(nl, arena, &links, &n, &e), -EPERM);
	assert_string_equal(e.msg, "cannot list the network interfaces: Operation not permitted");
	assert_null(links);
}

/* where the words stand depends on whether the kernel sent the request back, whose length need not be a multiple of 4 */
static void the_kernels_words_are_found_in_every_kind_of_acknowledgement(void **state)
{
	for (int i = 0; i < 3; i++) {
		_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
		_cleanup_nl_ struct nl *nl = NULL;

		ack(&b, -EINVAL, "no such thing", i > 0, i == 1 ? 20 : 21);
		link_named(&b, 0, 2, "p2"); /* rtnl_set_mtu() looks up the name */
		ack(&b, 0, NULL, false, 0);
		nl = answers(&b);
		assert_int_equal(rtnl_set_mtu(nl, 2, 64, &e), -EINVAL);
		assert_string_equal(e.msg, "p2: cannot set the MTU 64: Invalid argument, kernel says: no such thing");
	}
}

static void broken_answers_are_refused(void **state)
{
	static const unsigned char short_attr[] = { 3, 0, 3, 0 }, long_attr[] = { 200, 0, 3, 0, 'l', 'o', 0, 0 };
	const struct {
		const void *attrs;
		size_t len;
	} cases[] = { { short_attr, sizeof(short_attr) }, { long_attr, sizeof(long_attr) }, { "\0\0", 2 }, { "", 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
		_cleanup_nl_ struct nl *nl = NULL;
		struct rtnl_link l = { .index = 77 };
		size_t at = begin_link(&b, 0, 1);

		strbuf_add(&b, cases[i].attrs, cases[i].len);
		end(&b, at);
		nl = answers(&b);
		assert_int_equal(rtnl_link(nl, arena, "lo", &l, &e), -EBADMSG);
		assert_int_equal(l.index, 77);
	}
}

static void a_name_without_end_or_too_long_is_refused(void **state)
{
	const char *const names[] = { "0123456789abcdef", "eth" };
	const size_t lens[] = { 17, 3 };

	for (size_t i = 0; i < 2; i++) {
		_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
		_cleanup_nl_ struct nl *nl = NULL;
		struct rtnl_link l;
		size_t at = begin_link(&b, 0, 1);

		attr(&b, IFLA_IFNAME, names[i], lens[i]);
		end(&b, at);
		nl = answers(&b);
		assert_int_equal(rtnl_link(nl, arena, "lo", &l, &e), -EBADMSG);
	}
}

static void a_request_beyond_its_buffer_is_not_sent(void **state)
{
	_cleanup_nl_ struct nl *nl = replay_open(&replay, "", 0);
	const struct ifinfomsg link = { .ifi_index = 2 };
	char alias[4000] = "x";
	struct nl_msg m;

	nl_msg_init(&m, RTM_SETLINK, 0, &link, sizeof(link));
	nl_put(&m, IFLA_IFALIAS, alias, sizeof(alias));
	assert_int_equal(nl_call(nl, &m, NULL, NULL, NULL), -EMSGSIZE);
	assert_int_equal(replay.requests, 0);
}

/* -- VFs -- */

static int get_vf(struct nl *nl, unsigned pf_index, unsigned id, struct rtnl_vf *ret)
{
	const struct rtnl_vf *found;
	struct rtnl_vf *vfs;
	size_t n;
	int r = rtnl_vfs(nl, arena, pf_index, &vfs, &n, &e);

	if (r < 0)
		return r;
	found = rtnl_vf_of(vfs, n, id);
	if (!found)
		return -ENODEV;
	*ret = *found;
	return 0;
}

static void a_vf_is_found_by_its_id(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct rtnl_vf vf;

	pf(&b, 0, 2, 127);
	for (unsigned id = 0; id < 127; id += 63) {
		_cleanup_nl_ struct nl *nl = answers(&b);

		assert_int_equal(get_vf(nl, 2, id, &vf), 0);
		assert_int_equal(vf.id, id);
		assert_int_equal(vf.mac[5], id);
		assert_int_equal(vf.vlan, 100 + id);
		assert_int_equal(vf.qos, 3);
		assert_int_equal(vf.vlan_proto, ETH_P_8021Q);
		assert_true(vf.has_rate);
		assert_int_equal(vf.min_rate, id);
		assert_int_equal(vf.max_rate, 1000);
		assert_int_equal(vf.has_spoofchk, id % 2);
		assert_int_equal(vf.spoofchk, id % 2);
		assert_true(vf.has_trust);
		assert_int_equal(vf.trust, !(id % 2));
		assert_true(vf.has_link_state);
		assert_int_equal(vf.link_state, IFLA_VF_LINK_STATE_ENABLE);
		assert_true(vf.has_guid);
		assert_int_equal(vf.node_guid, 0x1122334455667700u + id);
	}
	{
		_cleanup_nl_ struct nl *nl = answers(&b);

		assert_int_equal(get_vf(nl, 2, 127, &vf), -ENODEV);
	}
}

static void all_vfs_of_a_port_come_by_one_request(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_nl_ struct nl *nl = NULL;
	struct rtnl_vf *vfs;
	size_t n;

	pf(&b, 0, 2, 127);
	nl = answers(&b);
	assert_int_equal(rtnl_vfs(nl, arena, 2, &vfs, &n, &e), 0);
	assert_int_equal(replay.requests, 1);
	assert_int_equal(n, 127);
	assert_int_equal(rtnl_vf_of(vfs, n, 126)->mac[5], 126);
	assert_null(rtnl_vf_of(vfs, n, 127));
}

static void an_answer_too_long_is_asked_for_by_dump(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_nl_ struct nl *nl = NULL;
	struct rtnl_vf vf;

	ack(&b, -EMSGSIZE, NULL, false, 0);
	pf(&b, NLM_F_MULTI, 1, 9); /* another PF's VF 7 */
	pf(&b, NLM_F_MULTI, 2, 16);
	pf(&b, NLM_F_MULTI, 3, 9);
	done(&b, NLM_F_MULTI, 0);
	nl = answers(&b);
	assert_int_equal(get_vf(nl, 2, 15, &vf), 0);
	assert_int_equal(vf.mac[5], 15);
	assert_int_equal(replay.requests, 2);
	assert_true(replay.last.h.nlmsg_flags & NLM_F_DUMP);
	nl_close(nl);
	nl = answers(&b);
	assert_int_equal(get_vf(nl, 3, 15, &vf), -ENODEV);
}

static void vfs_of_a_real_port_are_read(void **state)
{
	static const unsigned char mac[6] = { 2, 0, 0, 0, 0, 0x22 };
	static const char *const files[] = { "rtnl/pf-with-vfs", "rtnl/pf-with-vf-statistics" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct rtnl_vf vf;
		struct nl *nl = recording(files[i]);

		assert_int_equal(get_vf(nl, 2, 2, &vf), 0);
		assert_memory_equal(vf.mac, mac, 6);
		assert_true(vf.has_trust && vf.trust);
		assert_true(vf.has_spoofchk && vf.spoofchk);
		nl_close(nl);
		nl = recording(files[i]);
		assert_int_equal(get_vf(nl, 2, 3, &vf), 0);
		assert_int_equal(vf.vlan, 100);
		assert_int_equal(vf.qos, 3);
		assert_false(vf.trust);
		nl_close(nl);
		nl = recording(files[i]);
		assert_int_equal(get_vf(nl, 2, 4, &vf), 0);
		assert_true(vf.has_spoofchk && !vf.spoofchk);
		assert_false(vf.has_guid);
		nl_close(nl);
	}
}

/* The one attribute of the VF_INFO that was sent last, and the PF. */
static const struct nlattr *sent_setting(int pf_index)
{
	static const struct nl_policy list[IFLA_VFINFO_LIST + 1] = { [IFLA_VFINFO_LIST] = { NL_NESTED } };
	static const struct nl_policy info[IFLA_VF_INFO + 1] = { [IFLA_VF_INFO] = { NL_NESTED } };
	const struct ifinfomsg *ifm = (const void *)(replay.last.buf + NLMSG_HDRLEN);
	const struct nlattr *tb[IFLA_VFINFO_LIST + 1], *vf[IFLA_VF_INFO + 1], *a;
	size_t pos = 0;

	assert_int_equal(replay.last.h.nlmsg_type, RTM_SETLINK);
	assert_int_equal(ifm->ifi_index, pf_index);
	assert_int_equal(nl_parse_msg(&replay.last.h, sizeof(*ifm), list, IFLA_VFINFO_LIST, tb), 0);
	assert_non_null(tb[IFLA_VFINFO_LIST]);
	assert_int_equal(nl_parse_nest(tb[IFLA_VFINFO_LIST], info, IFLA_VF_INFO, vf), 0);
	assert_non_null(vf[IFLA_VF_INFO]);
	assert_int_equal(nl_next(nl_data(vf[IFLA_VF_INFO]), nl_len(vf[IFLA_VF_INFO]), &pos, &a), 1);
	return a;
}

static void vf_settings_are_sent_as_the_kernel_wants_them(void **state)
{
	_cleanup_nl_ struct nl *nl = replay_open(&replay, "", 0);
	struct ifla_vf_vlan_info q;
	const struct nlattr *a;
	size_t pos = 0;

	replay.extra = 99;
	assert_int_equal(rtnl_vf_set_vlan(nl, 5, 3, 100, 2, ETH_P_8021Q, &e), 0);
	a = sent_setting(5);
	assert_int_equal(nl_attr_type(a), IFLA_VF_VLAN);
	assert_memory_equal(nl_data(a), (&(struct ifla_vf_vlan){ .vf = 3, .vlan = 100, .qos = 2 }), sizeof(struct ifla_vf_vlan));
	assert_int_equal(rtnl_vf_set_vlan(nl, 5, 3, 100, 2, ETH_P_8021AD, &e), 0);
	a = sent_setting(5);
	assert_int_equal(nl_attr_type(a), IFLA_VF_VLAN_LIST);
	assert_int_equal(nl_next(nl_data(a), nl_len(a), &pos, &a), 1);
	assert_int_equal(nl_attr_type(a), IFLA_VF_VLAN_INFO);
	memcpy(&q, nl_data(a), sizeof(q));
	assert_int_equal(q.vlan_proto, htons(ETH_P_8021AD));
	assert_int_equal(rtnl_vf_set_link_state(nl, 5, 3, IFLA_VF_LINK_STATE_DISABLE, &e), 0);
	a = sent_setting(5);
	assert_int_equal(nl_attr_type(a), IFLA_VF_LINK_STATE);
	assert_memory_equal(nl_data(a), (&(struct ifla_vf_link_state){ 3, IFLA_VF_LINK_STATE_DISABLE }), 8);
	assert_int_equal(rtnl_vf_set_link_state(nl, 5, 3, 3, &e), -EINVAL);
}

/* do_setvfinfo() leaves after the node GUID: what comes behind it in one request is dropped, and acknowledged. */
static void guids_of_a_vf_go_in_a_request_each(void **state)
{
	_cleanup_strbuf_ struct strbuf refusal = STRBUF_INIT;
	_cleanup_nl_ struct nl *nl = replay_open(&replay, "", 0);
	struct ifla_vf_guid guid;
	const struct nlattr *a;

	memset(&guid, 0, sizeof(guid));
	guid.vf = 3;
	guid.guid = 0x8899aabbccddeeff;
	replay.extra = 99;
	assert_int_equal(rtnl_vf_set_guid(nl, 5, 3, 0x0011223344556677, 0x8899aabbccddeeff, &e), 0);
	assert_int_equal(replay.requests, 2);
	a = sent_setting(5);
	assert_int_equal(nl_attr_type(a), IFLA_VF_IB_PORT_GUID);
	assert_memory_equal(nl_data(a), &guid, sizeof(guid));
	nl_close(nl);
	ack(&refusal, -EOPNOTSUPP, NULL, false, 0);
	link_named(&refusal, 0, 5, "ib0");
	ack(&refusal, 0, NULL, false, 0);
	nl = answers(&refusal);
	assert_int_equal(rtnl_vf_set_guid(nl, 5, 3, 0x0011223344556677, 0x8899aabbccddeeff, &e), -EOPNOTSUPP);
	assert_string_equal(e.msg, "ib0: cannot set the node GUID of VF 3 to 0011223344556677: Operation not supported");
}

static void what_a_vf_refuses_is_told_with_the_pfs_name(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_nl_ struct nl *nl = NULL;

	ack(&b, -EOPNOTSUPP, NULL, false, 0);
	link_named(&b, 0, 2, "p2");
	ack(&b, 0, NULL, false, 0);
	nl = answers(&b);
	assert_int_equal(rtnl_vf_set_link_state(nl, 2, 5, IFLA_VF_LINK_STATE_AUTO, &e), -EOPNOTSUPP);
	assert_string_equal(e.msg, "p2: cannot set the link state of VF 5 to auto: Operation not supported");
}

static void links_of_a_real_node_are_read(void **state)
{
	_cleanup_nl_ struct nl *nl = recording("rtnl/links");
	struct rtnl_link *links;
	size_t n;

	assert_int_equal(rtnl_links(nl, arena, &links, &n, &e), 0);
	assert_int_equal(n, 12);
	assert_string_equal(links[1].name, "p0");
	assert_int_equal(links[1].mtu, 9000);
	assert_int_equal(links[1].max_mtu, 9216);
	assert_string_equal(links[1].parent_dev, "0000:01:00.0");
	assert_int_equal(links[1].n_alt_names, 2);
	assert_string_equal(links[1].alt_names[0], "enp1s0f0-rail0");
	assert_string_equal(links[3].parent_dev, "0000:01:10.0");
	assert_string_equal(links[10].kind, "veth");
	assert_null(links[10].parent_dev);
}

/* -- RDMA -- */

static void an_rdma_device_is_read(void **state)
{
	struct nl *nl = recording("rdma/devices");
	struct rdma_dev d = { .index = 9 };

	assert_int_equal(rdma_dev(nl, "rxe_p0", &d, &e), 0);
	assert_int_equal(d.index, 0);
	assert_int_equal(d.n_ports, 1);
	assert_string_equal(d.protocol, "roce");
	assert_string_equal(d.fw, "");
	assert_int_equal(d.node_guid, 0x505400fffe4b0100); /* 52:54:00:4b:01:00 as EUI-64 */
	nl_close(nl);
	nl = recordings("rdma/devices", 2);
	assert_int_equal(rdma_dev(nl, "mlx5_0", &d, &e), -ENODEV);
	assert_string_equal(e.msg, "there is no RDMA device \"mlx5_0\" in this network namespace");
	nl_close(nl);
}

/* The list of RDMA devices, one message each. */
static void device_list(struct strbuf *b, const char *const *names, unsigned first)
{
	for (; *names; names++, first++) {
		size_t at = begin(b, RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_GET), NLM_F_MULTI);

		attr(b, RDMA_NLDEV_ATTR_DEV_INDEX, &first, sizeof(first));
		attr(b, RDMA_NLDEV_ATTR_DEV_NAME, *names, strlen(*names) + 1);
		end(b, at);
	}
	done(b, NLM_F_MULTI, 0);
}

static void an_rdma_device_that_a_list_left_out_is_found_in_the_next(void **state)
{
	static const char *const short_list[] = { "a", NULL }, *const whole[] = { "b", "c", NULL };
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_nl_ struct nl *nl = NULL;
	struct rdma_dev d;

	device_list(&b, short_list, 0);
	device_list(&b, whole, 1);
	nl = answers(&b);
	assert_int_equal(rdma_dev(nl, "c", &d, &e), 0);
	assert_int_equal(d.index, 2);
	assert_int_equal(replay.requests, 2);
}

static void an_rdma_port_is_read(void **state)
{
	struct nl *nl = recording("rdma/port");
	struct rdma_port p;

	assert_int_equal(rdma_port(nl, 0, 1, &p, &e), 0);
	assert_int_equal(p.port, 1);
	assert_int_equal(p.state, 4);
	assert_int_equal(p.phys_state, 5);
	assert_string_equal(p.ndev_name, "p0");
	assert_int_equal(p.ndev_index, 2);
	nl_close(nl);
}

static void a_port_whose_netdev_is_elsewhere_has_none(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_nl_ struct nl *nl = NULL;
	struct rdma_port p;
	size_t at = begin(&b, RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_PORT_GET), 0);

	attr(&b, RDMA_NLDEV_ATTR_PORT_INDEX, &(uint32_t){ 1 }, 4);
	attr(&b, RDMA_NLDEV_ATTR_PORT_STATE, &(uint8_t){ 1 }, 1);
	end(&b, at);
	nl = answers(&b);
	assert_int_equal(rdma_port(nl, 0, 1, &p, &e), 0);
	assert_int_equal(p.state, 1);
	assert_int_equal(p.ndev_index, 0);
	assert_string_equal(p.ndev_name, "");
}

static void the_rdma_mode_is_read(void **state)
{
	_cleanup_nl_ struct nl *nl = recording("rdma/system");
	bool exclusive = false;

	assert_int_equal(rdma_get_exclusive(nl, &exclusive, &e), 0);
	assert_true(exclusive);
}

static void rdma_errors_say_what_is_in_the_way(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_nl_ struct nl *nl = NULL;

	ack(&b, -EOPNOTSUPP, NULL, false, 0);
	ack(&b, -EINVAL, NULL, false, 0); /* the look-up of the name */
	ack(&b, -EBUSY, NULL, false, 0);
	nl = answers(&b);
	assert_int_equal(rdma_move(nl, 3, 0, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.msg, "RDMA device 3: cannot move it to another network namespace: Operation not supported (namespaces share"));
	assert_int_equal(rdma_set_exclusive(nl, true, &e), -EBUSY);
	assert_non_null(strstr(e.msg, "ib_core.netns_mode=0"));
}

/* -- devlink -- */

static struct devlink *devlink_recording(const char *name)
{
	struct devlink *d;

	if (devlink_on(recording(name), &d, &e) < 0)
		fail_msg("%s", e.msg);
	return d;
}

static void devlink_information_is_read(void **state)
{
	struct devlink *d = devlink_recording("devlink/info-mlx5");
	struct devlink_info i;

	assert_int_equal(devlink_info(d, arena, "0000:18:00.0", &i, &e), 0);
	assert_string_equal(i.driver, "mlx5_core");
	assert_string_equal(i.serial, "MT2243XZ0A1B");
	assert_string_equal(i.fw_version, "28.39.1002");
	assert_string_equal(i.fw_stored, "28.42.1000");
	assert_string_equal(i.psid, "MT_0000000838");
	devlink_close(d);
	d = devlink_recording("devlink/info-ice"); /* no fw.version: fw; fw.psid.api is no PSID */
	assert_int_equal(devlink_info(d, arena, "0000:18:00.0", &i, &e), 0);
	assert_string_equal(i.fw_version, "2.1.7");
	assert_null(i.fw_stored);
	assert_null(i.psid);
	devlink_close(d);
	d = devlink_recording("devlink/info-vf");
	assert_int_equal(devlink_info(d, arena, "0000:18:00.2", &i, &e), 0);
	assert_string_equal(i.driver, "mlx5_core");
	assert_null(i.fw_version);
	devlink_close(d);
}

static void a_device_that_devlink_does_not_know_is_told(void **state)
{
	struct devlink *d = devlink_recording("devlink/info-not-supported");
	struct devlink_info i;

	assert_int_equal(devlink_info(d, arena, "0000:a3:00.0", &i, &e), -EOPNOTSUPP);
	assert_string_equal(e.msg, "pci/0000:a3:00.0: cannot read devlink's information: Operation not supported");
	devlink_close(d);
	assert_int_equal(devlink_on(recording("devlink/no-family"), &d, &e), -ENOENT);
	assert_string_equal(e.msg, "this kernel has no devlink");
}

static void the_eswitch_mode_is_read_and_set_by_name(void **state)
{
	struct devlink *d = devlink_recording("devlink/eswitch-switchdev");
	const char *mode;

	assert_int_equal(devlink_eswitch_get(d, arena, "0000:18:00.0", &mode, &e), 0);
	assert_string_equal(mode, "switchdev");
	assert_int_equal(devlink_eswitch_set(d, "0000:18:00.0", "swichdev", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "\"swichdev\""));
	devlink_close(d);
	d = devlink_recording("devlink/eswitch-busy");
	assert_int_equal(devlink_eswitch_set(d, "0000:18:00.0", "legacy", &e), -EBUSY);
	assert_string_equal(e.msg, "pci/0000:18:00.0: cannot set the eswitch mode legacy: Device or resource busy, kernel says: "
				   "Can't change mode, E-Switch is busy");
	devlink_close(d);
}

int main(void)
{
#define with_arena(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		with_arena(an_interrupted_dump_starts_anew),
		with_arena(a_table_that_never_rests_is_given_up),
		with_arena(a_dump_that_ends_with_an_error_fails),
		with_arena(the_kernels_words_are_found_in_every_kind_of_acknowledgement),
		with_arena(broken_answers_are_refused),
		with_arena(a_name_without_end_or_too_long_is_refused),
		with_arena(a_request_beyond_its_buffer_is_not_sent),
		with_arena(a_vf_is_found_by_its_id),
		with_arena(all_vfs_of_a_port_come_by_one_request),
		with_arena(an_answer_too_long_is_asked_for_by_dump),
		with_arena(vfs_of_a_real_port_are_read),
		with_arena(vf_settings_are_sent_as_the_kernel_wants_them),
		with_arena(guids_of_a_vf_go_in_a_request_each),
		with_arena(what_a_vf_refuses_is_told_with_the_pfs_name),
		with_arena(links_of_a_real_node_are_read),
		with_arena(an_rdma_device_is_read),
		with_arena(an_rdma_device_that_a_list_left_out_is_found_in_the_next),
		with_arena(an_rdma_port_is_read),
		with_arena(a_port_whose_netdev_is_elsewhere_has_none),
		with_arena(the_rdma_mode_is_read),
		with_arena(rdma_errors_say_what_is_in_the_way),
		with_arena(devlink_information_is_read),
		with_arena(a_device_that_devlink_does_not_know_is_told),
		with_arena(the_eswitch_mode_is_read_and_set_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
