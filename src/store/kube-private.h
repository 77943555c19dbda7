/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: one request to the API server, and what its parts are made of. */
#ifndef KVRAIL_STORE_KUBE_PRIVATE_H
#define KVRAIL_STORE_KUBE_PRIVATE_H

#include <pthread.h>
#include <sys/stat.h>

#include "base/strbuf.h"
#include "rpc/http.h"
#include "store/kube.h"
#include "store/kubeconfig.h"

#define KUBE_THREAD_STACK (256u << 10)
#define KUBE_OBJECT_MAX	  (16u << 20)

enum kube_verb { KUBE_GET, KUBE_LIST, KUBE_WATCH, KUBE_CREATE, KUBE_UPDATE, KUBE_PATCH, KUBE_DELETE, KUBE_VERBS };

/* Who we are, as it changes: a token file that is replaced, a program that is asked again. */
struct kube_cred {
	pthread_mutex_t lock;
	char *token;	     /* NULL: none */
	struct stat token_at, cert_at, key_at;
	bool asked;	     /* a program gave what is here */
	int64_t expires_s;   /* Unix time; 0: it does not */
};

struct kube {
	struct arena *arena;
	struct kubeconfig *config;
	struct http *http;
	struct kube_cred cred;
	const char *manager, *server;
	unsigned timeout_ms;
	void (*warning)(const char *text);
	struct kube_count counts[KUBE_VERBS];
};

/* The token for the next request (freed by the caller; NULL: none). @refused: the server did not take the last one. */
int kube_cred_get(struct kube *k, bool refused, char **ret, struct err *e);
void kube_cred_free(struct kube_cred *c);
/* What may be wrong with it, for a message after 401: "the token in FILE expired at ..."; in @a. */
const char *kube_cred_doubt(struct kube *k, struct arena *a);

/* Run the program of @x; fields that it does not give are NULL. */
struct kube_exec_answer {
	const char *token, *cert_pem, *key_pem;
	int64_t expires_s;
};

int kube_exec(struct arena *a, const struct kubeconfig *c, struct kube_exec_answer *ret, struct err *e);

struct kube_ask {
	enum kube_verb verb;
	const char *method, *target;
	const char *type, *body; /* content type and JSON, NULL: none */
	const char *accept;	 /* NULL: application/json */
	const struct kube_ref *ref; /* for messages; may be NULL */
	bool repeatable;	 /* a second time does no harm */
	unsigned timeout_ms;	 /* 0: the client's */
	unsigned idle_ms;	 /* 0: the usual */
	bool stream;		 /* no end is expected: timeout_ms is for its beginning only */
	bool single;		 /* one try: the caller pauses and tries again */
	int (*data)(void *arg, const char *p, size_t n);
	void (*begun)(void *arg);
	void *arg;
	struct http_cancel *cancel;
};

/*
 * Ask until there is an answer that stays so. 0: 2xx. Errors as in kube.h; -ECONNRESET and -ETIMEDOUT only with @q->data, when
 * the body broke off after it began (it is not asked again).
 */
int kube_ask(struct kube *k, const struct kube_ask *q, struct http_reply *ret, struct err *e);

/* A reply that is no 2xx, as an errno and words. */
int kube_refused(struct kube *k, const struct kube_ask *q, const struct http_reply *reply, struct err *e);
/* The path of @ref, with @query ("a=b&c=d") behind it when not NULL; in @a. */
char *kube_target(struct arena *a, const struct kube_ref *ref, const char *query);
/* "&labelSelector=...&fieldSelector=..." or ""; in @a. */
char *kube_selectors(struct arena *a, const struct kube_select *s);

/* What became of one try. */
struct kube_try {
	int r;	   /* of http_do() */
	bool sent; /* the server may have seen it */
	int status, retry_after_s;
	bool repeatable;
	unsigned attempt; /* from 0 */
	uint64_t left_ms;
	uint32_t random;
};

/* Milliseconds to pause before the next try; negative: there is none. */
int kube_retry(const struct kube_try *t);
uint32_t kube_random(void);
/* A pause that grows with @attempt from @base_ms to @max_ms, half of it by chance. */
unsigned kube_backoff(unsigned attempt, unsigned base_ms, unsigned max_ms, uint32_t random);

/* Text cut into lines as it comes: only an unfinished one is kept. */
struct kube_lines {
	struct strbuf tail;
	size_t max;
};

/* @line gets each line without its end, empty ones left out. Its non-zero return ends it and is returned; -EFBIG for a longer line. */
int kube_lines_feed(struct kube_lines *l, const char *p, size_t n, int (*line)(void *arg, char *text, size_t len), void *arg);

/* The items of a List, cut out of its text as it comes; what is around them is kept. */
struct kube_items {
	struct strbuf item, rest;
	size_t max;	     /* of an item */
	unsigned depth;
	bool quoted, escaped, inside; /* in a string; after its backslash; in the array "items" */
	char key[16];	     /* the last string at depth 1, cut */
	size_t key_len;
};

int kube_items_feed(struct kube_items *s, const char *p, size_t n, int (*item)(void *arg, const char *text, size_t len), void *arg);
void kube_items_free(struct kube_items *s);

/*
 * One page of a list: as kube_list() for that page, without trying again once its body has begun. @next (in @a) is the continue token or NULL.
 */
struct kube_page {
	const char *next, *version; /* in: the page to get (NULL: the first); out: the one after, and the list's resourceVersion */
	bool single;		    /* in: one try */
	int retry_after_s;	    /* out, after a failure: what the server said, -1: nothing */
};

int kube_list_page(struct kube *k, struct arena *a, const struct kube_ref *ref, const struct kube_select *select,
		   struct kube_page *page, unsigned timeout_ms, struct http_cancel *cancel,
		   int (*item)(void *arg, yyjson_val *obj), void *arg, struct err *e);

/* What an informer keeps: entries in the order of namespace and name. */
struct kube_entry {
	struct informer_object o; /* its strings lie behind it */
};

struct kube_cache {
	struct kube_entry **v;
	size_t n, size;
};

struct kube_entry *kube_entry_new(const char *ns, const char *name, const char *uid, const char *version, const char *json);
/* Where the object is, or (*found false) where it belongs. */
size_t kube_cache_find(const struct kube_cache *c, const char *ns, const char *name, bool *found);
/* Put @e in; what was there under its name comes back, to be freed, else NULL. */
struct kube_entry *kube_cache_put(struct kube_cache *c, struct kube_entry *e);
/* Take the object out; NULL when it is not there. */
struct kube_entry *kube_cache_take(struct kube_cache *c, const char *ns, const char *name);
void kube_cache_free(struct kube_cache *c);
/*
 * What differs from @was to @is: @event for each object that went, came or has another text, in the order of names; one of the
 * same name with another uid goes and comes.
 */
void kube_cache_diff(const struct kube_cache *was, const struct kube_cache *is,
		     void (*event)(void *arg, enum informer_event what, const struct informer_object *was,
				   const struct informer_object *is),
		     void *arg);

void kube_count(struct kube *k, enum kube_verb verb, bool ok, unsigned retried);

/* A detached thread's opposite: a joinable one with a small stack. */
int kube_thread(pthread_t *ret, void *(*run)(void *), void *arg, struct err *e);

#endif
