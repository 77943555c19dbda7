/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/parse.h"
#include "base/strbuf.h"
#include "cmd/pod.h"
#include "linux/pci.h"

/* Names of pods, each once. */
struct names {
	const char **full, **bare; /* "llm-test/prefill-0", "prefill-0" */
	size_t n, n_bare;
};

static const char *pod_str(yyjson_val *attachment, const char *key)
{
	const char *s = doc_str(yyjson_obj_get(attachment, "pod"), key);

	return s ? s : "";
}

/* A sandbox that was attached without a pod's name goes by its container id. */
static const char *bare_name(yyjson_val *attachment)
{
	const char *name = pod_str(attachment, "name"), *container = doc_str(attachment, "container");

	return *name || !container ? name : container;
}

static const char *full_name(struct arena *a, yyjson_val *attachment)
{
	return arena_printf(a, "%s/%s", pod_str(attachment, "namespace"), bare_name(attachment));
}

static bool known(const struct names *names, const char *full)
{
	for (size_t i = 0; i < names->n; i++)
		if (!strcmp(names->full[i], full))
			return true;
	return false;
}

static struct names all_names(struct arena *a, yyjson_val *attachments)
{
	struct names names = { NULL };
	yyjson_val *at;
	size_t i, max;

	yyjson_arr_foreach(attachments, i, max, at) {
		const char *full = full_name(a, at);

		/* in a cluster every pod is attached, most of them to the default network alone */
		if (!yyjson_arr_size(yyjson_obj_get(at, "rails")) || known(&names, full))
			continue;
		*(const char **)arena_push(a, &names.full, &names.n, sizeof(char *)) = full;
		*(const char **)arena_push(a, &names.bare, &names.n_bare, sizeof(char *)) = strchr(full, '/') + 1;
	}
	return names;
}

static const char *list(struct arena *a, const char **words, size_t n)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	const size_t few = 10;

	for (size_t i = 0; i < n && i < few; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", words[i]);
	if (n > few)
		strbuf_addf(&b, " and %zu more", n - few);
	return arena_strdup(a, b.s ? b.s : "");
}

static int unknown(struct arena *a, struct names *names, const char *name, struct err *e)
{
	const char **words = strchr(name, '/') ? names->full : names->bare;
	const char *near;

	if (names->n == 0)
		return err_set(e, -ENOENT, "no pod %s: no pod on this node has a rail", name);
	*(const char **)arena_push(a, &words, &(size_t){ names->n }, sizeof(char *)) = NULL;
	near = parse_nearest(name, words);
	if (near)
		return err_set(e, -ENOENT, "no pod %s with rails on this node, did you mean %s?", name, near);
	return err_set(e, -ENOENT, "no pod %s with rails on this node; there are: %s", name, list(a, names->full, names->n));
}

/* @name as "NAMESPACE/NAME" among @names. */
static int resolve(struct arena *a, struct names *names, const char *name, const char **ret, struct err *e)
{
	const char **found = NULL;
	size_t n = 0;

	for (size_t i = 0; i < names->n; i++)
		if (!strcmp(name, names->full[i]) || !strcmp(name, names->bare[i]))
			*(const char **)arena_push(a, &found, &n, sizeof(char *)) = names->full[i];
	if (n > 1)
		return err_set(e, -ENOTUNIQ, "pod %s is in several namespaces, say which: %s", name, list(a, found, n));
	if (n == 0)
		return unknown(a, names, name, e);
	*ret = found[0];
	return 0;
}

static void read_rail(struct arena *a, yyjson_val *v, struct pod_rail *r)
{
	yyjson_val *addresses = yyjson_obj_get(v, "addresses"), *address;
	size_t i, max;

	r->network = doc_str(v, "network");
	r->ifname = doc_str(v, "ifname");
	r->vf = doc_str(v, "vf");
	r->rdma = doc_str(v, "rdma");
	r->driver = doc_str(v, "driver"); /* of the VF: a vendor's RDMA driver goes with its own */
	r->link_layer = doc_str(v, "linkLayer");
	r->port = (unsigned)doc_int(v, "port", 1);
	r->mtu = (unsigned)doc_int(v, "mtu", 0);
	r->active_mtu = (unsigned)doc_int(v, "activeMtu", 0);
	r->gid_index = (int)doc_int(yyjson_obj_get(v, "gid"), "index", -1);
	r->soft = doc_bool(v, "soft", false);
	yyjson_arr_foreach(addresses, i, max, address)
		if (yyjson_is_str(address))
			*(const char **)arena_push(a, &r->addresses, &r->n_addresses, sizeof(char *)) = yyjson_get_str(address);
}

/* The pod's address on its default network, NULL where kvrail knows of none. */
static const char *default_address(struct arena *a, yyjson_val *attachment)
{
	yyjson_val *d;
	size_t i, max;

	yyjson_arr_foreach(yyjson_obj_get(attachment, "delegates"), i, max, d) {
		const char *address = yyjson_get_str(yyjson_arr_get_first(yyjson_obj_get(d, "addresses")));

		if (address && doc_bool(d, "master", false))
			return arena_strndup(a, address, strcspn(address, "/"));
	}
	return NULL;
}

int pod_from_status(struct arena *a, yyjson_val *status, const char *name, struct pod *ret, struct err *e)
{
	yyjson_val *attachments = yyjson_obj_get(status, "attachments"), *at, *rail;
	struct names names = all_names(a, attachments);
	struct pod pod = { NULL };
	const char *full = NULL;
	size_t i, j, max, max_rails;
	int rc = resolve(a, &names, name, &full, e);

	if (rc < 0)
		return rc;
	yyjson_arr_foreach(attachments, i, max, at) {
		if (strcmp(full_name(a, at), full) != 0)
			continue;
		pod.ns = pod_str(at, "namespace");
		pod.name = bare_name(at);
		pod.netns = doc_str(at, "netns");
		pod.ip = pod.ip ? pod.ip : default_address(a, at);
		yyjson_arr_foreach(yyjson_obj_get(at, "rails"), j, max_rails, rail)
			if (doc_str(rail, "ifname"))
				read_rail(a, rail, arena_push(a, &pod.rails, &pod.n_rails, sizeof(*pod.rails)));
	}
	*ret = pod;
	return 0;
}

static void leave_out_without_interface(struct pod *pod)
{
	size_t n = 0;

	for (size_t i = 0; i < pod->n_rails; i++) {
		const struct pod_rail *r = &pod->rails[i];

		if (!pci_is_user_space_driver(r->driver))
			pod->rails[n++] = *r;
		else
			fprintf(stderr, "kvrail: %s/%s: %s is left out: VF %s is bound to %s, a device without interface and RDMA for a program of the pod to drive\n",
				pod->ns, pod->name, r->ifname, r->vf ? r->vf : "", r->driver);
	}
	pod->n_rails = n;
}

int pod_find(struct cmd_run *run, const char *name, struct pod *ret, struct err *e)
{
	yyjson_val *status;
	int rc = cmd_agent(run, "GET", "/kvrail/status", NULL, &status, e);

	if (rc == 0)
		rc = pod_from_status(run->arena, status, name, ret, e);
	if (rc == 0)
		leave_out_without_interface(ret);
	return rc;
}
