/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as they come, cut into lines (watch) or into the items of a list. */
#include <string.h>

#include "store/kube-private.h"

#define REST_MAX (1u << 20)

int kube_lines_feed(struct kube_lines *l, const char *p, size_t n, int (*line)(void *arg, char *text, size_t len), void *arg)
{
	while (n) {
		const char *nl = memchr(p, '\n', n);
		size_t piece = nl ? (size_t)(nl - p) : n;
		int r = 0;

		if (piece > l->max - l->tail.len)
			return -EFBIG;
		strbuf_add(&l->tail, p, piece);
		p += piece + (nl != NULL);
		n -= piece + (nl != NULL);
		if (!nl)
			break;
		if (l->tail.len)
			r = line(arg, l->tail.s, l->tail.len);
		if (l->tail.size > 65536) /* one big object shall not hold its memory for as long as the watch runs */
			strbuf_free(&l->tail);
		l->tail.len = 0;
		if (r)
			return r;
	}
	return 0;
}

static void string_byte(struct kube_items *s, char c)
{
	if (s->escaped)
		s->escaped = false;
	else if (c == '\\')
		s->escaped = true;
	else if (c == '"')
		s->quoted = false;
	if (s->quoted && s->depth == 1 && s->key_len < sizeof(s->key) - 1)
		s->key[s->key_len++] = c;
}

static void structure_byte(struct kube_items *s, char c)
{
	if (c == '"') {
		s->quoted = true;
		if (s->depth == 1)
			s->key_len = 0;
	} else if (c == '{' || c == '[') {
		if (s->depth++ == 1 && c == '[' && s->key_len == 5 && !memcmp(s->key, "items", 5))
			s->inside = true;
	} else if (c == '}' || c == ']') {
		if (s->depth)
			s->depth--;
		if (s->depth == 1)
			s->inside = false;
	} else if (c == ',' && s->depth == 1) {
		s->key_len = 0;
	}
}

/* A byte between or inside items. */
static int item_byte(struct kube_items *s, char c, int (*item)(void *arg, const char *text, size_t len), void *arg)
{
	if (!s->item.len && (c == ',' || c == ' ' || c == '\n' || c == '\t' || c == '\r'))
		return 0;
	if (!s->item.len && c != '{')
		return -EPROTO;
	if (s->item.len >= s->max)
		return -EFBIG;
	strbuf_addch(&s->item, c);
	if (s->depth == 2 && !s->quoted) {
		size_t len = s->item.len;

		s->item.len = 0;
		return item(arg, s->item.s, len);
	}
	return 0;
}

int kube_items_feed(struct kube_items *s, const char *p, size_t n, int (*item)(void *arg, const char *text, size_t len), void *arg)
{
	for (size_t i = 0; i < n; i++) {
		bool was_inside = s->inside;
		int r;

		if (s->quoted)
			string_byte(s, p[i]);
		else
			structure_byte(s, p[i]);
		if (was_inside && s->inside) {
			r = item_byte(s, p[i], item, arg);
			if (r)
				return r;
			continue;
		}
		if (s->rest.len >= REST_MAX)
			return -EFBIG;
		strbuf_addch(&s->rest, p[i]);
	}
	return 0;
}

void kube_items_free(struct kube_items *s)
{
	strbuf_free(&s->item);
	strbuf_free(&s->rest);
}
