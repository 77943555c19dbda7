/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Being known to the kubelet. When it starts it removes all sockets of its folder, then makes kubelet.sock: both are seen by inotify, and,
 * should events be lost, by looking at the files on each round.
 */
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "device/message.h"
#include "device/plugin.h"
#include "deviceplugin.pb-c.h"

#define REGISTER_MS 5000
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 5000

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

static ino_t kubelet_ino(struct device_plugin *p, struct arena *a)
{
	struct stat st;

	return stat(arena_printf(a, "%s/kubelet.sock", p->kubelet_dir), &st) == 0 ? st.st_ino : 0;
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
	return grpc_unary(arena_printf(a, "%s/kubelet.sock", p->kubelet_dir), "/v1beta1.Registration/Register", msg, len, REGISTER_MS, 4096, a, &msg,
			  &len, NULL, e);
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
	int r = 0;

	if (!res->cleaned)
		device_clean_info(p, res);
	res->cleaned = true;
	if (!grpc_server_listens(p->server, res->socket)) {
		grpc_server_unlisten(p->server, res->socket);
		r = grpc_server_listen(p->server, res->socket, device_methods, res, &e);
	}
	if (r == 0)
		r = tell(p, a, res, &e);
	outcome(p, res, r == 0, r < 0 ? e.msg : NULL);
	if (r == 0) {
		res->failures = 0;
		device_say(p, false, "%s: registered with the kubelet", res->full);
		return true;
	}
	if (res->failures++ == 10) /* a restart of the kubelet is over by then */
		device_say(p, true, "%s: not registered with the kubelet, it is tried again: %s", res->full, e.msg);
	res->retry_at = clock_ns() + (res->failures < 6 ? RETRY_MIN_MS << res->failures : RETRY_MAX_MS) * 1000000ull;
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
	ino_t now = kubelet_ino(p, a);
	bool any = false;

	device_folder_open(p);
	while ((res = leaving(p)))
		take_down(p, res);
	pthread_mutex_lock(&p->lock);
	if (now != p->kubelet_ino)
		forget(p);
	p->kubelet_ino = now;
	res = p->resources;
	pthread_mutex_unlock(&p->lock);
	*ret_at = 0;
	for (; res; res = res->next) { /* new ones come in front, only this thread takes any out */
		if (!wanted(p, res) || (res->registered && grpc_server_listens(p->server, res->socket)))
			continue;
		if (res->retry_at <= clock_ns())
			any |= one(p, a, res);
		if (!res->registered && (!*ret_at || res->retry_at < *ret_at))
			*ret_at = res->retry_at;
	}
	return any;
}
