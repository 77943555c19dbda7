/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>

#include "attach/inject.h"
#include "attach/vf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "fabric/env.h"

#define SPEC_MAX (4u << 20)
#define OURS "kvrail-" /* begins the name of each specification of ours */

static const struct attachment_rail *rail_of(const struct attachment *at, const char *device)
{
	for (size_t i = 0; i < at->n_rails; i++)
		if (!strcmp(attachment_device(&at->rails[i]), device))
			return &at->rails[i];
	return NULL;
}

static const struct attach_container *container_of(const struct inject *in, const char *name)
{
	for (size_t i = 0; in->pod && i < in->pod->n_containers; i++)
		if (!strcmp(in->pod->containers[i].name, name))
			return &in->pod->containers[i];
	return NULL;
}

/* Did the pod ask for no environment in this container? */
static bool is_off(const struct inject *in, const char *container)
{
	const char *text = in->pod ? pairs_get(in->pod->annotations, in->pod->n_annotations, INJECT_ENV_ANNOTATION) : NULL;
	size_t len = strlen(container);

	if (!text)
		return false;
	if (!strcmp(text, "off"))
		return true;
	for (const char *s = text; *s; s += *s == ',') {
		size_t n;

		s += strspn(s, " \t");
		n = strcspn(s, ", \t");
		if (n == len && !memcmp(s, container, n))
			return true;
		s += strcspn(s, ",");
	}
	return false;
}

/* Without @rdma, the container has the network only. */
static struct env_rail env_rail(const struct attachment_rail *r, bool rdma)
{
	return (struct env_rail){ .ifname = r->ifname, .rdma = rdma ? r->rdma : NULL, .port = r->port ? (unsigned)r->port : 1, .addresses = r->addresses,
				  .n_addresses = r->n_addresses, .gid_index = rdma && r->gid ? (int)r->gid->index : -1, .soft = rdma && r->soft,
				  .driver = r->driver, .link_layer = r->link_layer, .active_mtu = (unsigned)r->active_mtu };
}

/* What @container must be told of the rails whose devices it has; every variable with its reason. */
static int vars_of(struct arena *a, const struct inject *in, const char *container, struct env_var **ret, size_t *ret_n, struct err *e)
{
	const struct attach_container *c = container_of(in, container);
	struct env_rail *rails = NULL;
	struct env_pod env = { .pod_ip = in->pod_ip, .gpu = c ? c->gpu : in->pod && in->pod->gpu };

	for (size_t i = 0; i < in->n_devices; i++) {
		const struct attachment_rail *r = rail_of(in->at, in->devices[i].id);

		if (r && vf_has_netdev(r) && !strcmp(in->devices[i].container, container))
			*(struct env_rail *)arena_push(a, &rails, &env.n_rails, sizeof(*rails)) = env_rail(r, in->devices[i].rdma);
	}
	env.rails = rails;
	*ret_n = 0;
	return env.n_rails ? env_make(a, &env, ret, ret_n, e) : 0;
}

/* What to set it to, or NULL. */
static const char *value_of(const struct env_var *v)
{
	return v->value ? v->value : env_same_as_unset(v->name);
}

static bool sets_itself(const struct attach_container *c, const char *name)
{
	for (size_t i = 0; c && i < c->n_env; i++)
		if (!strcmp(c->env[i], name))
			return true;
	return false;
}

/* A container's environment goes with the first of its devices: it gets all of them or is not created. */
static bool is_first(const struct inject *in, size_t device)
{
	for (size_t i = 0; i < device; i++)
		if (!strcmp(in->devices[i].container, in->devices[device].container))
			return false;
	return true;
}

static int fill_env(struct arena *a, const struct inject *in, size_t device, struct cdi_device *dev, struct err *e)
{
	const char *container = in->devices[device].container;
	const struct attach_container *c = container_of(in, container);
	struct env_var *vars;
	size_t n;
	int r;

	if (!is_first(in, device) || is_off(in, container))
		return 0;
	r = vars_of(a, in, container, &vars, &n, e);
	if (r < 0)
		return err_wrap(e, r, "environment of container %s", container);
	for (size_t i = 0; i < n; i++)
		if (value_of(&vars[i]) && !sets_itself(c, vars[i].name))
			*(const char **)arena_push(a, &dev->env, &dev->n_env, sizeof(*dev->env)) =
				arena_printf(a, "%s=%s", vars[i].name, value_of(&vars[i]));
	return 0;
}

