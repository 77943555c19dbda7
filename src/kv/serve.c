/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "kv/serve.h"
#include "kv/session.h"

#define SESSIONS_MAX 64

/* A session that was accepted; threads are detached, kv_serve() waits for their number to be 0. */
struct running {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	size_t n;
	uint64_t finished;
	struct kv_server *server;
};

struct guest {
	struct running *running;
	int fd;
	union kv_addr from;
};

static void report(const struct kv_server *s, const struct kv_chan *c, const struct kv_session_result *res, int r,
		   const struct err *e)
{
	if (r < 0)
		log_warn("%s: %s", c->peer, e->msg);
	else if (!s->quiet)
		log_info("%s: %u handoffs of %ju bytes by %s", c->peer, res->handoffs, (uintmax_t)res->bytes,
			 res->transport[0] ? res->transport : "nothing");
}

static void *serve_guest(void *arg)
{
	struct guest *g = arg;
	struct running *running = g->running;
	struct kv_session_result res = { .transport = "" };
	struct kv_chan chan;
	struct err e = { 0 };
	bool counts = false;
	int r = kv_chan_accept(g->fd, &g->from, &running->server->secret, (unsigned)running->server->options.timeout * 1000,
			       &chan, &e);

	if (r < 0) {
		kv_chan_fail(&chan, &e);
	} else {
		counts = true;
		r = kv_session_run(running->server, &chan, &res, &e);
	}
	report(running->server, &chan, &res, r, &e);
	kv_chan_close(&chan);
	free(g);
	pthread_mutex_lock(&running->lock);
	running->n--;
	running->finished += counts;
	pthread_cond_broadcast(&running->ended);
	pthread_mutex_unlock(&running->lock);
	return NULL;
}

/* Wait for a place, then give the guest a thread. */
static void welcome(struct running *running, int fd, const union kv_addr *from)
{
	struct guest *g = malloc(sizeof(*g));
	pthread_attr_t detached;
	pthread_t t;

	if (!g)
		abort();
	*g = (struct guest){ running, fd, *from };
	pthread_mutex_lock(&running->lock);
	while (running->n >= SESSIONS_MAX)
		pthread_cond_wait(&running->ended, &running->lock);
	running->n++;
	pthread_mutex_unlock(&running->lock);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &detached, serve_guest, g) != 0) {
		log_warn("no thread for a session");
		close(fd);
		free(g);
		pthread_mutex_lock(&running->lock);
		running->n--;
		pthread_mutex_unlock(&running->lock);
	}
	pthread_attr_destroy(&detached);
}

static uint64_t finished(struct running *running, bool wait_for_all)
{
	uint64_t n;

	pthread_mutex_lock(&running->lock);
	while (wait_for_all && running->n)
		pthread_cond_wait(&running->ended, &running->lock);
	n = running->finished;
	pthread_mutex_unlock(&running->lock);
	return n;
}

int kv_serve(struct kv_server *s, uint64_t sessions, struct err *e)
{
	struct running running = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, .server = s };
	int r = 0;

	while (!sessions || finished(&running, false) < sessions) {
		union kv_addr from;
		int fd;

		r = kv_net_accept(s->listen_fd, s->stop_fd, 200, &fd, &from, e);
		if (r == -ETIMEDOUT)
			continue;
		if (r < 0)
			break;
		welcome(&running, fd, &from);
	}
	finished(&running, true);
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
