/* SPDX-License-Identifier: Apache-2.0 */
/* kvrail explain: what an ADD of a pod would do, from manifests alone: the same code that the agent runs, up to its first change. */
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "cmd/explain.h"
#include "policy/merge.h"

struct options {
	const char *annotation, *namespace, *conf;
	struct cmd_strings files;
};

static const struct cmd_option options[] = {
	{ "filename", 'f', CMD_STRINGS, offsetof(struct options, files), "FILE", NULL,
	  "manifest of pods (or what makes pods) and of their networks, - for standard input; may be repeated" },
	{ "conf", 'c', CMD_STRING, offsetof(struct options, conf), "FILE", NULL,
	  "the node's CNI configuration (00-multus.conf): its default network and rules are taken into account" },
	{ "annotation", 'a', CMD_STRING, offsetof(struct options, annotation), "STRING", NULL,
	  "parse just this value of the annotation k8s.v1.cni.cncf.io/networks" },
	{ "namespace", 'n', CMD_STRING, offsetof(struct options, namespace), "NAMESPACE", NULL,
	  "of pods and networks that name none (default: default)" },
};

#define UNKNOWN_DEFAULT "default network of the node" /* stands for a configuration's type where no --conf is given */

struct explain {
	struct cmd_run *run;
	struct arena *a;
	const char *namespace;
	const struct api_nad **nads;
	size_t n_nads;
	struct explain_pod *pods;
	size_t n_pods;
	struct meta_conf mc;
	bool with_conf;
	yyjson_mut_doc *doc;
	yyjson_mut_val *out;
	struct attach_host host;
	size_t failed;
};

/* What an item asks for beside its network, in one cell; NULL: nothing. */
static const char *asked(struct arena *a, const struct annotation_item *item)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = annotation_json(doc, item);

	yyjson_mut_obj_remove_key(v, "name");
	yyjson_mut_obj_remove_key(v, "namespace");
	yyjson_mut_obj_remove_key(v, "interface");
	yyjson_mut_obj_remove_key(v, "interfaceRequest");
	return yyjson_mut_obj_size(v) ? doc_mut_to_json(a, v, false) : NULL;
}

static void print_items(struct cmd_run *run, const struct annotation_item *items, size_t n)
{
	static const char *const heads[] = { "NETWORK", "INTERFACE", "ASKED", NULL };
	struct out_table *t = out_table_new(run->arena, heads);

	for (size_t i = 0; i < n; i++)
		out_row(t, (const char *[]){ arena_printf(run->arena, "%s/%s", items[i].namespace, items[i].name), items[i].interface,
					     asked(run->arena, &items[i]) }, 3);
	out_table_print(t);
}

static int explain_annotation(struct cmd_run *run, const char *text, const char *namespace, struct err *e)
{
	struct annotation_item *items;
	yyjson_mut_doc *doc = doc_new(run->arena);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list = yyjson_mut_obj_add_arr(doc, root, "networks");
	struct err why;
	size_t n;
	int r = annotation_parse(run->arena, text, strlen(text), namespace, &items, &n, e);

	if (r < 0)
		return err_wrap(e, r, ANNOTATION_NETWORKS);
	if (annotation_check(items, n, &why) < 0)
		fprintf(stderr, "warning: %s; Multus reads this too, and no pod can start with it\n", out_plain(run->arena, why.msg));
	for (size_t i = 0; i < n; i++)
		yyjson_mut_arr_append(list, annotation_json(doc, &items[i]));
	if (run->output == OUT_TABLE)
		print_items(run, items, n);
	else
		out_value(run, root);
	return CMD_OK;
}

/* Which networks there are, for who named another. */
static const char *others(const struct explain *x, const char *ns)
{
	_cleanup_strbuf_ struct strbuf here = STRBUF_INIT, all = STRBUF_INIT;

	for (size_t i = 0; i < x->n_nads; i++) {
		const struct api_meta *m = x->nads[i]->object.meta;

		if (!strcmp(m->namespace, ns))
			strbuf_addf(&here, "%s%s", here.len ? ", " : "", m->name);
		strbuf_addf(&all, "%s%s/%s", all.len ? ", " : "", m->namespace, m->name);
	}
	if (here.len)
		return arena_printf(x->a, "in namespace %s there are %s", ns, here.s);
	return all.len ? arena_printf(x->a, "in namespace %s there is none; the files have %s", ns, all.s) :
			 "the files have none: give its SriovNetwork or NetworkAttachmentDefinition with -f";
}

