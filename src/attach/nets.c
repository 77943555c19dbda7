/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "attach/nets.h"
#include "base/parse.h"
#include "base/strbuf.h"

struct gather {
	struct arena *a;
	const struct attach_host *host;
	const struct meta_conf *mc;
	const char *ifname;
	const struct attach_pod *pod;
	struct net *nets;
	size_t n;
	struct err *e;
};

static const char *annotation_of(const struct attach_pod *pod, const char *key)
{
	return pod ? pairs_get(pod->annotations, pod->n_annotations, key) : NULL;
}

static struct net *add_net(struct gather *g)
{
	return arena_push(g->a, &g->nets, &g->n, sizeof(*g->nets));
}

/* A NAD's configuration: its own, or with an empty one that of the file with its name. */
static int nad_conf(struct gather *g, const struct api_nad *nad, const char *name, struct net *net)
{
	const char *text = nad->spec ? nad->spec->config : NULL;
	int r;

	if (text && *text)
		r = netconf_parse(g->a, "spec.config", text, strlen(text), &net->conf, g->e);
	else
		r = meta_load(g->a, g->mc->conf_dir, name, &net->conf, g->e);
	if (r == -ENOENT)
		return err_wrap(g->e, -EINVAL, "spec.config of the NetworkAttachmentDefinition is empty");
	if (r < 0)
		return r;
	net->conf_name = net->conf.name ? net->conf.name : name;
	net->resource = pairs_get(nad->object.meta->annotations, nad->object.meta->n_annotations, NAD_RESOURCE_NAME);
	if (net->resource && !*net->resource)
		net->resource = NULL;
	return 0;
}

/* Who makes it, and if it is us, what it shall be. */
static int judge(struct gather *g, struct net *net)
{
	int r;

	net->ours = rail_is_type(netconf_type(&net->conf, 0));
	if (!net->ours)
		return 0;
	net->rail.network = net->network;
	net->rail.ifname = net->ifname;
	r = rail_from_conf(g->a, netconf_with_args(g->a, net->conf.root, net->item ? net->item->cni_args : NULL), &net->rail, g->e);
	net->rail.ipam.name = net->conf_name;
	if (r == 0 && net->item)
		r = rail_ask(g->a, &net->rail, net->item, g->e);
	if (r < 0)
		return r;
	if (!net->resource)
		net->resource = net->rail.resource;
	net->rail.resource = net->resource;
	/* a resource's devices are given by the kubelet; where there is none, a pod that names one would take any of the node's */
	if (!net->resource && net->item && net->item->device_id)
		return err_set(g->e, -EPERM, "deviceID: the network has no annotation " NAD_RESOURCE_NAME ": a pod chooses among the devices that it was "
			       "given, not among the node's");
	if (!net->device_id)
		net->device_id = net->rail.device_id;
	if (!net->resource && !net->device_id)
		return err_set(g->e, -EINVAL, "no annotation " NAD_RESOURCE_NAME " says which VFs it takes, and no deviceID is given");
	return 0;
}

static int add_nad(struct gather *g, const char *ns, const char *name, const struct annotation_item *item, bool master)
{
	struct net *net = add_net(g);
	struct api_nad *nad;
	int r;

	net->network = arena_printf(g->a, "%s/%s", ns, name);
	net->master = master;
	net->item = item;
	net->device_id = item ? item->device_id : NULL;
	net->ifname = item && item->interface ? item->interface : master ? g->ifname : arena_printf(g->a, "net%zu", g->n - 1);
	r = g->host->network(g->host->arg, g->a, ns, name, &nad, g->e);
	if (r == 0)
		r = nad_conf(g, nad, name, net);
	if (r == 0)
		r = judge(g, net);
	return r < 0 ? err_wrap(g->e, r, "network %s", net->network) : 0;
}

static int add_conf(struct gather *g, const struct netconf *conf, const char *source, bool master)
{
	struct net *net = add_net(g);
	int r;

	if (!conf->name)
		return err_set(g->e, -EINVAL, "%s: name is missing", source);
	net->conf = *conf;
	net->conf_name = net->network = conf->name;
	net->master = master;
	net->ifname = master ? g->ifname : arena_printf(g->a, "net%zu", g->n - 1);
	r = judge(g, net);
	return r < 0 ? err_wrap(g->e, r, "%s", source) : 0;
}