int inject_cdi_text(struct arena *a, const struct inject *in, char **ret, struct err *e)
{
	static const char *const hook_args[] = { "memlock", NULL };
	struct cdi_device *devices = arena_alloc(a, in->n_devices * sizeof(*devices));
	const struct cdi_spec spec = { .devices = devices, .n_devices = in->n_devices, .hook = in->hook, .hook_args = hook_args };

	for (size_t i = 0; i < in->n_devices; i++) {
		const struct attachment_rail *rail = rail_of(in->at, in->devices[i].id);
		struct chardev *nodes = NULL;
		int r;

		devices[i].name = in->devices[i].id;
		if (rail && rail->rdma && in->devices[i].rdma)
			chardev_list(in->root, a, rail->rdma, &nodes, &devices[i].n_nodes);
		devices[i].nodes = nodes;
		r = fill_env(a, in, i, &devices[i], e);
		if (r < 0)
			return r;
	}
	*ret = cdi_render(a, &spec);
	return 0;
}

int inject_env_text(struct arena *a, const struct inject *in, size_t device, char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	const char *container = in->devices[device].container;
	struct env_var *vars;
	size_t n;
	int r = vars_of(a, in, container, &vars, &n, e);

	if (r < 0)
		return err_wrap(e, r, "environment of container %s", container);
	strbuf_addstr(&b, "# For a shell, before the engine starts:  . THIS_FILE\n# What the container sets itself stays.\n");
	for (size_t i = 0; i < n && !is_off(in, container); i++) {
		if (!value_of(&vars[i]))
			continue;
		strbuf_addf(&b, "# %s: %s\n: \"${%s:=", vars[i].library, vars[i].why, vars[i].name);
		for (const char *s = value_of(&vars[i]); *s; s++) {
			if (strchr("\\\"$`}", *s))
				strbuf_addch(&b, '\\');
			strbuf_addch(&b, *s);
		}
		strbuf_addf(&b, "}\"; export %s\n", vars[i].name);
	}
	*ret = arena_strdup(a, b.s);
	return 0;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static char *dir_of(struct arena *a, const char *path)
{
	return arena_strndup(a, path, (size_t)(base_of(path) - path));
}

/* Is it a specification of ours, or what a write left that did not come to its end, and names one of the devices? */
static bool is_stale(int fd, const char *name, const struct attachment *at)
{
	_cleanup_free_ char *text = NULL;
	const char *own = base_of(at->cdi_file);
	size_t n = strlen(name), len;

	if (strncmp(name, OURS, strlen(OURS)) || !strcmp(name, own))
		return false;
	if (!strncmp(name, own, strlen(own)) && n > 4 && !strcmp(name + n - 4, ".tmp"))
		return true;
	if (n < 5 || strcmp(name + n - 5, ".json") || file_read(fd, name, SPEC_MAX, &text, &len) < 0)
		return false;
	return cdi_names(text, len, at->devices, at->n_devices);
}

static int remove_stale(const struct attachment *at, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *dir = dir_of(a, at->cdi_file);
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		int r = is_stale(dirfd(d), entry->d_name, at) ? file_unlink(dirfd(d), entry->d_name) : 0;

		if (r < 0)
			return err_errno(e, r, "%s%s", dir, entry->d_name);
	}
	return 0;
}

static int write_cdi(struct arena *a, const struct inject *in, struct err *e)
{
	const char *path = in->at->cdi_file;
	char *text;
	int r = inject_cdi_text(a, in, &text, e);

	if (r < 0)
		return r;
	r = file_mkdirs(arena_strndup(a, path, (size_t)(base_of(path) - path) - 1), 0755);
	if (r == 0)
		r = remove_stale(in->at, e);
	if (r == 0)
		r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644);
	return r < 0 ? err_errno(e, r, "%s", path) : 0;
}

static char *env_path(struct arena *a, const struct attachment *at, const char *device)
{
	return arena_printf(a, "%s/%s.env", at->env_dir, device);
}

static int write_env(struct arena *a, const struct inject *in, struct err *e)
{
	int r = file_mkdirs(in->at->env_dir, 0755);

	for (size_t i = 0; r == 0 && i < in->n_devices; i++) {
		char *text;

		r = inject_env_text(a, in, i, &text, e);
		if (r < 0)
			return r;
		r = file_write_atomic(AT_FDCWD, env_path(a, in->at, in->devices[i].id), text, strlen(text), 0644);
	}
	return r < 0 ? err_errno(e, r, "%s", in->at->env_dir) : 0;
}

int inject_write(const struct inject *in, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();

	if (in->at->cdi_file)
		return write_cdi(a, in, e);
	return in->at->env_dir ? write_env(a, in, e) : 0;
}

int inject_remove(const struct attachment *at, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	int r = 0;

	if (at->cdi_file) {
		struct attachment own = { .cdi_file = at->cdi_file };

		r = file_unlink(AT_FDCWD, at->cdi_file);
		if (r == -ENOENT || r == -ENOTDIR)
			r = 0;
		if (r < 0)
			return err_errno(e, r, "%s", at->cdi_file);
		return remove_stale(&own, e); /* what a write that was cut short left */
	}
	for (size_t i = 0; at->env_dir && i < at->n_devices && r == 0; i++)
		r = file_unlink(AT_FDCWD, env_path(a, at, at->devices[i]));
	return r < 0 ? err_errno(e, r, "%s", at->env_dir) : 0;
}