static int network(void *arg, struct arena *a, const char *ns, const char *name, struct api_nad **ret, struct err *e)
{
	const struct explain *x = arg;

	for (size_t i = 0; i < x->n_nads; i++) {
		const struct api_meta *m = x->nads[i]->object.meta;

		if (strcmp(m->namespace, ns) || strcmp(m->name, name))
			continue;
		*ret = (struct api_nad *)x->nads[i];
		return 0;
	}
	return err_set(e, -ENOENT, "there is no network %s/%s: %s", ns, name, others(x, ns));
}

static bool take(void *arg, const struct doc *d)
{
	struct explain *x = arg;

	return explain_pods_of_document(x->a, d, x->namespace, &x->pods, &x->n_pods);
}

static int add_nad(struct explain *x, const struct manifest *m, struct err *e)
{
	const char *prefix = getenv("RESOURCE_PREFIX"), *kind = m->kind->kind;
	struct api_object *o = m->object;
	struct api_nad *nad;

	if (m->kind->namespaced && (!o->meta->namespace || !*o->meta->namespace))
		o->meta->namespace = x->namespace;
	if (!strcmp(kind, "NetworkAttachmentDefinition")) {
		nad = m->object;
	} else if (!strcmp(kind, "SriovNetwork") || !strcmp(kind, "SriovIBNetwork") || !strcmp(kind, "OVSNetwork")) {
		int r = render_nad(x->a, m->kind, m->object, prefix && *prefix ? prefix : "openshift.io", &nad, e);

		if (r < 0)
			return r;
	} else {
		return 0;
	}
	*(const struct api_nad **)arena_push(x->a, &x->nads, &x->n_nads, sizeof(*x->nads)) = nad;
	return 0;
}

/* Without the node's configuration something must stand where the default network is: interfaces are counted from it. */
static int load_conf(struct explain *x, const char *path, struct err *e)
{
	static const char unknown[] = "{\"delegates\":[{\"cniVersion\":\"1.0.0\",\"name\":\"default\",\"type\":\"" UNKNOWN_DEFAULT "\"}]}";
	struct cni_failure f = { 0 };
	struct doc *docs;
	yyjson_val *root;
	size_t n;
	int r;

	if (path) {
		r = doc_load(x->a, path, &docs, &n, e);
		if (r == 0 && n != 1)
			r = err_set(e, -EINVAL, "%s: one CNI configuration is wanted", path);
		if (r < 0)
			return r;
		root = docs[0].root;
		x->with_conf = true;
	} else {
		r = doc_parse_json(x->a, "default", unknown, strlen(unknown), sizeof(unknown), &root, e);
		if (r < 0)
			return r;
	}
	if (meta_parse(x->a, root, NULL, &x->mc, &f)) {
		*e = f.e;
		return err_wrap(e, -EINVAL, "%s", path);
	}
	return 0;
}

static uint64_t requested(const struct explain_pod *p, const char *resource)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->n_requests; i++)
		if (!strcmp(p->requests[i].resource, resource))
			n += p->requests[i].count;
	return n;
}

static const char *made_by(struct arena *a, const struct net *net)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	if (net->ours)
		return "kvrail";
	for (size_t i = 0; i < net->conf.n_plugins; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", netconf_type(&net->conf, i));
	return arena_strdup(a, b.s);
}