/* A word of clusterNetwork or defaultNetworks: a NAD of Multus' namespace, else a file. */
static int add_named(struct gather *g, const char *name, const char *key, bool master)
{
	struct netconf conf;
	struct api_nad *nad;
	int r;

	if (!strchr(name, '/') && g->host->network(g->host->arg, g->a, g->mc->multus_namespace, name, &nad, NULL) == 0)
		return add_nad(g, g->mc->multus_namespace, name, NULL, master);
	r = meta_load(g->a, g->mc->conf_dir, name, &conf, g->e);
	if (r == 0)
		r = add_conf(g, &conf, name, master);
	if (r < 0 && !strchr(name, '/'))
		return err_wrap(g->e, r, "%s: \"%s\" is no NetworkAttachmentDefinition of namespace %s", key, name, g->mc->multus_namespace);
	return r < 0 ? err_wrap(g->e, r, "%s", key) : 0;
}

static int add_inline(struct gather *g, bool first)
{
	yyjson_arr_iter it;
	yyjson_val *v;
	size_t i = 0;
	int r = 0;

	yyjson_arr_iter_init(g->mc->delegates, &it);
	for (; r == 0 && (v = yyjson_arr_iter_next(&it)); i++) {
		char source[32];
		struct netconf conf;

		if ((i == 0) != first)
			continue;
		snprintf(source, sizeof(source), "delegates[%zu]", i);
		r = netconf_from_value(source, v, &conf, g->e);
		if (r == 0)
			r = add_conf(g, &conf, source, i == 0);
	}
	return r;
}

static int parse_items(struct gather *g, const char *key, const char *text, const char *ns, struct annotation_item **ret, size_t *ret_n)
{
	int r = annotation_parse(g->a, text, strlen(text), ns, ret, ret_n, g->e);

	if (r == 0)
		r = annotation_check(*ret, *ret_n, g->e);
	return r < 0 ? err_wrap(g->e, r, "annotation %s", key) : 0;
}

/* The pod's own choice of its default network. */
static int add_chosen(struct gather *g, const char *text)
{
	struct annotation_item *items;
	size_t n;
	int r = parse_items(g, ANNOTATION_DEFAULT_NETWORK, text, g->mc->multus_namespace, &items, &n);

	if (r < 0)
		return r;
	if (n != 1)
		return err_set(g->e, -EINVAL, "annotation " ANNOTATION_DEFAULT_NETWORK ": it names %zu networks, a pod has one default network", n);
	r = add_nad(g, items[0].namespace, items[0].name, &items[0], true);
	return r < 0 ? err_wrap(g->e, r, "annotation " ANNOTATION_DEFAULT_NETWORK) : 0;
}

static int add_default(struct gather *g)
{
	const char *chosen = annotation_of(g->pod, ANNOTATION_DEFAULT_NETWORK);
	int r;

	if (chosen)
		r = add_chosen(g, chosen);
	else if (g->mc->delegates)
		r = add_inline(g, true);
	else
		r = add_named(g, g->mc->cluster_network, "clusterNetwork", true);
	if (r == 0 && g->mc->delegates)
		r = add_inline(g, false);
	if (g->pod && meta_is_system(g->mc, g->pod->namespace))
		return r;
	for (size_t i = 0; r == 0 && i < g->mc->n_default_networks; i++)
		r = add_named(g, g->mc->default_networks[i], "defaultNetworks", false);
	return r;
}

static bool is_blank(const char *s)
{
	return !s[strspn(s, " \t\r\n")];
}

