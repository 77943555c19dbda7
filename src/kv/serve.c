/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "kv/serve.h"
#include "kv/session.h"

#define SESSIONS_MAX 64
#define TICK_MS 200
/* Enough for a round trip: who has not proven the secret by then gives its place to another. */
#define PROOF_NS UINT64_C(1000000000)

struct running;

/* A connection that was accepted, in a detached thread of its own. */
struct guest {
	struct running *running;
	int fd;
	union kv_addr from;
	uint64_t came;
	/* under the lock */
	bool proven;	 /* knows the secret */
	const char *cut; /* why this side ended the connection, or NULL */
};

/* kv_serve() waits for the last guest to leave. */
struct running {
	pthread_mutex_t lock;
	pthread_cond_t left;
	struct guest *guests[SESSIONS_MAX]; /* as they came */
	size_t n;
	uint64_t finished;
	struct kv_server *server;
};

static void report(const struct guest *g, const struct kv_chan *c, const struct kv_session_result *res, int r,
		   const struct err *e)
{
	const char *why;

	pthread_mutex_lock(&g->running->lock);
	why = g->cut;
	pthread_mutex_unlock(&g->running->lock);
	if (r < 0)
		log_warn("%s: %s", c->peer, why ? why : e->msg);
	else if (!g->running->server->quiet)
		log_info("%s: %u handoffs of %ju bytes by %s", c->peer, res->handoffs, (uintmax_t)res->bytes,
			 res->transport[0] ? res->transport : "nothing");
}

/* The channel is closed under the lock: nobody cuts a number that is another file's by then. */
static void leave(struct guest *g, struct kv_chan *chan)
{
	struct running *running = g->running;
	size_t i = 0;

	pthread_mutex_lock(&running->lock);
	while (running->guests[i] != g)
		i++;
	running->n--;
	memmove(&running->guests[i], &running->guests[i + 1], (running->n - i) * sizeof(*running->guests));
	running->finished += g->proven;
	kv_chan_close(chan);
	pthread_cond_broadcast(&running->left);
	pthread_mutex_unlock(&running->lock);
	free(g);
}

static void *serve_guest(void *arg)
{
	struct guest *g = arg;
	struct kv_server *server = g->running->server;
	struct kv_session_result res = { .transport = "" };
	struct kv_chan chan;
	struct err e = { 0 };
	int r = kv_chan_accept(g->fd, &g->from, &server->secret, (unsigned)server->options.timeout * 1000, &chan, &e);

	if (r < 0) {
		kv_chan_fail(&chan, &e);
	} else {
		pthread_mutex_lock(&g->running->lock);
		g->proven = true;
		pthread_mutex_unlock(&g->running->lock);
		r = kv_session_run(server, &chan, &res, &e);
	}
	report(g, &chan, &res, r, &e);
	leave(g, &chan);
	return NULL;
}

/* Under the lock. The guest's thread finds its connection ended, and leaves. */
static void cut(struct guest *g, const char *why)
{
	g->cut = why;
	shutdown(g->fd, SHUT_RDWR);
}

/* Under the lock: until a guest leaves, or a moment. */
static void wait_for_one(struct running *running)
{
	const struct timespec until = clock_deadline(TICK_MS);

	pthread_cond_timedwait(&running->left, &running->lock, &until);
}

static bool stopped(const struct running *running)
{
	struct pollfd p = { .fd = running->server->stop_fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* Under the lock: one place at least. -ECANCELED: the server stops. */
static int make_room(struct running *running)
{
	while (running->n == SESSIONS_MAX) {
		size_t i = 0;

		if (stopped(running))
			return -ECANCELED;
		while (i < running->n && running->guests[i]->proven)
			i++;
		if (i < running->n && clock_ns() - running->guests[i]->came > PROOF_NS)
			cut(running->guests[i], "made room for another before it proved the secret");
		wait_for_one(running);
	}
	return 0;
}

/* Wait for a place, then give the guest a thread. */
static int welcome(struct running *running, int fd, const union kv_addr *from)
{
	struct guest *g = malloc(sizeof(*g));
	pthread_attr_t detached;
	pthread_t t;
	int r;

	if (!g)
		abort();
	*g = (struct guest){ .running = running, .fd = fd, .from = *from, .came = clock_ns() };
	pthread_mutex_lock(&running->lock);
	r = make_room(running);
	if (r == 0)
		running->guests[running->n++] = g;
	pthread_mutex_unlock(&running->lock);
	if (r < 0) {
		close(fd);
		free(g);
		return r;
	}
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &detached, serve_guest, g) != 0) {
		log_warn("no thread for a session");
		leave(g, &(struct kv_chan){ .fd = fd });
	}
	pthread_attr_destroy(&detached);
	return 0;
}

static uint64_t finished(struct running *running)
{
	uint64_t n;

	pthread_mutex_lock(&running->lock);
	n = running->finished;
	pthread_mutex_unlock(&running->lock);
	return n;
}

