/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>

#include "codec/doc.h"
#include "device/allocate.h"
#include "device/pairing.h"
#include "device/plugin.h"
#include "device/preferred.h"

#define HOLD_MS 5000
#define POLL_MS 5000
#define STACK (256u << 10) /* only what is touched is resident */
#define SHARES_MAX 10000

struct device_vf device_vf_copy(struct arena *a, const struct device_vf *vf)
{
	struct device_vf copy = *vf;

	copy.pci = arena_strdup(a, vf->pci);
	copy.pf_pci = arena_strdup(a, vf->pf_pci);
	copy.pf_netdev = arena_strdup(a, vf->pf_netdev);
	return copy;
}

void device_list_free(struct device_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].reason);
	arena_free(l->arena);
	*l = (struct device_list){ NULL };
}

struct resource *device_resource_free(struct resource *res)
{
	if (!res)
		return NULL;
	for (size_t i = 0; i < STREAMS_MAX; i++)
		if (res->streams[i])
			grpc_finish(res->streams[i], GRPC_CANCELLED, NULL);
	device_list_free(&res->list);
	free(res->prefix);
	free(res->name);
	free(res->full);
	free(res->socket);
	free(res->problem);
	free(res);
	return NULL;
}

static char *copy_of(const char *s, const char *dflt)
{
	char *p = strdup(s ? s : dflt);

	if (!p)
		abort();
	return p;
}

/* Of links in this namespace; without it, facts are polled. */
static int open_links(void)
{
	const struct sockaddr_nl sa = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void plugin_free(struct device_plugin *p)
{
	struct resource *next;

	for (struct resource *res = p->resources; res; res = next) {
		next = res->next;
		device_resource_free(res);
	}
	grpc_server_stop(p->server);
	if (p->wake >= 0)
		close(p->wake);
	if (p->inotify >= 0)
		close(p->inotify);
	if (p->links >= 0)
		close(p->links);
	arena_free(p->given_arena);
	pthread_mutex_destroy(&p->lock);
	free(p->kubelet_dir);
	free(p->pod_resources);
	free(p->info_dir);
	free(p->dev_dir);
	free(p->cdi_dir);
	free(p->env_dir);
	free(p);
}

int device_plugin_start(const struct device_options *o, struct device_plugin **ret, struct err *e)
{
	struct device_plugin *p = calloc(1, sizeof(*p));
	pthread_attr_t attr;
	int r;

	if (!p)
		return err_errno(e, -ENOMEM, "device plugin");
	p->o = *o;
	p->o.hold_ms = o->hold_ms ? o->hold_ms : HOLD_MS;
	p->o.poll_ms = o->poll_ms ? o->poll_ms : POLL_MS;
	p->kubelet_dir = copy_of(o->kubelet_dir, DEVICE_KUBELET_DIR);
	p->pod_resources = copy_of(o->pod_resources, DEVICE_POD_RESOURCES);
	p->info_dir = copy_of(o->info_dir, DEVICE_INFO_DIR);
	p->dev_dir = copy_of(o->dev_dir, "/dev");
	p->cdi_dir = o->cdi_dir ? copy_of(o->cdi_dir, "") : NULL;
	p->env_dir = !o->cdi_dir && o->env_dir ? copy_of(o->env_dir, "") : NULL;
	p->last_job = &p->jobs;
	p->watch = -1;
	pthread_mutex_init(&p->lock, NULL);
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	p->links = sysroot_is_live(o->root) ? open_links() : -1;
	r = p->wake < 0 ? err_errno(e, -errno, "device plugin") : grpc_server_start(&p->server, e);
	if (r == 0) {
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, STACK);
		r = -pthread_create(&p->worker, &attr, device_work, p);
		pthread_attr_destroy(&attr);
		if (r < 0)
			err_errno(e, r, "device plugin");
	}
	if (r < 0) {
		plugin_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

struct device_plugin *device_plugin_stop(struct device_plugin *p)
{
	struct job *next;

	if (!p)
		return NULL;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_mutex_unlock(&p->lock);
	device_wake(p);
	pthread_join(p->worker, NULL);
	for (struct resource *res = p->resources; res; res = res->next) {
		grpc_server_unlisten(p->server, res->socket);
		device_clean_info(p, res);
	}
	for (struct job *job = p->jobs; job; job = next) {
		next = job->next;
		grpc_finish(job->call, GRPC_UNAVAILABLE, "the device plugin is stopping");
		free(job->msg);
		free(job);
	}
	plugin_free(p);
	return NULL;
}

void device_plugin_poke(struct device_plugin *p)
{
	pthread_mutex_lock(&p->lock);
	p->look = true;
	pthread_mutex_unlock(&p->lock);
	device_wake(p);
}

/* A name as the kubelet takes it: letters, digits, '-', '_', '.', beginning and ending with letter or digit, at most 63. */
static bool is_name(const char *s, const char *extra)
{
	size_t n = strlen(s);

	if (n == 0 || n > 63 || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[n - 1]))
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr(extra, *s))
			return false;
	return true;
}

