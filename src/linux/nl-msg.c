/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "linux/nl-msg.h"

/* @len zeroed bytes at the end of the message, or NULL when it is full. */
static void *grow(struct nl_msg *m, size_t len)
{
	size_t at = NLMSG_ALIGN(m->h.nlmsg_len);

	if (m->full || len > sizeof(m->buf) - at) {
		m->full = true;
		return NULL;
	}
	m->h.nlmsg_len = (uint32_t)(at + len);
	return m->buf + at;
}

void nl_msg_init(struct nl_msg *m, uint16_t type, uint16_t flags, const void *header, size_t len)
{
	memset(m, 0, sizeof(*m));
	m->h.nlmsg_len = NLMSG_HDRLEN;
	m->h.nlmsg_type = type;
	m->h.nlmsg_flags = flags;
	nl_put_header(m, header, len);
}

void nl_put_header(struct nl_msg *m, const void *header, size_t len)
{
	void *p = len ? grow(m, len) : NULL;

	if (p)
		memcpy(p, header, len);
}

void nl_put(struct nl_msg *m, uint16_t type, const void *data, size_t len)
{
	struct nlattr *a = grow(m, NLA_HDRLEN + len);

	if (!a)
		return;
	a->nla_type = type;
	a->nla_len = (uint16_t)(NLA_HDRLEN + len);
	if (len)
		memcpy((char *)a + NLA_HDRLEN, data, len);
}

void nl_put_u8(struct nl_msg *m, uint16_t type, uint8_t v)
{
	nl_put(m, type, &v, sizeof(v));
}

void nl_put_u32(struct nl_msg *m, uint16_t type, uint32_t v)
{
	nl_put(m, type, &v, sizeof(v));
}

void nl_put_str(struct nl_msg *m, uint16_t type, const char *s)
{
	nl_put(m, type, s, strlen(s) + 1);
}

size_t nl_nest(struct nl_msg *m, uint16_t type)
{
	size_t at = NLMSG_ALIGN(m->h.nlmsg_len);

	nl_put(m, type | NLA_F_NESTED, NULL, 0);
	return at;
}

void nl_nest_end(struct nl_msg *m, size_t nest)
{
	struct nlattr *a = (struct nlattr *)(m->buf + nest);

	if (!m->full)
		a->nla_len = (uint16_t)(m->h.nlmsg_len - nest);
}

int nl_next(const void *buf, size_t len, size_t *pos, const struct nlattr **ret)
{
	const struct nlattr *a = (const void *)((const char *)buf + *pos);
	size_t left;

	if (*pos >= len)
		return 0;
	left = len - *pos;
	if (left < NLA_HDRLEN || a->nla_len < NLA_HDRLEN || a->nla_len > left)
		return -EBADMSG;
	*pos += NLA_ALIGN(a->nla_len);
	*ret = a;
	return 1;
}

static bool fits(const struct nlattr *a, struct nl_policy p)
{
	size_t len = nl_len(a);
	const char *s = nl_data(a);

	switch ((enum nl_type)p.type) {
	case NL_U8:
		return len == 1;
	case NL_U16:
		return len == 2;
	case NL_U32:
		return len == 4;
	case NL_U64:
		return len == 8;
	case NL_STR:
		return len && s[len - 1] == '\0' && (!p.len || len - 1 <= p.len);
	case NL_BYTES:
		return !p.len || len == p.len;
	case NL_NESTED:
	case NL_NONE:
		return true;
	}
	return false;
}

int nl_parse(const void *buf, size_t len, const struct nl_policy *policy, uint16_t max, const struct nlattr **tb)
{
	const struct nlattr *a;
	size_t pos = 0;
	int x;

	for (unsigned i = 0; i <= max; i++)
		tb[i] = NULL;
	while ((x = nl_next(buf, len, &pos, &a)) > 0) {
		uint16_t type = nl_attr_type(a);

		if (type > max || policy[type].type == NL_NONE)
			continue;
		if (!fits(a, policy[type]))
			return -EBADMSG;
		tb[type] = a;
	}
	return x;
}

int nl_parse_msg(const struct nlmsghdr *h, size_t header_len, const struct nl_policy *policy, uint16_t max,
		 const struct nlattr **tb)
{
	size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(header_len);

	if (h->nlmsg_len < skip)
		return -EBADMSG;
	return nl_parse((const char *)h + skip, h->nlmsg_len - skip, policy, max, tb);
}

int nl_parse_nest(const struct nlattr *nest, const struct nl_policy *policy, uint16_t max, const struct nlattr **tb)
{
	return nl_parse(nl_data(nest), nl_len(nest), policy, max, tb);
}