static void step(struct explain *x, yyjson_mut_val *list, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void step(struct explain *x, yyjson_mut_val *list, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	yyjson_mut_arr_add_str(x->doc, list, arena_vprintf(x->a, fmt, ap));
	va_end(ap);
}

/* "vlan 0, spoofchk off, trust on" */
static const char *settings(struct arena *a, const struct rail_want *w)
{
	static const char *const link_states[] = { "auto", "enable", "disable" };
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	if (w->vlan > 0)
		strbuf_addf(&b, ", VLAN %d", w->vlan);
	if (w->max_rate > 0)
		strbuf_addf(&b, ", at most %lld Mbit/s", (long long)w->max_rate);
	if (w->spoofchk != RAIL_UNSET)
		strbuf_addf(&b, ", spoofchk %s", w->spoofchk ? "on" : "off");
	if (w->trust != RAIL_UNSET)
		strbuf_addf(&b, ", trust %s", w->trust ? "on" : "off");
	if (w->link_state != RAIL_UNSET)
		strbuf_addf(&b, ", link state %s", link_states[w->link_state]);
	if (w->has_mac)
		strbuf_addf(&b, ", MAC %02x:%02x:%02x:%02x:%02x:%02x", w->mac[0], w->mac[1], w->mac[2], w->mac[3], w->mac[4], w->mac[5]);
	return b.len ? arena_strdup(a, b.s + 2) : "none";
}

static void rail_steps(struct explain *x, yyjson_mut_val *steps, const struct net *net)
{
	const struct rail *rail = &net->rail;

	step(x, steps, "%s: %s%s, set through its PF: %s", net->ifname, net->device_id ? "device " : "a VF of ",
	     net->device_id ? net->device_id : net->resource, settings(x->a, &rail->want));
	step(x, steps, "%s: the VF and its RDMA device move into the pod%s", net->ifname,
	     rail->want.mtu ? arena_printf(x->a, "; MTU %lld", (long long)rail->want.mtu) : "");
	for (size_t i = 0; i < rail->n_sysctls; i++)
		step(x, steps, "%s: sysctl %s = %s", net->ifname, rail->sysctls[i].key, rail->sysctls[i].value);
	if (rail->ipam.type)
		step(x, steps, "%s: its address is set; MTU, RDMA device and the GID of the address are read back", net->ifname);
}

static void address_step(struct explain *x, yyjson_mut_val *steps, const struct net *nets, size_t n)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; nets[i].ours && k < nets[i].rail.ipam.n_ranges; k++)
			strbuf_addf(&b, "%s%s from pool %s%s%s", b.len ? ", " : "", nets[i].ifname, nets[i].rail.ipam.ranges[k].pool,
				    nets[i].rail.ip ? ", asked for " : "", nets[i].rail.ip ? nets[i].rail.ip : "");
	if (b.len)
		step(x, steps, "addresses of all rails at once: %s", b.s);
}

static void list_steps(struct explain *x, yyjson_mut_val *steps, const struct explain_pod *p, const struct net *nets, size_t n)
{
	bool rails = false, routes = false;

	for (size_t i = 0; i < n; i++) {
		rails |= nets[i].ours;
		routes |= nets[i].item && nets[i].item->has_default_route;
		if (nets[i].master && !nets[i].ours)
			step(x, steps, "%s: made by %s%s", nets[i].ifname, x->with_conf ? "plugin " : "the ", made_by(x->a, &nets[i]));
	}
	address_step(x, steps, nets, n);
	for (size_t i = 0; i < n; i++)
		if (nets[i].ours)
			rail_steps(x, steps, &nets[i]);
	for (size_t i = 0; i < n; i++)
		if (!nets[i].ours && !nets[i].master)
			step(x, steps, "%s: made by plugin %s", nets[i].ifname, made_by(x->a, &nets[i]));
	if (routes)
		step(x, steps, "the default route is set as asked, and taken from the other networks");
	if (nets_require_rdma(&p->pod))
		step(x, steps, "kvrail.io/rdma: required: the pod does not start if a rail has no RDMA device and GID");
	if (rails)
		step(x, steps, "each container that has a VF: its RDMA device nodes, the libraries' environment below what it sets itself, no limit of "
			       "locked memory");
	step(x, steps, "annotation network-status, event AddedInterface");
}

static void warn(struct explain *x, yyjson_mut_val *list, const struct explain_pod *p, const char *text)
{
	yyjson_mut_arr_add_str(x->doc, list, text);
	if (x->run->output == OUT_TABLE)
		return;
	fprintf(stderr, "warning: %s: %s\n", p->what, out_plain(x->a, text));
}

