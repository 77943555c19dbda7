/* SPDX-License-Identifier: Apache-2.0 */
/* DEL, CHECK, STATUS and GC of what other makers' plugins made. */
#include <fcntl.h>
#include <string.h>

#include "attach/cache.h"
#include "attach/engine.h"
#include "attach/inject.h"
#include "base/file.h"
#include "base/log.h"
#include "base/strbuf.h"

static void failed(struct strbuf *failures, const char *what, const struct cni_failure *f)
{
	strbuf_addf(failures, "%s%s: %s%s%s", failures->len ? "; " : "", what, f->e.msg, f->details ? "; " : "", f->details ? f->details : "");
}

int meta_delegate(struct attach_engine *en, struct arena *a, const struct attachment *at, const struct attachment_delegate *rec, const char *netns,
		  void *caller, struct delegate *ret, struct err *e)
{
	const struct attach_cluster *cluster = en->host.cluster;
	int r = delegate_parse(a, rec->network ? rec->network : rec->ifname, rec->conf, rec->runtime, ret, e);

	if (r < 0)
		return r;
	ret->cni_dir = at->cni_dir ? at->cni_dir : "";
	ret->call = (struct plugin_call){ .container = at->container, .netns = netns, .ifname = rec->ifname, .args = rec->args,
					  .dirs = at->plugin_dirs ? at->plugin_dirs : "",
					  .timeout_ms = cluster ? cluster->delegate_timeout_ms : 0, .cluster = cluster, .caller = caller };
	return 0;
}

void meta_undo_delegate(struct attach_engine *en, const struct attachment *at, size_t i, const char *netns, void *caller, struct strbuf *failures)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct attachment_delegate *rec = &at->delegates[i];
	struct cni_failure f = { 0 };
	struct delegate d;

	if (meta_delegate(en, a, at, rec, netns, caller, &d, &f.e) == 0 && delegate_del(a, &d, &f) == 0)
		return;
	/* an ADD whose plugin is not there has executed nothing */
	if (f.e.code != -ENOENT || strcmp(at->state, ATTACHMENT_ADDING))
		failed(failures, arena_printf(a, "%s (network %s)", rec->ifname, rec->network), &f);
}

void meta_undo_files(const struct attachment *at, struct strbuf *failures)
{
	struct cni_failure f = { 0 };

	if (inject_remove(at, &f.e) < 0)
		failed(failures, at->cdi_file ? at->cdi_file : at->env_dir, &f);
}

/* A pod that Multus started, by what it noted. */
static int del_scratch(struct attach_engine *en, struct arena *a, const struct request *rq, const struct meta_conf *mc, const char *dirs,
		       const struct scratch_delegate *list, size_t n, struct strbuf *failures)
{
	struct attachment at = { .container = rq->container, .cni_dir = mc->cni_dir, .plugin_dirs = dirs };

	for (size_t i = n; i-- > 0;) {
		const struct annotation_item item = { .mac = list[i].mac, .ips = list[i].ips, .n_ips = list[i].n_ips, .guid = list[i].guid,
						      .device_id = list[i].device_id };
		const struct attach_pod pod = { 0 };
		struct attachment_delegate rec = { .network = arena_printf(a, "number %zu of Multus' notes", i),
						   .conf = arena_strndup(a, list[i].conf, list[i].conf_len) };
		yyjson_mut_doc *doc = doc_new(a);
		yyjson_mut_val *runtime = yyjson_mut_obj(doc);
		struct cni_failure f = { 0 };
		struct delegate d;
		int r;

		rec.ifname = list[i].ifname ? list[i].ifname : i == 0 ? rq->ifname : arena_printf(a, "net%zu", i);
		rec.args = nets_args(a, rq->args, rq->pod_name ? &pod : NULL, &item);
		if (i)
			annotation_runtime_conf(doc, &item, runtime);
		rec.runtime = doc_mut_to_json(a, runtime, false);
		r = meta_delegate(en, a, &at, &rec, rq->netns, rq->caller, &d, &f.e);
		/*
		 * The plugin that moved a VF knows its name and settings. Where it is gone by now, or fails, the VF comes back with the
		 * namespace's end; its address was given back already.
		 */
		if (r == 0 && rail_is_type(netconf_type(&d.conf, 0))) {
			if (delegate_del(a, &d, &f))
				log_info("DEL %s %s: %s: its VF returns with the pod's namespace", rq->container, rec.ifname, f.e.msg);
			continue;
		}
		if (r < 0 || delegate_del(a, &d, &f))
			failed(failures, rec.ifname, &f);
	}
	return 0;
}

