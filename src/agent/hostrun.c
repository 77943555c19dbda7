/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/hostrun.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/doc.h"

#define PATIENCE_S 10 /* for a shim to come back, beyond the plugin's own time */
#define STACK (512u << 10)
#define ANSWER_MAX (2u << 20)

enum phase { WORKING, ORDERED, ANSWERED, DONE };

/* One conversation. */
struct talk {
	struct hostrun *of;
	struct talk *next;
	char id[33];
	enum phase phase;
	bool served; /* a request of the shim waits for the work's next word */
	bool alone;  /* the shim did not come back */
	long alive; /* the byte that it locks; 0: none */
	pthread_cond_t changed;
	struct arena *arena; /* of the work's thread */
	hostrun_work work;
	void *arg;
	char *order;		 /* ORDERED: for the shim; malloc'd */
	char *answer;		 /* ANSWERED: what it said; malloc'd */
	size_t answer_len;
	int status;		 /* DONE: the reply */
	const char *text;
};

struct hostrun {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a talk has ended */
	struct talk *talks;
	size_t n;
	bool ending;
	char *shims; /* path of the file whose bytes they lock */
	int shims_fd;
};

struct hostrun *hostrun_new(const char *socket)
{
	struct hostrun *p = calloc(1, sizeof(*p));

	if (!p || asprintf(&p->shims, "%s.shims", socket) < 0)
		abort();
	p->shims_fd = open(p->shims, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (p->shims_fd < 0)
		log_warn("%s: %s; a shim that is killed is noticed late", p->shims, strerror(errno));
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	return p;
}

static void wake_all(struct hostrun *p)
{
	for (struct talk *t = p->talks; t; t = t->next)
		pthread_cond_broadcast(&t->changed);
}

struct hostrun *hostrun_free(struct hostrun *p)
{
	if (!p)
		return NULL;
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	wake_all(p);
	while (p->n)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	if (p->shims_fd >= 0) {
		unlink(p->shims);
		close(p->shims_fd);
	}
	free(p->shims);
	free(p);
	return NULL;
}

/* Lock held. */
static void forget(struct talk *t)
{
	struct hostrun *p = t->of;

	for (struct talk **at = &p->talks; *at; at = &(*at)->next)
		if (*at == t) {
			*at = t->next;
			break;
		}
	p->n--;
	pthread_cond_broadcast(&p->changed);
	pthread_cond_destroy(&t->changed);
	arena_free(t->arena);
	free(t->arg);
	free(t->order);
	free(t->answer);
	free(t);
}

static void *work_thread(void *arg)
{
	struct talk *t = arg;
	struct hostrun *p = t->of;

	t->work(t->arg, t->arena, t, &t->status, &t->text);
	pthread_mutex_lock(&p->lock);
	t->phase = DONE;
	if (t->served)
		pthread_cond_broadcast(&t->changed);
	else
		forget(t);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Wait for the work's next word and say it to the shim. Lock held; released. */
static void answer_shim(struct talk *t, struct httpd_request *rq, struct httpd_reply *reply)
{
	struct hostrun *p = t->of;

	t->served = true;
	while (t->phase != ORDERED && t->phase != DONE)
		pthread_cond_wait(&t->changed, &p->lock);
	t->served = false;
	if (t->phase == DONE) {
		httpd_say(reply, t->status, arena_strdup(rq->arena, t->text));
		forget(t);
	} else {
		httpd_say(reply, 200, arena_strdup(rq->arena, t->order));
	}
	pthread_mutex_unlock(&p->lock);
}

static void make_id(char id[33])
{
	unsigned char bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		abort();
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(id + 2 * i, 3, "%02x", bytes[i]);
}

void hostrun_begin(struct hostrun *p, struct arena *a, hostrun_work work, const void *arg, size_t size, long alive, struct httpd_request *rq,
		   struct httpd_reply *reply)
{
	struct talk *t = calloc(1, sizeof(*t));
	pthread_attr_t attr;
	pthread_t thread;

	if (!t || !(t->arg = malloc(size)))
		abort();
	memcpy(t->arg, arg, size);
	t->of = p;
	t->arena = a;
	t->work = work;
	t->alive = alive;
	make_id(t->id);
	clock_cond_init(&t->changed);
	pthread_mutex_lock(&p->lock);
	t->next = p->talks;
	p->talks = t;
	p->n++;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, work_thread, t)) {
		httpd_say(reply, 503, "{\"error\":\"no thread can be started\"}");
		forget(t);
		pthread_mutex_unlock(&p->lock);
	} else {
		answer_shim(t, rq, reply);
	}
	pthread_attr_destroy(&attr);
}

