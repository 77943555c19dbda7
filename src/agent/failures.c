/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <string.h>

#include "agent/failures.h"
#include "base/clock.h"

#define KEPT 32
#define NAME_SIZE 256 /* a DNS-1123 name has at most 253 bytes */
#define REPLY_MAX 65536

struct failure {
	char ns[NAME_SIZE], name[NAME_SIZE], error[512], last[32];
	unsigned times;
};

struct failures {
	pthread_mutex_t lock;
	struct failure *v[KEPT]; /* the oldest first */
	size_t n;
};

struct failures *failures_new(void)
{
	struct failures *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	pthread_mutex_init(&f->lock, NULL);
	return f;
}

struct failures *failures_free(struct failures *f)
{
	if (!f)
		return NULL;
	for (size_t i = 0; i < f->n; i++)
		free(f->v[i]);
	pthread_mutex_destroy(&f->lock);
	free(f);
	return NULL;
}

/* The value of @key in "A=B;C=D", into @buf; false when it is not there, or too long. */
static bool arg_of(const char *args, const char *key, char buf[NAME_SIZE])
{
	size_t n = strlen(key);

	for (const char *p = args; p && *p; p = strchr(p, ';')) {
		p += *p == ';';
		if (!strncmp(p, key, n) && p[n] == '=') {
			size_t len = strcspn(p + n + 1, ";");

			if (len == 0 || len >= NAME_SIZE)
				return false;
			memcpy(buf, p + n + 1, len);
			buf[len] = '\0';
			return true;
		}
	}
	return false;
}

static void remove_at(struct failures *f, size_t i)
{
	memmove(&f->v[i], &f->v[i + 1], (f->n - i - 1) * sizeof(*f->v));
	f->n--;
}

/* Out of the list; NULL: it was not there. */
static struct failure *take(struct failures *f, const char *ns, const char *name)
{
	for (size_t i = 0; i < f->n; i++) {
		struct failure *x = f->v[i];

		if (strcmp(x->ns, ns) || strcmp(x->name, name))
			continue;
		remove_at(f, i);
		return x;
	}
	return NULL;
}

static void put_error(struct failure *x, const char *reply)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *msg = NULL, *details = NULL;
	yyjson_val *v;

	if (doc_parse_json(a, "reply", reply, strlen(reply), REPLY_MAX, &v, NULL) == 0) {
		msg = doc_str(v, "msg");
		details = doc_str(v, "details");
	}
	snprintf(x->error, sizeof(x->error), "%s%s%s", msg ? msg : "ADD failed", details && *details ? ": " : "",
		 details && *details ? details : "");
}

void failures_note(struct failures *f, const char *args, const char *reply)
{
	char ns[NAME_SIZE], name[NAME_SIZE];
	struct failure *x;

	if (!arg_of(args, "K8S_POD_NAMESPACE", ns) || !arg_of(args, "K8S_POD_NAME", name))
		return;
	pthread_mutex_lock(&f->lock);
	x = take(f, ns, name);
	if (!reply) {
		free(x);
	} else {
		if (!x && !(x = calloc(1, sizeof(*x))))
			abort();
		if (f->n == KEPT) {
			free(f->v[0]);
			remove_at(f, 0);
		}
		strcpy(x->ns, ns);
		strcpy(x->name, name);
		put_error(x, reply);
		clock_rfc3339(x->last);
		x->times++;
		f->v[f->n++] = x;
	}
	pthread_mutex_unlock(&f->lock);
}

yyjson_mut_val *failures_json(struct failures *f, yyjson_mut_doc *doc, bool (*is_there)(void *arg, const char *ns, const char *name), void *arg)
{
	yyjson_mut_val *list = yyjson_mut_arr(doc);

	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < f->n;) {
		struct failure *x = f->v[i];
		yyjson_mut_val *v;
		char pod[2 * NAME_SIZE];

		if (!is_there(arg, x->ns, x->name)) {
			remove_at(f, i);
			free(x);
			continue;
		}
		snprintf(pod, sizeof(pod), "%s/%s", x->ns, x->name);
		v = yyjson_mut_arr_add_obj(doc, list);
		yyjson_mut_obj_add_strcpy(doc, v, "pod", pod);
		yyjson_mut_obj_add_strcpy(doc, v, "error", x->error);
		yyjson_mut_obj_add_uint(doc, v, "times", x->times);
		yyjson_mut_obj_add_strcpy(doc, v, "last", x->last);
		i++;
	}
	pthread_mutex_unlock(&f->lock);
	return list;
}
