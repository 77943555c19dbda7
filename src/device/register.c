/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Being known to the kubelet. When it starts it removes all sockets of its folder, then makes kubelet.sock: both are seen by inotify, and,
 * should events be lost, by looking at the files on each round. It matters how soon: a pod whose containers do not run yet is admitted
 * again by a kubelet that starts, which refuses it for good while nobody has registered its devices (kubernetes/kubernetes#109595).
 */
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "device/message.h"
#include "device/plugin.h"
#include "deviceplugin.pb-c.h"

#define REGISTER_MS 5000
#define RETRY_MIN_MS 5 /* between its bind() and its listen() */
#define RETRY_MAX_MS 5000
#define DOUBLINGS 10
#define PATIENCE 14 /* failures, in 25 s: a restart of the kubelet is over by then */
#define WATCH_MS 2000 /* from the registration to the kubelet's stream, doubled each time that none came */
#define WATCH_DOUBLINGS 5
#define SETTLE_MS 20

void device_folder_open(struct device_plugin *p)
{
	if (p->inotify >= 0 && p->watch < 0)
		p->watch = inotify_add_watch(p->inotify, p->kubelet_dir, IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR);
}

void device_folder_read(struct device_plugin *p)
{
	_Alignas(struct inotify_event) char buf[2048];
	ssize_t n;

	while ((n = read(p->inotify, buf, sizeof(buf))) > 0)
		for (char *at = buf; at < buf + n;) {
			const struct inotify_event *ev = (const void *)at;

			if (ev->mask & IN_IGNORED)
				p->watch = -1;
			at += sizeof(*ev) + ev->len;
		}
}

/* The kubelet started anew: it knows of nothing. Lock held. */
static void forget(struct device_plugin *p)
{
	for (struct resource *res = p->resources; res; res = res->next) {
		res->registered = false;
		res->retry_at = 0;
		res->failures = 0;
	}
}

static char *kubelet_socket(const struct device_plugin *p, struct arena *a)
{
	return arena_printf(a, "%s/kubelet.sock", p->kubelet_dir);
}

/*
 * Whether its socket is another than at the last call; a new file often has the number of the one that was removed. A kubelet must not be
 * told twice: it takes the end of the first stream for the end of the second, too.
 */
static bool kubelet_is_new(struct device_plugin *p, struct arena *a)
{
	const struct device_socket was = p->kubelet;
	struct stat st;

	p->kubelet = (struct device_socket){ 0 };
	if (stat(kubelet_socket(p, a), &st) == 0)
		p->kubelet = (struct device_socket){ .ino = st.st_ino, .since = st.st_ctim };
	return was.ino != p->kubelet.ino || was.since.tv_sec != p->kubelet.since.tv_sec || was.since.tv_nsec != p->kubelet.since.tv_nsec;
}

static int tell(struct device_plugin *p, struct arena *a, const struct resource *res, struct err *e)
{
	Dp__RegisterRequest rq = DP__REGISTER_REQUEST__INIT;
	Dp__Options o = DP__OPTIONS__INIT;
	size_t len;
	void *msg;

	o.get_preferred_allocation_available = res->shares == 0;
	rq.version = (char *)"v1beta1";
	rq.endpoint = strrchr(res->socket, '/') + 1;
	rq.resource_name = res->full;
	rq.options = &o;
	msg = message_pack(a, &rq, &len);
	return grpc_unary(kubelet_socket(p, a), "/v1beta1.Registration/Register", msg, len, REGISTER_MS, 4096, a, &msg, &len, NULL, e);
}

/* Lock held. */
static bool is_watched(const struct resource *res)
{
	for (size_t i = 0; i < STREAMS_MAX; i++)
		if (res->streams[i] && grpc_alive(res->streams[i]))
			return true;
	return false;
}

/*
 * A kubelet that sees a stream end disconnects whoever has the resource's name by then, which may be who registered a moment ago, and calls
 * its devices unhealthy without a word to it (v1.34, runClient()). So a registration counts while there is a stream. *at: when to look again,
 * if earlier.
 */
static void check_watched(struct device_plugin *p, struct resource *res, uint64_t *at)
{
	const uint64_t patience = (WATCH_MS * 1000000ull) << (res->unwatched < WATCH_DOUBLINGS ? res->unwatched : WATCH_DOUBLINGS);
	const uint64_t now = clock_ns();

	pthread_mutex_lock(&p->lock);
	if (res->registered && is_watched(res)) {
		res->watched_at = now;
		res->unwatched = 0;
	} else if (res->registered && now - res->watched_at >= patience) {
		res->registered = false;
		res->retry_at = 0;
		res->unwatched++;
	} else if (res->registered && (!*at || res->watched_at + patience < *at)) {
		*at = res->watched_at + patience;
	}
	pthread_mutex_unlock(&p->lock);
}

/* A socket that listens; the kubelet has seen the end of the last one's streams. */
static int listen_at(struct device_plugin *p, struct resource *res, struct err *e)
{
	bool watched;
	int r;

	if (grpc_server_listens(p->server, res->socket))
		return 0;
	pthread_mutex_lock(&p->lock);
	watched = is_watched(res);
	pthread_mutex_unlock(&p->lock);
	grpc_server_unlisten(p->server, res->socket);
	r = grpc_server_listen(p->server, res->socket, device_methods, res, e);
	if (watched)
		clock_sleep_ms(SETTLE_MS);
	return r;
}

/* What came of it, for device_plugin_json(). */
static void outcome(struct device_plugin *p, struct resource *res, bool registered, const char *problem)
{
	pthread_mutex_lock(&p->lock);
	res->registered = registered;
	free(res->problem);
	res->problem = problem ? strdup(problem) : NULL;
	pthread_mutex_unlock(&p->lock);
}

/* Socket and registration of one resource. */
static bool one(struct device_plugin *p, struct arena *a, struct resource *res)
{
	struct err e = { 0 };
	int r;

	if (!res->cleaned)
		device_clean_info(p, res);
	res->cleaned = true;
	r = listen_at(p, res, &e);
	if (r == 0)
		r = tell(p, a, res, &e);
	outcome(p, res, r == 0, r < 0 ? e.msg : NULL);
	if (r == 0) {
		res->failures = 0;
		res->watched_at = clock_ns();
		device_say(p, false, "%s: registered with the kubelet", res->full);
		return true;
	}
	if (res->failures == PATIENCE)
		device_say(p, true, "%s: not registered with the kubelet, it is tried again: %s", res->full, e.msg);
	res->retry_at = clock_ns() + (res->failures < DOUBLINGS ? RETRY_MIN_MS << res->failures : RETRY_MAX_MS) * 1000000ull;
	res->failures++;
	return false;
}

/* The streams have the empty list; nobody can come any more, then it is freed. */
static void take_down(struct device_plugin *p, struct resource *res)
{
	grpc_server_unlisten(p->server, res->socket);
	device_clean_info(p, res);
	device_say(p, false, "%s: no longer offered", res->full);
	device_resource_free(res);
}

/* The next one that leaves, out of the list; jobs of it are answered first. */
static struct resource *leaving(struct device_plugin *p)
{
	struct resource *res = NULL;

	pthread_mutex_lock(&p->lock);
	for (struct resource **at = &p->resources; *at && !p->jobs; at = &(*at)->next)
		if ((*at)->leaving) {
			res = *at;
			device_push(res);
			*at = res->next;
			break;
		}
	pthread_mutex_unlock(&p->lock);
	return res;
}

/* Whether the resource is to be offered, lock not held. */
static bool wanted(struct device_plugin *p, const struct resource *res)
{
	bool yes;

	pthread_mutex_lock(&p->lock);
	yes = res->judged && !res->leaving;
	pthread_mutex_unlock(&p->lock);
	return yes;
}

bool device_register(struct device_plugin *p, uint64_t *ret_at)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct resource *res;
	bool any = false, anew;

	device_folder_open(p);
	anew = kubelet_is_new(p, a);
	while ((res = leaving(p)))
		take_down(p, res);
	pthread_mutex_lock(&p->lock);
	if (anew)
		forget(p);
	res = p->resources;
	pthread_mutex_unlock(&p->lock);
	*ret_at = 0;
	for (; res; res = res->next) { /* new ones come in front, only this thread takes any out */
		if (!wanted(p, res))
			continue;
		check_watched(p, res, ret_at);
		if (res->registered && grpc_server_listens(p->server, res->socket))
			continue;
		if (res->retry_at <= clock_ns())
			any |= one(p, a, res);
		if (!res->registered && (!*ret_at || res->retry_at < *ret_at))
			*ret_at = res->retry_at;
	}
	return any;
}
