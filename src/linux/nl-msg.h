/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Netlink messages: attributes put into a request, and taken from an answer by a policy, that is a table of what each
 * attribute must look like. Bytes in, bytes out.
 */
#ifndef KVRAIL_LINUX_NL_MSG_H
#define KVRAIL_LINUX_NL_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <linux/netlink.h>

/* A request. One that grows beyond its buffer is marked full, and refused when it is sent. */
struct nl_msg {
	union {
		struct nlmsghdr h;
		unsigned char buf[2048];
	};
	bool full;
};

/* A message of @type with @flags (NLM_F_CREATE, ...) and its family's fixed @header. */
void nl_msg_init(struct nl_msg *m, uint16_t type, uint16_t flags, const void *header, size_t len);
void nl_put(struct nl_msg *m, uint16_t type, const void *data, size_t len);
void nl_put_u8(struct nl_msg *m, uint16_t type, uint8_t v);
void nl_put_u32(struct nl_msg *m, uint16_t type, uint32_t v);
void nl_put_str(struct nl_msg *m, uint16_t type, const char *s); /* with its NUL */
/* Attributes put until nl_nest_end() lie inside this one; @header stands before them (VETH_INFO_PEER). */
size_t nl_nest(struct nl_msg *m, uint16_t type);
void nl_put_header(struct nl_msg *m, const void *header, size_t len);
void nl_nest_end(struct nl_msg *m, size_t nest);

enum nl_type { NL_NONE, NL_U8, NL_U16, NL_U32, NL_U64, NL_STR, NL_BYTES, NL_NESTED };

struct nl_policy {
	uint8_t type;
	uint16_t len; /* NL_BYTES: exactly; NL_STR: at most, without the NUL; 0: any */
};

/*
 * Sort attributes of @buf into @tb[0..max] by @policy. -EBADMSG for a truncated attribute or one that is not as
 * its policy says. Attributes without a policy and those above @max (newer kernels) are ignored; of two of one type
 * the last counts.
 */
int nl_parse(const void *buf, size_t len, const struct nl_policy *policy, uint16_t max, const struct nlattr **tb);
/* Attributes after the message's family header of @header_len bytes; -EBADMSG when it is shorter than that. */
int nl_parse_msg(const struct nlmsghdr *h, size_t header_len, const struct nl_policy *policy, uint16_t max,
		 const struct nlattr **tb);
int nl_parse_nest(const struct nlattr *nest, const struct nl_policy *policy, uint16_t max, const struct nlattr **tb);

/*
 * Attributes one after the other, for those that come more than once. Start with *pos 0:
 * 1 and *ret, 0 at the end, -EBADMSG for a truncated one.
 */
int nl_next(const void *buf, size_t len, size_t *pos, const struct nlattr **ret);

static inline const void *nl_data(const struct nlattr *a)
{
	return (const char *)a + NLA_HDRLEN;
}

static inline size_t nl_len(const struct nlattr *a)
{
	return a->nla_len - NLA_HDRLEN;
}

static inline uint16_t nl_attr_type(const struct nlattr *a)
{
	return a->nla_type & NLA_TYPE_MASK;
}

/* Values of attributes that nl_parse() has checked. */
static inline uint8_t nl_u8(const struct nlattr *a)
{
	return *(const uint8_t *)nl_data(a);
}

static inline uint16_t nl_u16(const struct nlattr *a)
{
	uint16_t v;

	memcpy(&v, nl_data(a), sizeof(v));
	return v;
}

static inline uint32_t nl_u32(const struct nlattr *a)
{
	uint32_t v;

	memcpy(&v, nl_data(a), sizeof(v));
	return v;
}

static inline uint64_t nl_u64(const struct nlattr *a)
{
	uint64_t v;

	memcpy(&v, nl_data(a), sizeof(v));
	return v;
}

static inline const char *nl_str(const struct nlattr *a)
{
	return nl_data(a);
}

#endif