/* Devices that the networks take and that no container asks for. */
static void check_resources(struct explain *x, yyjson_mut_val *v, yyjson_mut_val *warnings, const struct explain_pod *p, const struct net *nets,
			    size_t n)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(x->doc, v, "resources");

	for (size_t i = 0; i < n; i++) {
		uint64_t needed = 0, has;
		yyjson_mut_val *r;
		size_t k = 0;

		if (!nets[i].resource)
			continue;
		while (!nets[k].resource || strcmp(nets[k].resource, nets[i].resource))
			k++;
		if (k < i) /* told already */
			continue;
		for (k = i; k < n; k++)
			needed += nets[k].resource && !strcmp(nets[k].resource, nets[i].resource);
		has = requested(p, nets[i].resource);
		r = yyjson_mut_arr_add_obj(x->doc, list);
		yyjson_mut_obj_add_str(x->doc, r, "resource", nets[i].resource);
		yyjson_mut_obj_add_uint(x->doc, r, "needed", needed);
		yyjson_mut_obj_add_uint(x->doc, r, "requested", has);
		if (has < needed)
			warn(x, warnings, p, arena_printf(x->a, "its networks take %llu of %s and its containers ask for %llu: kvrail's admission adds "
							       "the rest when the pod is created; without it the pod fails at network %s",
							       (unsigned long long)needed, nets[i].resource, (unsigned long long)has, nets[i].network));
	}
}

static void add_str(struct explain *x, yyjson_mut_val *v, const char *key, const char *value)
{
	if (value)
		yyjson_mut_obj_add_str(x->doc, v, key, value);
}

/* Text of JSON as value. */
static void add_json(struct explain *x, yyjson_mut_val *v, const char *key, const char *text)
{
	yyjson_val *value;

	if (text && doc_parse_json(x->a, key, text, strlen(text), DOC_SIZE_MAX, &value, NULL) == 0)
		yyjson_mut_obj_add_val(x->doc, v, key, yyjson_val_mut_copy(x->doc, value));
}

static void add_net(struct explain *x, yyjson_mut_val *list, const struct net *net)
{
	yyjson_mut_val *v = yyjson_mut_arr_add_obj(x->doc, list);
	bool unknown = net->master && !x->with_conf && !net->item;

	yyjson_mut_obj_add_str(x->doc, v, "network", net->network);
	yyjson_mut_obj_add_str(x->doc, v, "interface", net->ifname);
	yyjson_mut_obj_add_str(x->doc, v, "madeBy", made_by(x->a, net));
	if (net->master)
		yyjson_mut_obj_add_bool(x->doc, v, "default", true);
	add_str(x, v, "resource", net->resource);
	add_str(x, v, "device", net->device_id);
	if (unknown)
		return;
	add_json(x, v, "config", net->text);
	add_json(x, v, "runtimeConfig", net->runtime);
	add_str(x, v, "args", net->args);
}

static int explain_pod(struct explain *x, const struct explain_pod *p, struct err *e)
{
	yyjson_mut_val *v = yyjson_mut_obj(x->doc), *networks, *steps, *warnings = yyjson_mut_arr(x->doc);
	struct net *nets;
	size_t n;
	int r = nets_of_pod(x->a, &x->host, &x->mc, "eth0", &p->pod, &nets, &n, e);

	if (r == 0)
		r = nets_finish(x->a, nets, n, &p->pod, arena_printf(x->a, "K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s", p->pod.namespace, p->pod.name),
				x->mc.runtime, NULL, e);
	if (r < 0)
		return err_wrap(e, r, "%s", p->what);
	yyjson_mut_obj_add_str(x->doc, v, "pod", p->what);
	networks = yyjson_mut_obj_add_arr(x->doc, v, "networks");
	for (size_t i = 0; i < n; i++)
		add_net(x, networks, &nets[i]);
	check_resources(x, v, warnings, p, nets, n);
	if (p->warning)
		warn(x, warnings, p, p->warning);
	steps = yyjson_mut_obj_add_arr(x->doc, v, "steps");
	list_steps(x, steps, p, nets, n);
	if (yyjson_mut_arr_size(warnings))
		yyjson_mut_obj_add_val(x->doc, v, "warnings", warnings);
	yyjson_mut_arr_append(x->out, v);
	return 0;
}