static int add_annotated(struct gather *g)
{
	const char *text = annotation_of(g->pod, ANNOTATION_NETWORKS);
	struct annotation_item *items;
	size_t n;
	int r;

	if (!text || is_blank(text))
		return 0;
	r = parse_items(g, ANNOTATION_NETWORKS, text, g->pod->namespace, &items, &n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!meta_allows(g->mc, g->pod->namespace, items[i].namespace))
			return err_set(g->e, -EPERM,
				       "network %s/%s: namespaceIsolation lets a pod of %s name networks of its own namespace and of %s only",
				       items[i].namespace, items[i].name, g->pod->namespace, g->mc->global_namespaces);
		r = add_nad(g, items[i].namespace, items[i].name, &items[i], false);
	}
	return r;
}

static int check_names(const struct gather *g)
{
	if (g->n > NETS_MAX)
		return err_set(g->e, -E2BIG, "%zu networks, more than %d", g->n, NETS_MAX);
	for (size_t i = 0; i < g->n; i++) {
		if (!parse_is_ifname(g->nets[i].ifname))
			return err_set(g->e, -EINVAL, "network %s: Linux takes no interface name \"%s\"", g->nets[i].network, g->nets[i].ifname);
		for (size_t k = 0; k < i; k++)
			if (!strcmp(g->nets[i].ifname, g->nets[k].ifname))
				return err_set(g->e, -EINVAL, "networks %s and %s: both would be interface %s; ask for another name with \"@\" or \"interface\"",
					       g->nets[k].network, g->nets[i].network, g->nets[i].ifname);
	}
	return 0;
}

#define RDMA_ANNOTATION "kvrail.io/rdma"

bool nets_require_rdma(const struct attach_pod *pod)
{
	const char *want = annotation_of(pod, RDMA_ANNOTATION);

	return want && !strcmp(want, "required");
}

static int check_rdma(const struct gather *g)
{
	const char *want = annotation_of(g->pod, RDMA_ANNOTATION);

	if (!want || !strcmp(want, "preferred"))
		return 0;
	if (strcmp(want, "required"))
		return err_set(g->e, -EINVAL, "annotation " RDMA_ANNOTATION ": \"%s\" is neither required nor preferred", want);
	for (size_t i = 0; i < g->n; i++)
		if (g->nets[i].ours)
			return 0;
	return err_set(g->e, -EINVAL, "annotation " RDMA_ANNOTATION ": required, and no network of the pod is a rail: name one in " ANNOTATION_NETWORKS);
}

/* One network may have the pod's default route, for each family; then the others lose theirs of that family. */
static int plan_default_route(const struct gather *g)
{
	const char *owner[2] = { NULL, NULL };
	bool keeper = false; /* an empty list: this network's own gateways are the pod's */

	for (size_t i = 0; i < g->n; i++) {
		const struct annotation_item *item = g->nets[i].item;

		keeper |= item && item->has_default_route && !item->n_default_route;
		for (size_t k = 0; item && k < item->n_default_route; k++) {
			bool v6 = strchr(item->default_route[k], ':');

			if (owner[v6])
				return err_set(g->e, -EINVAL, "default-route: networks %s and %s both give an IPv%c gateway; one can have it", owner[v6],
					       g->nets[i].network, v6 ? '6' : '4');
			owner[v6] = g->nets[i].network;
		}
	}
	for (size_t i = 0; i < g->n; i++) {
		const struct annotation_item *item = g->nets[i].item;
		bool keeps = item && item->has_default_route && !item->n_default_route;

		g->nets[i].filter_v4 = !keeps && (keeper || owner[0]) && owner[0] != g->nets[i].network;
		g->nets[i].filter_v6 = !keeps && (keeper || owner[1]) && owner[1] != g->nets[i].network;
	}
	return 0;
}

int nets_of_pod(struct arena *a, const struct attach_host *host, const struct meta_conf *mc, const char *ifname,
		const struct attach_pod *pod, struct net **ret, size_t *ret_n, struct err *e)
{
	struct gather g = { .a = a, .host = host, .mc = mc, .ifname = ifname, .pod = pod, .e = e };
	int r = add_default(&g);

	if (r == 0)
		r = add_annotated(&g);
	if (r == 0)
		r = check_names(&g);
	if (r == 0)
		r = check_rdma(&g);
	if (r == 0)
		r = plan_default_route(&g);
	if (r < 0)
		return r;
	*ret = g.nets;
	*ret_n = g.n;
	return 0;
}