/* Sessions under way come to their end; at the stop they are cut. */
static void wait_for_all(struct running *running)
{
	pthread_mutex_lock(&running->lock);
	while (running->n) {
		for (size_t i = 0; stopped(running) && i < running->n; i++)
			cut(running->guests[i], "cut, as this server stops");
		wait_for_one(running);
	}
	pthread_mutex_unlock(&running->lock);
}

int kv_serve(struct kv_server *s, uint64_t sessions, struct err *e)
{
	struct running running = { .lock = PTHREAD_MUTEX_INITIALIZER, .server = s };
	int r = 0;

	clock_cond_init(&running.left);
	while (!sessions || finished(&running) < sessions) {
		union kv_addr from;
		int fd;

		r = kv_net_accept(s->listen_fd, s->stop_fd, TICK_MS, &fd, &from, e);
		if (r == -ETIMEDOUT)
			continue;
		if (r == 0)
			r = welcome(&running, fd, &from);
		if (r < 0)
			break;
	}
	wait_for_all(&running);
	return r == -ECANCELED || r == -ETIMEDOUT ? 0 : r;
}

struct options {
	struct kv_common common;
	const char *listen;
	uint64_t tokens, sessions, max_mib;
	bool ucx;
};

static int stop_on_signals(struct err *e)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? err_errno(e, -errno, "signalfd") : fd;
}

static int make_cache(struct kv_server *s, const struct options *o, struct err *e)
{
	struct kv_layout l;
	int r;

	if (!strcmp(o->common.model, "any"))
		return 0;
	r = kv_common_layout(&o->common, &l, e);
	if (r == 0)
		r = kv_cache_new(&l, (uint32_t)o->tokens, o->common.memory, (double)o->common.fragmentation / 100,
				 o->common.seed, &s->cache, e);
	if (r == 0)
		r = kv_cache_fill(s->cache, o->common.seed, e);
	return r;
}

static int run(void *options, char **args, size_t n_args, struct err *e)
{
	const struct options *o = options;
	_cleanup_close_ int listen_fd = -1, stop_fd = -1;
	struct kv_server s = { .options = o->common, .max_bytes = o->max_mib << 20, .ucx = o->ucx };
	union kv_addr a, bound;
	char text[KV_ADDR_MAX];
	int r = kv_secret_load(o->common.secret_file, &s.secret, e);

	if (r == 0)
		r = kv_addr_parse(o->listen, KV_PORT, &a, e);
	if (r == 0)
		r = make_cache(&s, o, e);
	if (r == 0)
		r = kv_net_listen(&a, &listen_fd, &bound, e);
	if (r == 0)
		r = stop_fd = stop_on_signals(e);
	if (r >= 0) {
		printf("listening on %s\n", kv_addr_text(&bound, text));
		fflush(stdout);
		s.listen_fd = listen_fd;
		s.stop_fd = stop_fd;
		r = kv_serve(&s, o->sessions, e);
	}
	kv_cache_free(s.cache);
	return r;
}

static const struct kv_option table[] = {
	{ "listen", 'l', KV_OPT_STRING, offsetof(struct options, listen), "ADDRESS[:PORT]",
	  .doc = "where decodes connect (all addresses, port 5700)" },
	{ "model", 'm', KV_OPT_STRING, offsetof(struct options, common.model), "MODEL",
	  .doc = "whose cache to hold (qwen2-7b), or any: what each decode asks for" },
	{ "tokens", 't', KV_OPT_UINT, offsetof(struct options, tokens), "N", 1, 1u << 26,
	  .doc = "that the cache holds (4096)" },
	{ "sessions", 0, KV_OPT_UINT, offsetof(struct options, sessions), "N", 1, UINT64_MAX,
	  .doc = "end after so many (never)" },
	{ "max-mib", 0, KV_OPT_UINT, offsetof(struct options, max_mib), "N", 1, 1u << 20,
	  .doc = "largest cache to make for --model any (4096)" },
	{ "ucx", 0, KV_OPT_FLAG, offsetof(struct options, ucx),
	  .doc = "let decodes choose transport ucx too: libucp then runs in this process, and ends it when a peer confuses it" },
	{ NULL },
};

static void defaults(void *options)
{
	*(struct options *)options = (struct options){ kv_common_defaults(), .listen = ":5700", .tokens = 4096, .max_mib = 4096 };
}

const struct kv_command kv_cmd_serve = {
	.name = "serve",
	.usage = "[--listen ADDRESS[:PORT]] [--model MODEL] [--tokens N] [--rails RAIL[,RAIL]...]",
	.summary = "hold a KV cache, as prefill does, and let decodes pull it",
	.about = "Holds the cache of one request of a model, with its blocks scattered, and hands it to every decode that\n"
		 "knows the secret. Ends on SIGTERM or SIGINT.",
	.options = table,
	.common = kv_common_options,
	.options_size = sizeof(struct options),
	.defaults = defaults,
	.run = run,
};