/* The folders where plugins are looked for, as Multus orders them. */
static const char *plugin_dirs(struct arena *a, const struct meta_conf *mc, const char *path)
{
	return *path ? arena_printf(a, "%s:%s", mc->bin_dir, path) : mc->bin_dir;
}

static int del_default(struct attach_engine *en, struct arena *a, const struct request *rq, const struct meta_conf *mc, const char *dirs,
		       struct strbuf *failures)
{
	struct attachment at = { .container = rq->container, .cni_dir = mc->cni_dir, .plugin_dirs = dirs };
	const struct attach_pod pod = { .namespace = rq->pod_namespace ? rq->pod_namespace : "" };
	struct cni_failure f = { 0 };
	struct net *nets;
	size_t n;
	int r = nets_of_pod(a, &en->host, mc, rq->ifname, NULL, &nets, &n, &f.e);

	if (r == 0)
		r = nets_finish(a, nets, n, rq->pod_name ? &pod : NULL, rq->args, mc->runtime, NULL, &f.e);
	for (size_t i = n; r == 0 && i-- > 0;) {
		struct attachment_delegate rec = { .network = nets[i].network, .ifname = nets[i].ifname, .conf = nets[i].text,
						   .runtime = nets[i].runtime, .args = nets[i].args };
		struct delegate d;

		if (nets[i].ours)
			continue;
		r = meta_delegate(en, a, &at, &rec, rq->netns, rq->caller, &d, &f.e);
		if (r == 0 && delegate_del(a, &d, &f))
			r = -EIO;
	}
	if (r < 0)
		failed(failures, "default network", &f);
	return 0;
}

/* All that the container holds. With the API server away the pool's entry stays until its reconciliation sees that the pod is gone. */
static int release_all(struct attach_engine *en, const struct request *rq, struct cni_failure *f)
{
	int r = ipam_release(en->host.ipam, rq->container, NULL, 0, &f->e);

	if (r == -EHOSTUNREACH) {
		log_warn("DEL %s, of which no attachment is known: addresses: %s", rq->container, f->e.msg);
		return 0;
	}
	return r < 0 ? cni_fail_errno(f, r) : 0;
}

int meta_del_unknown(struct attach_engine *en, struct arena *a, const struct request *rq, struct cni_failure *f)
{
	_cleanup_strbuf_ struct strbuf failures = STRBUF_INIT;
	struct scratch_delegate *list;
	struct meta_conf mc;
	const char *dirs;
	size_t n;
	int r = meta_parse(a, rq->conf, en->host.cluster, &mc, f);

	if (r == 0)
		r = release_all(en, rq, f);
	if (r)
		return r;
	dirs = plugin_dirs(a, &mc, rq->path);
	r = scratch_read(a, mc.cni_dir, rq->container, &list, &n, &f->e);
	if (r == 0) {
		del_scratch(en, a, rq, &mc, dirs, list, n, &failures);
		if (!failures.len)
			r = scratch_remove(mc.cni_dir, rq->container, &f->e);
		if (failures.len || r < 0)
			return failures.len ? cni_fail(f, CNI_INTERNAL, NULL, "%s", failures.s) : cni_fail_errno(f, r);
		return 0;
	}
	if (r != -ENOENT)
		log_warn("DEL %s: %s", rq->container, f->e.msg);
	/* nobody knows it: an ADD that failed, a DEL that comes again, a journal that is lost */
	del_default(en, a, rq, &mc, dirs, &failures);
	if (failures.len)
		log_warn("DEL %s, of which no attachment is known: %s", rq->container, failures.s);
	return 0;
}

bool meta_has_notes(struct attach_engine *en, struct arena *a, const struct request *rq)
{
	struct cni_failure f;
	struct meta_conf mc;

	return meta_parse(a, rq->conf, en->host.cluster, &mc, &f) == 0 && scratch_is_there(a, mc.cni_dir, rq->container);
}