size_t nets_asks(struct arena *a, const struct net *nets, size_t n, struct attach_ask **ret, size_t **ret_of_net)
{
	size_t *of_net = arena_alloc(a, n * sizeof(*of_net)), k = 0;
	struct attach_ask *asks = arena_alloc(a, n * sizeof(*asks));

	for (size_t i = 0; i < n; i++) {
		if (!nets[i].resource)
			continue;
		asks[k] = (struct attach_ask){ .network = nets[i].network, .ifname = nets[i].ifname, .resource = nets[i].resource,
					       .device_id = nets[i].device_id, .optional = !nets[i].ours };
		of_net[k++] = i;
	}
	*ret = asks;
	*ret_of_net = of_net;
	return k;
}

/* The value of @key in "K=V;K=V", "" when it is not there. */
static const char *arg_of(struct arena *a, const char *args, const char *key)
{
	size_t len = strlen(key);

	for (const char *s = args; *s; s += *s == ';') {
		size_t n = strcspn(s, ";");

		if (n > len && !memcmp(s, key, len) && s[len] == '=')
			return arena_strndup(a, s + len + 1, n - len - 1);
		s += n;
	}
	return "";
}

static const char *const kubernetes_args[] = { "IgnoreUnknown", "K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID" };

static bool is_kubernetes_arg(const char *s, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(kubernetes_args); i++)
		if (strlen(kubernetes_args[i]) == n && !memcmp(s, kubernetes_args[i], n))
			return true;
	return false;
}

char *nets_args(struct arena *a, const char *args, const struct attach_pod *pod, const struct annotation_item *item)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	args = args ? args : "";
	strbuf_addstr(&b, "IgnoreUnknown=true");
	for (size_t i = 1; pod && i < ARRAY_SIZE(kubernetes_args); i++)
		strbuf_addf(&b, ";%s=%s", kubernetes_args[i], arg_of(a, args, kubernetes_args[i]));
	for (const char *s = args; *s; s += *s == ';') {
		size_t n = strcspn(s, ";"), key = strcspn(s, "=;");

		if (key < n && !(pod ? is_kubernetes_arg(s, key) : !strncmp(s, "IgnoreUnknown=", 14)))
			strbuf_addf(&b, ";%.*s", (int)n, s);
		s += n;
	}
	if (item && item->mac)
		strbuf_addf(&b, ";MAC=%s", item->mac);
	for (size_t i = 0; item && i < item->n_ips; i++)
		strbuf_addf(&b, "%s%s", i ? "," : ";IP=", item->ips[i]);
	return arena_strdup(a, b.s);
}

/* What the capabilities of a plugin may get. */
static const char *runtime_of(struct arena *a, const struct net *net, yyjson_val *runtime)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *v = net->master && yyjson_is_obj(runtime) ? yyjson_val_mut_copy(doc, runtime) : yyjson_mut_obj(doc);

	if (!net->master && net->item)
		annotation_runtime_conf(doc, net->item, v);
	if (!net->master && net->device_id)
		yyjson_mut_obj_put(v, yyjson_mut_str(doc, "deviceID"), yyjson_mut_str(doc, net->device_id));
	return yyjson_mut_obj_size(v) ? doc_mut_to_json(a, v, false) : NULL;
}

int nets_finish(struct arena *a, struct net *nets, size_t n, const struct attach_pod *pod, const char *args, yyjson_val *runtime,
		const char *const *ids, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		struct net *net = &nets[i];
		const char *given = ids ? ids[i] : NULL;

		if (given)
			net->device_id = given;
		if (net->ours)
			net->rail.device_id = net->device_id;
		net->text = netconf_final(a, &net->conf, net->conf_name, given, net->item ? net->item->cni_args : NULL);
		net->runtime = runtime_of(a, net, runtime);
		net->args = nets_args(a, args, pod, net->item);
		if (strlen(net->text) > NETCONF_SIZE_MAX)
			return err_set(e, -E2BIG, "network %s: its configuration has %zu bytes, more than %u", net->network, strlen(net->text),
				       NETCONF_SIZE_MAX);
	}
	return 0;
}
