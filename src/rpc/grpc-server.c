/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "rpc/grpc-conn.h"

#define CONNS_MAX 64		/* of all listeners: a kubelet has one each */
#define REQUEST_MAX (4u << 20) /* as grpc-go takes by default */
#define STACK (192u << 10)	/* only what is touched is resident */

/* What an epoll event points at. */
struct source {
	enum { SOURCE_WAKE, SOURCE_LISTENER, SOURCE_CONN } kind;
	int fd;
};

struct listener {
	struct source source;
	struct listener *next;
	char *path;
	const struct grpc_method *methods;
	void *arg;
	dev_t dev;
	ino_t ino;
	bool gone; /* to be reaped by the loop */
};

struct conn {
	struct source source;
	struct conn *next;
	struct listener *listener;
	struct grpc_conn *h2;
	struct strbuf rest; /* given by h2, not yet taken by the socket */
	size_t rest_done;
	bool gone, wants_write;
};

/* A request on its way to its handler. */
struct handover {
	struct grpc_call *call;
	const struct listener *listener;
};

struct grpc_server {
	pthread_t thread;
	pthread_mutex_t lock;	/* of all below, and of every call */
	pthread_cond_t changed; /* .handling, reaped listeners */
	struct source wake;	/* an eventfd */
	int epoll;
	bool stop, handling;
	struct listener *listeners;
	struct conn *conns;
	size_t n_conns;
};

static void wake(struct grpc_server *s)
{
	const uint64_t one = 1;

	if (write(s->wake.fd, &one, sizeof(one)) < 0) {
		/* full: it will wake anyway */
	}
}

static void watch(struct grpc_server *s, struct source *src, int op, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	epoll_ctl(s->epoll, op, src->fd, &ev);
}