void hostrun_go_on(struct hostrun *p, struct httpd_request *rq, struct httpd_reply *reply)
{
	struct talk *t;
	yyjson_val *body;
	const char *id;

	if (doc_parse_json(rq->arena, "the shim's answer", rq->body, rq->body_len, ANSWER_MAX, &body, NULL) < 0 || !(id = doc_str(body, "id"))) {
		httpd_say(reply, 400, "{\"code\":6,\"msg\":\"the shim's answer cannot be understood\"}");
		return;
	}
	pthread_mutex_lock(&p->lock);
	for (t = p->talks; t && (strcmp(t->id, id) || t->phase != ORDERED); t = t->next)
		;
	if (!t) {
		pthread_mutex_unlock(&p->lock);
		httpd_say(reply, 400, "{\"code\":11,\"msg\":\"the agent gave this request up, or was restarted: try again\"}");
		return;
	}
	t->answer = strndup(rq->body, rq->body_len);
	if (!t->answer)
		abort();
	t->answer_len = rq->body_len;
	t->phase = ANSWERED;
	pthread_cond_broadcast(&t->changed);
	answer_shim(t, rq, reply);
}

static char *make_order(const struct talk *t, struct arena *a, const char *path, const char *const *env, const char *in, size_t in_len,
			unsigned timeout_s)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = yyjson_mut_obj(doc), *order = yyjson_mut_obj(doc);
	size_t size = 0, at = 0;
	char *flat, *text;

	for (const char *const *p = env; p && *p; p++)
		size += strlen(*p) + 1;
	flat = arena_alloc(a, size);
	for (const char *const *p = env; p && *p; p++, at += strlen(flat + at) + 1)
		strcpy(flat + at, *p);
	yyjson_mut_obj_add_str(doc, order, "id", t->id);
	yyjson_mut_obj_add_str(doc, order, "path", base64_encode(a, path, strlen(path)));
	yyjson_mut_obj_add_str(doc, order, "env", base64_encode(a, flat, size));
	yyjson_mut_obj_add_str(doc, order, "in", base64_encode(a, in, in_len));
	yyjson_mut_obj_add_uint(doc, order, "timeout", timeout_s);
	yyjson_mut_obj_add_val(doc, v, "Exec", order);
	text = strdup(doc_mut_to_json(a, v, false));
	if (!text)
		abort();
	return text;
}

/* A shim that is killed takes its plugin along (cni/plugin.c). */
static bool shim_lives(const struct talk *t)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = t->alive, .l_len = 1 };

	return !t->alive || t->of->shims_fd < 0 || fcntl(t->of->shims_fd, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

/* Until the shim has answered. Lock held. false: it does not come back. */
static bool wait_answer(struct talk *t, unsigned timeout_s)
{
	struct timespec look = clock_deadline(0);

	for (unsigned s = 0; t->phase == ORDERED && !t->of->ending && s < timeout_s + PATIENCE_S && shim_lives(t); s++) {
		look.tv_sec++;
		while (t->phase == ORDERED && !t->of->ending && !pthread_cond_timedwait(&t->changed, &t->of->lock, &look))
			;
	}
	if (t->phase == ANSWERED)
		return true;
	t->alone = true;
	return false;
}

static int read_answer(struct arena *a, const char *path, const char *text, size_t len, struct attach_ran *ret, struct err *e)
{
	char *out, *words;
	size_t words_len;
	yyjson_val *v;
	int r = doc_parse_json(a, "the shim's answer", text, len, ANSWER_MAX, &v, e);

	if (r < 0)
		return r;
	if (yyjson_is_uint(yyjson_obj_get(v, "errno"))) {
		int x = (int)(yyjson_get_uint(yyjson_obj_get(v, "errno")) % 4096);

		return err_errno(e, -x, "%s", path);
	}
	if (!yyjson_is_uint(yyjson_obj_get(v, "status")) || !doc_str(v, "out") || !doc_str(v, "err") ||
	    base64_decode(a, doc_str(v, "out"), &out, &ret->out_len) < 0 || base64_decode(a, doc_str(v, "err"), &words, &words_len) < 0)
		return err_set(e, -EPROTO, "what the shim says of %s cannot be understood", path);
	ret->status = (int)yyjson_get_uint(yyjson_obj_get(v, "status"));
	ret->timed_out = yyjson_is_true(yyjson_obj_get(v, "timeout"));
	ret->out = out;
	ret->err = words;
	return 0;
}

int hostrun_run(void *caller, struct arena *a, const char *path, const char *const *env, const char *in, size_t in_len,
		unsigned timeout_s, struct attach_ran *ret, struct err *e)
{
	struct talk *t = caller;
	char *order, *answer;
	size_t len = 0;
	bool there;
	int r;

	if (!t)
		return -ENOTCONN;
	order = make_order(t, a, path, env, in, in_len, timeout_s);
	pthread_mutex_lock(&t->of->lock);
	if (t->alone || t->of->ending) {
		pthread_mutex_unlock(&t->of->lock);
		free(order);
		return -ENOTCONN;
	}
	free(t->order);
	t->order = order;
	t->phase = ORDERED;
	pthread_cond_broadcast(&t->changed);
	there = wait_answer(t, timeout_s);
	t->phase = WORKING;
	answer = t->answer;
	len = t->answer_len;
	t->answer = NULL;
	pthread_mutex_unlock(&t->of->lock);
	if (!there) {
		free(answer);
		return err_set(e, -ETIMEDOUT, "%s: the runtime gave up on it, or its kvrail-cni was killed", path);
	}
	r = read_answer(a, path, answer, len, ret, e);
	free(answer);
	return r;
}