static int check(const struct device_plugin *p, const struct device_resource *all, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct device_resource *x = &all[i];

		if (!x->prefix || !*x->prefix)
			return err_set(e, -EINVAL, "resource %s has no prefix: the kubelet takes names of the form DOMAIN/NAME only; set RESOURCE_PREFIX, "
				       "such as openshift.io", x->name ? x->name : "");
		if (!is_name(x->prefix, "-."))
			return err_set(e, -EINVAL, "resource prefix \"%s\" is no domain name (letters, digits, '-' and '.', at most 63)", x->prefix);
		if (!x->name || !is_name(x->name, "-_."))
			return err_set(e, -EINVAL, "resource name \"%s\" is not taken by the kubelet: at most 63 letters, digits, '-', '_' and '.', "
				       "a letter or digit at both ends", x->name ? x->name : "");
		if (x->shares > SHARES_MAX)
			return err_set(e, -EINVAL, "resource %s/%s: %u shares are more than %u", x->prefix, x->name, x->shares, SHARES_MAX);
		if (strlen(p->kubelet_dir) + strlen(x->prefix) + strlen(x->name) + strlen("/_.sock") > 107)
			return err_set(e, -EINVAL, "resource %s/%s: its socket %s/%s_%s.sock would be longer than 107 bytes", x->prefix, x->name,
				       p->kubelet_dir, x->prefix, x->name);
		for (size_t j = 0; j < i; j++)
			if (!strcmp(all[j].prefix, x->prefix) && !strcmp(all[j].name, x->name))
				return err_set(e, -EINVAL, "resource %s/%s is given twice", x->prefix, x->name);
	}
	return 0;
}

static int by_pf(const void *x, const void *y)
{
	const struct device *a = x, *b = y;
	int r = pairing_by_address(a->vf.pf_pci, b->vf.pf_pci);

	return r ? r : (a->vf.index > b->vf.index) - (a->vf.index < b->vf.index);
}

/* The list as it is to be, by PF; facts are not read yet. */
static struct device_list list_of(const struct device_plugin *p, const struct device_resource *x)
{
	struct device_list l = { .arena = arena_new() };
	struct arena *a = l.arena;
	const char *pf = NULL, *upstream = NULL;

	l.n = x->shares ? x->shares : x->n_vfs;
	l.v = arena_alloc(a, l.n * sizeof(*l.v));
	for (size_t i = 0; i < l.n; i++) {
		struct device_vf *vf = &l.v[i].vf;

		if (x->shares) {
			*vf = (struct device_vf){ .pci = arena_printf(a, "%s-%zu", x->name, i), .numa = -1 };
			l.v[i].health = (struct health){ .known = true, .healthy = true };
			continue;
		}
		*vf = device_vf_copy(a, &x->vfs[i]);
		if (!vf->pf_pci)
			vf->pf_pci = "";
	}
	if (x->shares || !l.n)
		return l;
	qsort(l.v, l.n, sizeof(*l.v), by_pf);
	for (size_t i = 0; i < l.n; i++) {
		if (!pf || strcmp(pf, l.v[i].vf.pf_pci))
			upstream = preferred_upstream(p->o.root, a, l.v[i].vf.pf_pci);
		pf = l.v[i].vf.pf_pci;
		l.v[i].upstream = upstream;
	}
	return l;
}