static void print_pod(struct explain *x, yyjson_mut_val *pod, bool first)
{
	static const char *const heads[] = { "INTERFACE", "NETWORK", "MADE BY", "RESOURCE", "DEVICE", NULL };
	struct out_table *t = out_table_new(x->a, heads);
	yyjson_mut_val *v;
	size_t i, max;

	printf("%s%s\n", first ? "" : "\n", out_plain(x->a, yyjson_mut_get_str(yyjson_mut_obj_get(pod, "pod"))));
	yyjson_mut_arr_foreach(yyjson_mut_obj_get(pod, "networks"), i, max, v)
		out_row(t, (const char *[]){ yyjson_mut_get_str(yyjson_mut_obj_get(v, "interface")), yyjson_mut_get_str(yyjson_mut_obj_get(v, "network")),
					     yyjson_mut_get_str(yyjson_mut_obj_get(v, "madeBy")), yyjson_mut_get_str(yyjson_mut_obj_get(v, "resource")),
					     yyjson_mut_get_str(yyjson_mut_obj_get(v, "device")) }, 5);
	out_table_print(t);
	yyjson_mut_arr_foreach(yyjson_mut_obj_get(pod, "steps"), i, max, v)
		printf("%3zu. %s\n", i + 1, out_plain(x->a, yyjson_mut_get_str(v)));
	yyjson_mut_arr_foreach(yyjson_mut_obj_get(pod, "warnings"), i, max, v)
		printf("%swarning: %s%s\n", out_color(OUT_WARN), out_plain(x->a, yyjson_mut_get_str(v)), out_color(OUT_PLAIN));
}

static void print_all(struct explain *x)
{
	yyjson_mut_val *root = yyjson_mut_obj(x->doc), *pod;
	size_t i, max;

	if (x->run->output != OUT_TABLE) {
		yyjson_mut_obj_add_val(x->doc, root, "pods", x->out);
		out_value(x->run, root);
		return;
	}
	yyjson_mut_arr_foreach(x->out, i, max, pod)
		print_pod(x, pod, i == 0);
}

static int explain_files(struct cmd_run *run, const struct options *o, struct err *e)
{
	struct explain x = { .run = run, .a = run->arena, .namespace = o->namespace ? o->namespace : "default", .doc = doc_new(run->arena) };
	struct manifest *m;
	struct err why;
	size_t n;
	int r = manifests_load_taking(run, &o->files, take, &x, &m, &n, e);

	x.out = yyjson_mut_arr(x.doc);
	x.host = (struct attach_host){ .network = network, .arg = &x };
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_nad(&x, &m[i], e);
	if (r == 0)
		r = load_conf(&x, o->conf, e);
	if (r < 0)
		return r;
	if (x.n_pods == 0)
		return err_set(e, -ENODATA, "no pod in the input: give a Pod, a Deployment, a LeaderWorkerSet or an LLMInferenceService with -f");
	for (size_t i = 0; i < x.n_pods; i++) {
		if (explain_pod(&x, &x.pods[i], &why) == 0)
			continue;
		x.failed++;
		if (x.n_pods == 1)
			*e = why;
		else
			fprintf(stderr, "kvrail explain: %s\n", out_plain(x.a, why.msg));
	}
	if (x.failed < x.n_pods)
		print_all(&x);
	return x.failed ? CMD_FAILED : CMD_OK;
}

static int run_explain(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;

	if (!o->annotation == !o->files.n) {
		fputs(o->annotation ? "kvrail explain: give an annotation or files, not both\n" :
				      "kvrail explain: name a manifest of pods (-f FILE), or give an annotation (--annotation STRING)\n", stderr);
		return CMD_USAGE;
	}
	if (o->annotation)
		return explain_annotation(run, o->annotation, o->namespace ? o->namespace : "default", e);
	return explain_files(run, o, e);
}

const struct cmd cmd_explain = {
	.name = "explain",
	.summary = "what an attachment of a pod would do, without a node",
	.usage = "-f FILE... [--conf FILE] | --annotation STRING [--namespace NAMESPACE] [-o FORMAT]",
	.about = "Pods, or what makes pods (Deployment, LeaderWorkerSet, LLMInferenceService, ...), with the networks they name\n"
		 "(SriovNetwork, NetworkAttachmentDefinition): interfaces, final configurations, devices asked for, and the steps.\n\n"
		 "With --annotation the value of k8s.v1.cni.cncf.io/networks is read as Multus reads it; what is wrong is told with its place.\n\n"
		 "RESOURCE_PREFIX (default openshift.io) goes before resource names.",
	.options = options,
	.n_options = ARRAY_SIZE(options),
	.options_size = sizeof(struct options),
	.output = true,
	.run = run_explain,
};
