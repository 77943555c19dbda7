/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "rpc/grpc-wire.h"
#include "rpc/grpc.h"

static size_t frame_length(const struct grpc_frame *f)
{
	return (size_t)f->head[1] << 24 | (size_t)f->head[2] << 16 | (size_t)f->head[3] << 8 | f->head[4];
}

bool grpc_frame_whole(const struct grpc_frame *f)
{
	return f->have == GRPC_HEAD && f->body.len == frame_length(f);
}

int grpc_frame_add(struct grpc_frame *f, const void *data, size_t n, size_t max)
{
	const uint8_t *p = data;

	for (; n && f->have < GRPC_HEAD; n--)
		f->head[f->have++] = *p++;
	if (f->have && f->head[0])
		return -EPROTO;
	if (f->have < GRPC_HEAD)
		return 0;
	if (frame_length(f) > max)
		return -EMSGSIZE;
	if (n > frame_length(f) - f->body.len)
		return -EPROTO;
	if (n)
		strbuf_add(&f->body, p, n);
	return 0;
}

void grpc_frame_put(struct strbuf *b, const void *msg, size_t len)
{
	const uint8_t head[GRPC_HEAD] = { 0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };

	strbuf_add(b, head, sizeof(head));
	if (len)
		strbuf_add(b, msg, len);
}

int grpc_timeout_parse(const char *s, size_t len, uint64_t *ret_ns)
{
	static const struct { char unit; uint64_t ns; } units[] = {
		{ 'H', 3600000000000u }, { 'M', 60000000000u }, { 'S', 1000000000u }, { 'm', 1000000u }, { 'u', 1000u }, { 'n', 1u },
	};
	const uint64_t year = 8760 * units[0].ns;
	uint64_t v = 0;

	if (len < 2 || len > 9)
		return -EINVAL;
	for (size_t i = 0; i < len - 1; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (s[len - 1] == units[i].unit) {
			*ret_ns = v > year / units[i].ns ? year : v * units[i].ns;
			return 0;
		}
	return -EINVAL;
}

void grpc_text_encode(struct strbuf *b, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c > 0x7e || c == '%')
			strbuf_addf(b, "%%%02X", c);
		else
			strbuf_addch(b, (char)c);
	}
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void grpc_text_decode(struct strbuf *b, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '%' && i + 2 < len && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
			c = (unsigned char)(hex(text[i + 1]) << 4 | hex(text[i + 2]));
			i += 2;
		}
		strbuf_addch(b, c < 0x20 || c == 0x7f ? '?' : (char)c);
	}
}

const char *grpc_status_name(int status)
{
	static const char *const names[] = {
		"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
		"ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable",
		"DataLoss", "Unauthenticated",
	};

	return status >= 0 && (size_t)status < ARRAY_SIZE(names) ? names[status] : "Unknown";
}