/* What is known of devices that stay, stays. Both lists have the same order: each is looked for behind the one before. */
static void carry_over(struct device_list *to, struct device_list *from)
{
	size_t next = 0;

	for (size_t i = 0; i < to->n; i++)
		for (size_t k = 0; k < from->n; k++) {
			struct device *old = &from->v[(next + k) % from->n];

			if (strcmp(to->v[i].vf.pci, old->vf.pci))
				continue;
			to->v[i].health = old->health;
			to->v[i].held = old->held;
			to->v[i].served = old->served;
			to->v[i].reason = TAKE_PTR(old->reason);
			next = (next + k + 1) % from->n;
			break;
		}
}

static struct resource *find(struct device_plugin *p, const char *prefix, const char *name)
{
	struct resource *res = p->resources;

	while (res && (strcmp(res->prefix, prefix) || strcmp(res->name, name)))
		res = res->next;
	return res;
}

static struct resource *add(struct device_plugin *p, const struct device_resource *x)
{
	struct resource *res = calloc(1, sizeof(*res));

	if (!res || asprintf(&res->full, "%s/%s", x->prefix, x->name) < 0 ||
	    asprintf(&res->socket, "%s/%s_%s.sock", p->kubelet_dir, x->prefix, x->name) < 0)
		abort();
	res->plugin = p;
	res->prefix = copy_of(x->prefix, "");
	res->name = copy_of(x->name, "");
	res->next = p->resources;
	p->resources = res;
	return res;
}

int device_plugin_update(struct device_plugin *p, const struct device_resource *resources, size_t n, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct device_list *lists = arena_alloc(a, n * sizeof(*lists));
	int r = check(p, resources, n, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) /* reads sysfs: before the lock */
		lists[i] = list_of(p, &resources[i]);
	pthread_mutex_lock(&p->lock);
	for (struct resource *res = p->resources; res; res = res->next)
		res->leaving = true;
	for (size_t i = 0; i < n; i++) {
		const struct device_resource *x = &resources[i];
		struct resource *res = find(p, x->prefix, x->name);

		if (!res)
			res = add(p, x);
		res->leaving = false;
		res->vhost_net = x->vhost_net;
		res->exclude_topology = x->exclude_topology;
		res->shares = x->shares;
		if (!x->shares)
			carry_over(&lists[i], &res->list);
		device_list_free(&res->list);
		res->list = lists[i];
	}
	p->look = true;
	pthread_mutex_unlock(&p->lock);
	device_wake(p);
	return 0;
}

static yyjson_mut_val *resource_json(const struct resource *res, yyjson_mut_doc *doc)
{
	yyjson_mut_val *v = yyjson_mut_obj(doc), *list = NULL;
	size_t healthy = 0;

	yyjson_mut_obj_add_strcpy(doc, v, "resource", res->full);
	yyjson_mut_obj_add_bool(doc, v, "registered", res->registered);
	if (res->problem)
		yyjson_mut_obj_add_strcpy(doc, v, "problem", res->problem);
	for (size_t i = 0; i < res->list.n; i++)
		healthy += res->list.v[i].health.healthy;
	yyjson_mut_obj_add_uint(doc, v, "total", res->list.n);
	yyjson_mut_obj_add_uint(doc, v, "healthy", healthy);
	yyjson_mut_obj_add_uint(doc, v, "allocations", res->allocations);
	if (!res->shares)
		list = yyjson_mut_obj_add_arr(doc, v, "devices");
	for (size_t i = 0; list && i < res->list.n; i++) {
		yyjson_mut_val *d = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_strcpy(doc, d, "pci", res->list.v[i].vf.pci);
		yyjson_mut_obj_add_bool(doc, d, "healthy", res->list.v[i].health.healthy);
		if (res->list.v[i].reason)
			yyjson_mut_obj_add_strcpy(doc, d, "reason", res->list.v[i].reason);
	}
	return v;
}

yyjson_mut_val *device_plugin_json(struct device_plugin *p, yyjson_mut_doc *doc)
{
	yyjson_mut_val *all = yyjson_mut_arr(doc);

	pthread_mutex_lock(&p->lock);
	for (struct resource *res = p->resources; res; res = res->next)
		if (!res->leaving)
			yyjson_mut_arr_append(all, resource_json(res, doc));
	pthread_mutex_unlock(&p->lock);
	return all;
}