static void accept_one(struct grpc_server *s, struct listener *l)
{
	int fd = accept4(l->source.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct conn *c;

	if (fd < 0)
		return;
	c = s->n_conns < CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (c)
		c->h2 = grpc_conn_new(true, REQUEST_MAX);
	if (!c || !c->h2) {
		free(c);
		close(fd);
		return;
	}
	c->source = (struct source){ SOURCE_CONN, fd };
	c->listener = l;
	c->next = s->conns;
	s->conns = c;
	s->n_conns++;
	watch(s, &c->source, EPOLL_CTL_ADD, EPOLLIN);
}

static void receive(struct conn *c)
{
	char buf[8192];
	ssize_t n;

	for (unsigned i = 0; i < 16 && !c->gone; i++) { /* then it is another one's turn */
		n = recv(c->source.fd, buf, sizeof(buf), 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || grpc_conn_in(c->h2, buf, (size_t)n) < 0)
			c->gone = true;
	}
}

/* As much as the socket takes; false: it takes no more now. */
static bool flush_rest(struct conn *c)
{
	while (c->rest_done < c->rest.len) {
		ssize_t n = send(c->source.fd, c->rest.s + c->rest_done, c->rest.len - c->rest_done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			c->gone |= errno != EAGAIN;
			return false;
		}
		c->rest_done += (size_t)n;
	}
	if (c->rest.size > 32768)
		strbuf_free(&c->rest);
	c->rest.len = c->rest_done = 0;
	return true;
}

static void pump(struct grpc_server *s, struct conn *c)
{
	const uint8_t *p;
	ssize_t n;

	while (!c->gone && flush_rest(c)) {
		n = grpc_conn_out(c->h2, &p);
		if (n == 0)
			break;
		if (n < 0)
			c->gone = true;
		else
			strbuf_add(&c->rest, p, (size_t)n);
	}
	if (!c->gone && grpc_conn_done(c->h2) && c->rest_done == c->rest.len)
		c->gone = true;
	if (!c->gone && c->wants_write != (c->rest_done < c->rest.len)) {
		c->wants_write = !c->wants_write;
		watch(s, &c->source, EPOLL_CTL_MOD, EPOLLIN | (c->wants_write ? EPOLLOUT : 0u));
	}
}

static void conn_free(struct conn *c)
{
	grpc_conn_free(c->h2);
	strbuf_free(&c->rest);
	close(c->source.fd);
	free(c);
}

static void listener_free(struct listener *l)
{
	struct stat st;

	if (l->source.fd >= 0)
		close(l->source.fd);
	if (l->ino && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	free(l->path);
	free(l);
}

/* Free what is gone. Only the loop does: an event may still point at it elsewhere. */
static void reap(struct grpc_server *s)
{
	for (struct conn **p = &s->conns; *p;) {
		struct conn *c = *p;

		if (c->gone || c->listener->gone) {
			*p = c->next;
			s->n_conns--;
			conn_free(c);
		} else {
			p = &c->next;
		}
	}
	for (struct listener **p = &s->listeners; *p;) {
		struct listener *l = *p;

		if (l->gone) {
			*p = l->next;
			listener_free(l);
			pthread_cond_broadcast(&s->changed);
		} else {
			p = &l->next;
		}
	}
}

/* Calls past their deadline end; *ret_ms is when the next one is due, -1: none. */
static void deadlines(struct grpc_server *s, int *ret_ms)
{
	uint64_t now = 0, next = 0;

	for (struct conn *c = s->conns; c; c = c->next) {
		bool expired = false;

		for (struct grpc_call *call = grpc_conn_calls(c->h2); call; call = call->next) {
			if (!call->timeout || call->end)
				continue;
			now = now ? now : clock_ns();
			if (!call->deadline)
				call->deadline = now + call->timeout;
			if (call->deadline <= now)
				expired |= grpc_call_end(call, GRPC_DEADLINE_EXCEEDED, "the caller's deadline passed") == 0;
			else if (!next || call->deadline < next)
				next = call->deadline;
		}
		if (expired)
			pump(s, c);
	}
	*ret_ms = !next ? -1 : next - now > 3600000000000u ? 3600000 : (int)((next - now) / 1000000u) + 1;
}

/* Requests that are whole, into a list of the loop's own. */
static size_t collect(struct grpc_server *s, struct handover *list, size_t max)
{
	size_t n = 0;

	for (struct conn *c = s->conns; c; c = c->next)
		for (struct grpc_call *call; n < max && (call = grpc_conn_ready(c->h2));) {
			call->owner = s;
			list[n++] = (struct handover){ call, c->listener };
		}
	return n;
}

static void hand_over(const struct handover *h)
{
	const struct grpc_method *m = h->listener->methods;

	while (m->path && strcmp(m->path, h->call->path))
		m++;
	if (m->path)
		m->handler(h->listener->arg, h->call, h->call->in.body.s ? h->call->in.body.s : "", h->call->in.body.len);
	else
		grpc_finish(h->call, GRPC_UNIMPLEMENTED, "unknown method");
}

static void handle(struct grpc_server *s, const struct epoll_event *ev, int n)
{
	uint64_t drain;

	for (int i = 0; i < n; i++) {
		struct source *src = ev[i].data.ptr;

		switch (src->kind) {
		case SOURCE_WAKE:
			if (read(src->fd, &drain, sizeof(drain)) < 0) {
				/* nothing in it */
			}
			break;
		case SOURCE_LISTENER:
			accept_one(s, (struct listener *)src);
			break;
		case SOURCE_CONN:
			if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				receive((struct conn *)src);
			break;
		}
	}
}

static void *loop(void *arg)
{
	struct grpc_server *s = arg;
	struct epoll_event ev[8];
	struct handover list[16];
	int timeout = -1;
	size_t n_calls = 0;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		int n;

		pthread_mutex_unlock(&s->lock);
		n = epoll_wait(s->epoll, ev, ARRAY_SIZE(ev), n_calls ? 0 : timeout);
		pthread_mutex_lock(&s->lock);
		handle(s, ev, n);
		n_calls = collect(s, list, ARRAY_SIZE(list));
		if (n_calls) {
			s->handling = true;
			pthread_mutex_unlock(&s->lock);
			for (size_t i = 0; i < n_calls; i++)
				hand_over(&list[i]);
			pthread_mutex_lock(&s->lock);
			s->handling = false;
			pthread_cond_broadcast(&s->changed);
		}
		for (struct conn *c = s->conns; c; c = c->next)
			pump(s, c);
		deadlines(s, &timeout);
		reap(s);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int grpc_server_start(struct grpc_server **ret, struct err *e)
{
	struct grpc_server *s = calloc(1, sizeof(*s));
	pthread_attr_t attr;
	int r;

	if (!s)
		return err_errno(e, -ENOMEM, "gRPC server");
	s->wake = (struct source){ SOURCE_WAKE, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	r = s->wake.fd < 0 || s->epoll < 0 ? -errno : 0;
	if (r == 0) {
		watch(s, &s->wake, EPOLL_CTL_ADD, EPOLLIN);
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, STACK);
		r = -pthread_create(&s->thread, &attr, loop, s);
		pthread_attr_destroy(&attr);
	}
	if (r < 0) {
		if (s->wake.fd >= 0)
			close(s->wake.fd);
		if (s->epoll >= 0)
			close(s->epoll);
		free(s);
		return err_errno(e, r, "gRPC server");
	}
	*ret = s;
	return 0;
}

struct grpc_server *grpc_server_stop(struct grpc_server *s)
{
	if (!s)
		return NULL;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_mutex_unlock(&s->lock);
	wake(s);
	pthread_join(s->thread, NULL);
	for (struct listener *l = s->listeners; l; l = l->next)
		l->gone = true;
	reap(s);
	close(s->wake.fd);
	close(s->epoll);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	free(s);
	return NULL;
}

/* Bound beside @path and renamed onto it, so that one who looks finds the old socket or the new one. */
static int bind_at(struct listener *l, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *slash = strrchr(l->path, '/');
	struct stat st;
	int r;

	if (strlen(l->path) >= sizeof(sa.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: the path of a socket has at most %zu bytes", l->path, sizeof(sa.sun_path) - 1);
	r = snprintf(sa.sun_path, sizeof(sa.sun_path), "%.*s/.kvrail-%d", slash ? (int)(slash - l->path) : 1, slash ? l->path : ".",
		     (int)getpid());
	if (r < 0 || (size_t)r >= sizeof(sa.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: its folder's path is too long for a socket", l->path);
	l->source.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->source.fd < 0)
		return err_errno(e, -errno, "%s", l->path);
	unlink(sa.sun_path);
	r = bind(l->source.fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
	/* nobody can connect before listen(), and a umask would be other threads' too */
	if (r == 0 && (chmod(sa.sun_path, 0600) < 0 || listen(l->source.fd, 16) < 0 || stat(sa.sun_path, &st) < 0 || rename(sa.sun_path, l->path) < 0)) {
		r = -errno;
		unlink(sa.sun_path);
	}
	if (r < 0)
		return err_errno(e, r, "%s: cannot listen there", l->path);
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

int grpc_server_listen(struct grpc_server *s, const char *path, const struct grpc_method *methods, void *arg, struct err *e)
{
	struct listener *l = calloc(1, sizeof(*l));
	int r;

	if (!l || !(l->path = strdup(path))) {
		free(l);
		return err_errno(e, -ENOMEM, "%s", path);
	}
	l->source = (struct source){ SOURCE_LISTENER, -1 };
	l->methods = methods;
	l->arg = arg;
	pthread_mutex_lock(&s->lock);
	r = bind_at(l, e);
	if (r == 0) {
		l->next = s->listeners;
		s->listeners = l;
		watch(s, &l->source, EPOLL_CTL_ADD, EPOLLIN);
	}
	pthread_mutex_unlock(&s->lock);
	if (r < 0)
		listener_free(l);
	return r;
}

static struct listener *find(struct grpc_server *s, const char *path, bool also_gone)
{
	for (struct listener *l = s->listeners; l; l = l->next)
		if (!strcmp(l->path, path) && (also_gone || !l->gone))
			return l;
	return NULL;
}

void grpc_server_unlisten(struct grpc_server *s, const char *path)
{
	struct listener *l;

	pthread_mutex_lock(&s->lock);
	while ((l = find(s, path, false)))
		l->gone = true;
	wake(s);
	while (find(s, path, true) || s->handling)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

bool grpc_server_listens(struct grpc_server *s, const char *path)
{
	struct listener *l;
	struct stat st;
	bool yes;

	pthread_mutex_lock(&s->lock);
	l = find(s, path, false);
	yes = l && lstat(path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino;
	pthread_mutex_unlock(&s->lock);
	return yes;
}

int grpc_send(struct grpc_call *call, const void *msg, size_t len)
{
	struct grpc_server *s = call->owner;
	int r;

	pthread_mutex_lock(&s->lock);
	r = grpc_call_send(call, msg, len);
	pthread_mutex_unlock(&s->lock);
	if (r == 0)
		wake(s);
	return r;
}

void grpc_finish(struct grpc_call *call, enum grpc_status status, const char *message)
{
	struct grpc_server *s = call->owner;

	pthread_mutex_lock(&s->lock);
	grpc_call_end(call, status, message);
	grpc_call_unref(call);
	pthread_mutex_unlock(&s->lock);
	wake(s);
}

bool grpc_alive(struct grpc_call *call)
{
	struct grpc_server *s = call->owner;
	bool yes;

	pthread_mutex_lock(&s->lock);
	yes = call->conn && !call->end;
	pthread_mutex_unlock(&s->lock);
	return yes;
}
