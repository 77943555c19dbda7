/* SPDX-License-Identifier: Apache-2.0 */
/* Lists, page by page, item by item. */
#include <string.h>

#include "base/clock.h"
#include "store/kube-private.h"

#define PAGE		500
#define PAUSE_MS	200
#define PAUSE_MAX_MS	5000

struct page {
	struct kube_items items;
	int (*item)(void *arg, yyjson_val *obj);
	void *arg;
	struct err *e;
	int ended; /* what @item returned */
};

static int on_item(void *arg, const char *text, size_t len)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct page *p = arg;
	yyjson_val *v;
	int r;

	r = doc_parse_json(a, "an object of the list", text, len, KUBE_OBJECT_MAX, &v, p->e);
	if (r < 0)
		return r;
	p->ended = p->item(p->arg, v);
	return p->ended;
}

static int on_data(void *arg, const char *data, size_t n)
{
	struct page *p = arg;
	int r = kube_items_feed(&p->items, data, n, on_item, p);

	if (r == -EPROTO || r == -EFBIG)
		err_set(p->e, r, r == -EFBIG ? "an object of the list is larger than %u bytes" : "this is no list", KUBE_OBJECT_MAX);
	return r;
}

int kube_list_page(struct kube *k, struct arena *a, const struct kube_ref *ref, const struct kube_select *select, struct kube_page *page,
		   unsigned timeout_ms, struct http_cancel *cancel, int (*item)(void *arg, yyjson_val *obj), void *arg, struct err *e)
{
	_cleanup_free_ char *token = page->next ? http_escape(page->next) : NULL;
	struct page p = { .items.max = KUBE_OBJECT_MAX, .item = item, .arg = arg, .e = e };
	struct kube_ask q = {
		.verb = KUBE_LIST, .method = "GET", .ref = ref, .repeatable = true, .timeout_ms = timeout_ms, .data = on_data, .arg = &p,
		.cancel = cancel, .single = page->single,
		.target = kube_target(a, ref, arena_printf(a, "limit=%d%s%s%s", PAGE, kube_selectors(a, select), token ? "&continue=" : "",
							   token ? token : "")),
	};
	_cleanup_reply_ struct http_reply reply = { 0 };
	yyjson_val *v, *meta;
	int r;

	r = kube_ask(k, &q, &reply, e);
	if (r == 0)
		r = doc_parse_json(a, "the list", p.items.rest.s ? p.items.rest.s : "", p.items.rest.len, KUBE_OBJECT_MAX, &v, e);
	kube_items_free(&p.items);
	page->retry_after_s = reply.retry_after_s;
	if (p.ended)
		return p.ended;
	if (r < 0)
		return r;
	meta = yyjson_obj_get(v, "metadata");
	page->version = doc_str(meta, "resourceVersion");
	page->next = doc_str(meta, "continue");
	if (page->next && !*page->next)
		page->next = NULL;
	return 0;
}

/* A list that is begun again after it broke off: each object once. */
struct whole {
	int (*item)(void *arg, yyjson_val *obj);
	void *arg;
	struct strbuf seen; /* "\nUID\n" of each */
	bool again;
};

static int once(void *arg, yyjson_val *obj)
{
	struct whole *w = arg;
	const char *uid = doc_str(yyjson_obj_get(obj, "metadata"), "uid");
	char word[80];
	int n;

	if (uid) {
		n = snprintf(word, sizeof(word), "\n%.64s\n", uid);
		if (w->again && w->seen.len && memmem(w->seen.s, w->seen.len, word, (size_t)n))
			return 0;
		strbuf_add(&w->seen, word, (size_t)n);
	}
	return w->item(w->arg, obj);
}

static bool is_broken_off(int r)
{
	return r == -ECONNRESET || r == -ETIMEDOUT;
}

int kube_list(struct kube *k, struct arena *a, const struct kube_ref *ref, const struct kube_select *select,
	      int (*item)(void *arg, yyjson_val *obj), void *arg, const char **ret_version, struct err *e)
{
	struct whole w = { .item = item, .arg = arg };
	struct kube_page page = { 0 };
	uint64_t end_ns = clock_ns() + k->timeout_ms * 1000000ull, now;
	unsigned failures = 0;
	int r;

	for (;;) {
		now = clock_ns();
		r = now < end_ns ? kube_list_page(k, a, ref, select, &page, (unsigned)((end_ns - now) / 1000000) + 1, NULL, once, &w, e) :
				   err_wrap(e, -EHOSTUNREACH, "the API server %s (%s) does not bring a list to its end", k->server,
					    k->config->source);
		if (r == 0 && page.next) {
			end_ns = clock_ns() + k->timeout_ms * 1000000ull;
			continue;
		}
		if (r != -ENODATA && !is_broken_off(r))
			break;
		if (r == -ENODATA) /* the continue token is too old: from the start */
			page = (struct kube_page){ 0 };
		w.again = true;
		clock_sleep_ms(kube_backoff(failures++, PAUSE_MS, PAUSE_MAX_MS, kube_random()));
	}
	strbuf_free(&w.seen);
	if (r == 0 && ret_version)
		*ret_version = page.version ? page.version : "";
	return r;
}