int meta_check(struct attach_engine *en, struct arena *a, const struct request *rq, const struct attachment *at, struct cni_failure *f)
{
	for (size_t i = 0; i < at->n_delegates; i++) {
		struct delegate d;
		int r = meta_delegate(en, a, at, &at->delegates[i], at->netns, rq->caller, &d, &f->e);

		r = r < 0 ? cni_fail_errno(f, r) : delegate_check(a, &d, f);
		if (r)
			return r;
	}
	return 0;
}

/* The default network's delegates as the configuration has them, each for @verb. */
static int each_default(struct attach_engine *en, struct arena *a, const struct request *rq,
			int (*verb)(struct arena *a, struct attach_engine *en, const struct net *net, struct delegate *d, const struct request *rq, struct cni_failure *f),
			struct cni_failure *f)
{
	struct attachment at = { .container = "" };
	struct meta_conf mc;
	struct net *nets;
	size_t n;
	int r = meta_parse(a, rq->conf, en->host.cluster, &mc, f);

	if (r)
		return r;
	at.cni_dir = mc.cni_dir;
	at.plugin_dirs = plugin_dirs(a, &mc, rq->path);
	r = nets_of_pod(a, &en->host, &mc, rq->ifname ? rq->ifname : "eth0", NULL, &nets, &n, &f->e);
	if (r == 0)
		r = nets_finish(a, nets, n, NULL, "", NULL, NULL, &f->e);
	if (r < 0)
		return cni_fail(f, rq->verb == VERB_STATUS ? CNI_UNAVAILABLE : CNI_INVALID_CONFIG, NULL, "%s", arena_strdup(a, f->e.msg));
	for (size_t i = 0; i < n; i++) {
		struct attachment_delegate rec = { .network = nets[i].network, .ifname = nets[i].ifname, .conf = nets[i].text };
		struct delegate d;

		if (nets[i].ours)
			continue;
		r = meta_delegate(en, a, &at, &rec, NULL, rq->caller, &d, &f->e);
		d.call.args = NULL;
		r = r < 0 ? cni_fail_errno(f, r) : verb(a, en, &nets[i], &d, rq, f);
		if (r)
			return r;
	}
	return 0;
}

static int one_status(struct arena *a, struct attach_engine *en, const struct net *net, struct delegate *d, const struct request *rq,
		      struct cni_failure *f)
{
	for (size_t i = 0; i < d->conf.n_plugins; i++) {
		char *path;

		/* what is not there answers no STATUS either, whatever its version; with a shim to ask, its folders count */
		if (!rq->caller && plugin_find(a, d->call.dirs, netconf_type(&d->conf, i), &path, &f->e) < 0)
			return f->code = CNI_UNAVAILABLE;
	}
	d->call.ifname = NULL;
	return delegate_status(a, d, f);
}

int meta_status(struct attach_engine *en, struct arena *a, const struct request *rq, struct cni_failure *f)
{
	const char *ready = doc_str(rq->conf, "readinessindicatorfile");

	if (ready && *ready && access(ready, F_OK) < 0)
		return cni_fail(f, CNI_UNAVAILABLE, NULL, "readinessindicatorfile %s is not there: the default network is not up", ready);
	return each_default(en, a, rq, one_status, f);
}

/* What lives of this network: the journal's attachments, whose interface of it has a name of its own. */
static int one_gc(struct arena *a, struct attach_engine *en, const struct net *net, struct delegate *d, const struct request *rq,
		  struct cni_failure *f)
{
	struct request_id *valid = NULL;
	size_t n = 0;

	for (size_t i = 0; i < rq->n_valid; i++) {
		struct request_id *id = arena_push(a, &valid, &n, sizeof(*id));

		*id = (struct request_id){ rq->valid[i].container, net->master ? rq->valid[i].ifname : net->ifname };
	}
	d->call.ifname = NULL;
	return delegate_gc(a, d, valid, n, f);
}

int meta_gc(struct attach_engine *en, struct arena *a, const struct request *rq, struct cni_failure *f)
{
	return each_default(en, a, rq, one_gc, f);
}
