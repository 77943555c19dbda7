/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SriovNetwork, SriovIBNetwork and OVSNetwork into NADs. The operator pastes the fields into a YAML template, in a
 * single-quoted scalar, and indents the JSON that YAML makes of it. So capabilities, metaPlugins and quoted words
 * are text, not values: their key order, number forms and escapes stay as written, and YAML's folding of line
 * breaks and doubled quotes applies to them.
 */
#include <string.h>

#include "base/parse.h"
#include "base/strbuf.h"
#include "policy/jsontext.h"
#include "policy/merge.h"

#define GROUP "sriovnetwork.openshift.io"
#define OWNER_REF "sriovnetwork.openshift.io/owner-ref"
#define CNI_VERSION "1.0.0"

static bool one_of(const char *s, const char *const *words)
{
	for (; s && *words; words++)
		if (!strcmp(s, *words))
			return true;
	return false;
}

static void add_text(struct strbuf *b, const char *key, const char *text)
{
	if (is_given(text))
		strbuf_addf(b, "\"%s\":\"%s\",", key, text);
}

static void add_number(struct strbuf *b, const char *key, int64_t n)
{
	strbuf_addf(b, "\"%s\":%lld,", key, (long long)n);
}

static void add_sriov(struct strbuf *b, const struct api_network_spec *s)
{
	static const char *const on_off[] = { "on", "off", NULL };

	add_number(b, "vlan", s->vlan);
	add_text(b, "spoofchk", one_of(s->spoof_chk, on_off) ? s->spoof_chk : NULL);
	add_text(b, "trust", one_of(s->trust, on_off) ? s->trust : NULL);
	if (s->vlan_qos >= 0 && s->vlan_qos <= 7)
		add_number(b, "vlanQoS", s->vlan_qos);
	add_text(b, "vlanProto", s->vlan_proto);
	if (s->min_tx_rate && *s->min_tx_rate >= 0)
		add_number(b, "min_tx_rate", *s->min_tx_rate);
	if (s->max_tx_rate && *s->max_tx_rate >= 0)
		add_number(b, "max_tx_rate", *s->max_tx_rate);
}

static void add_capabilities(struct strbuf *b, const struct api_network_spec *s)
{
	if (is_given(s->capabilities))
		strbuf_addf(b, "\"capabilities\":%s,", s->capabilities);
}

static void add_link_state(struct strbuf *b, const struct api_network_spec *s)
{
	static const char *const states[] = { "auto", "enable", "disable", NULL };

	add_text(b, "link_state", one_of(s->link_state, states) ? s->link_state : NULL);
}

static void add_trunk(struct strbuf *b, const struct api_network_spec *s)
{
	for (size_t i = 0; i < s->n_trunk; i++) {
		const struct api_trunk *t = &s->trunk[i];
		const char *comma = "";

		strbuf_addstr(b, i ? ",{" : "\"trunk\":[{");
		if (t->min_id) {
			strbuf_addf(b, "\"minID\":%lld", (long long)*t->min_id);
			comma = ",";
		}
		if (t->max_id) {
			strbuf_addf(b, "%s\"maxID\":%lld", comma, (long long)*t->max_id);
			comma = ",";
		}
		if (t->id)
			strbuf_addf(b, "%s\"id\":%lld", comma, (long long)*t->id);
		strbuf_addch(b, '}');
	}
	if (s->n_trunk)
		strbuf_addstr(b, "],");
}

static void add_ovs(struct strbuf *b, const struct api_network_spec *s)
{
	add_text(b, "bridge", s->bridge);
	if (s->vlan)
		add_number(b, "vlan", s->vlan);
	if (s->mtu)
		add_number(b, "mtu", s->mtu);
	add_trunk(b, s);
	add_text(b, "interface_type", s->interface_type);
}

static void add_ipam(struct strbuf *b, const struct api_network_spec *s)
{
	strbuf_addstr(b, "\"ipam\":");
	if (is_given(s->ipam))
		jsontext_add_without_space(b, s->ipam);
	else
		strbuf_addstr(b, "{}");
}

/* The configuration in one line, as pasted. */
static void paste(struct strbuf *b, const struct api_kind *kind, const struct api_network *n)
{
	const struct api_network_spec *s = n->spec;
	bool list = is_given(s->meta_plugins);

	strbuf_addf(b, "{\"cniVersion\":\"" CNI_VERSION "\",\"name\":\"%s\",%s",
		    n->object.meta->name, list ? "\"plugins\":[{" : "");
	if (!strcmp(kind->kind, "OVSNetwork")) {
		add_text(b, "type", "ovs");
		add_capabilities(b, s);
		add_ovs(b, s);
	} else if (!strcmp(kind->kind, "SriovIBNetwork")) {
		add_text(b, "type", "ib-sriov");
		add_capabilities(b, s);
		add_link_state(b, s);
	} else {
		add_text(b, "type", "sriov");
		add_sriov(b, s);
		add_capabilities(b, s);
		add_link_state(b, s);
		add_text(b, "logLevel", s->log_level);
		add_text(b, "logFile", s->log_file);
	}
	add_ipam(b, s);
	if (list)
		strbuf_addf(b, "}, %s ]", s->meta_plugins);
	strbuf_addch(b, '}');
}

/* The pasted text is no JSON: which field made it so? */
static int blame(const struct api_network *n, const char *why, struct err *e)
{
	const struct api_network_spec *s = n->spec;
	const struct {
		const char *field, *text, *before, *after, *want;
	} fields[] = {
		{ "capabilities", s->capabilities, "", "", "an object like {\"ips\": true}" },
		{ "ipam", s->ipam, "", "", "an object like {\"type\": \"whereabouts\", ...}" },
		{ "metaPlugins", s->meta_plugins, "[", "]",
		  "plugins like {\"type\": \"rdma\"}, with commas between them" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct err reason;

		if (!is_given(fields[i].text))
			continue;
		strbuf_addf(&text, "%s%s%s", fields[i].before, fields[i].text, fields[i].after);
		if (jsontext_check(text.s, &reason) < 0)
			return err_set(e, -EINVAL, "spec.%s is no JSON (%s): write %s",
				       fields[i].field, reason.msg, fields[i].want);
	}
	return err_set(e, -EINVAL,
		       "the network's fields do not make JSON (%s): look for quotes and backslashes in them",
		       why);
}

static const char *config(struct arena *a, const struct api_kind *kind, const struct api_network *n,
			  struct err *e)
{
	_cleanup_strbuf_ struct strbuf pasted = STRBUF_INIT, folded = STRBUF_INIT, text = STRBUF_INIT;
	struct err why;

	paste(&pasted, kind, n);
	jsontext_fold(&folded, pasted.s);
	if (jsontext_check(folded.s, &why) < 0) {
		blame(n, why.msg, e);
		return NULL;
	}
	jsontext_indent(&text, folded.s);
	return arena_strdup(a, text.s);
}

/* Deletion of the network takes the NAD with it; across namespaces the API server knows no owner. */
static int set_owner(struct arena *a, const struct api_kind *kind, const struct api_network *n,
		     struct api_meta *meta, struct err *e)
{
	yyjson_mut_doc *doc = doc_new(a);
	yyjson_mut_val *list = yyjson_mut_arr(doc), *owner = yyjson_mut_arr_add_obj(doc, list);
	const char *text;

	if (!is_given(n->object.meta->uid) || strcmp(meta->namespace, n->object.meta->namespace))
		return 0;
	yyjson_mut_obj_add_str(doc, owner, "apiVersion",
			       arena_printf(a, "%s/%s", kind->group, kind->version));
	yyjson_mut_obj_add_str(doc, owner, "kind", kind->kind);
	yyjson_mut_obj_add_str(doc, owner, "name", n->object.meta->name);
	yyjson_mut_obj_add_str(doc, owner, "uid", n->object.meta->uid);
	text = doc_mut_to_json(a, list, false);
	return doc_parse_json(a, "ownerReferences", text, strlen(text), DOC_SIZE_MAX,
			      &meta->owner_references, e);
}

int render_nad(struct arena *a, const struct api_kind *kind, const struct api_network *network,
	       const char *prefix, struct api_nad **ret, struct err *e)
{
	const struct api_meta *from = network->object.meta;
	struct api_nad *nad = arena_alloc(a, sizeof(*nad));
	struct api_meta *meta = nad->object.meta = arena_alloc(a, sizeof(*meta));
	struct pair *annotation;
	int r;

	nad->object.api_version = "k8s.cni.cncf.io/v1";
	nad->object.kind = "NetworkAttachmentDefinition";
	meta->name = from->name;
	meta->namespace = is_given(network->spec->network_namespace) ? network->spec->network_namespace :
			  from->namespace ? from->namespace : "";
	annotation = arena_push(a, &meta->annotations, &meta->n_annotations, sizeof(*annotation));
	annotation->key = NAD_RESOURCE_NAME;
	annotation->value =
		arena_printf(a, "%s/%s", prefix,
			     network->spec->resource_name ? network->spec->resource_name : "");
	annotation = arena_push(a, &meta->annotations, &meta->n_annotations, sizeof(*annotation));
	annotation->key = OWNER_REF;
	annotation->value = arena_printf(a, "%s." GROUP "/%s/%s", kind->kind,
					 from->namespace ? from->namespace : "", from->name);
	nad->spec = arena_alloc(a, sizeof(*nad->spec));
	nad->spec->config = config(a, kind, network, e);
	if (!nad->spec->config)
		return err_wrap(e, -EINVAL, "%s %s", kind->kind, from->name);
	r = set_owner(a, kind, network, meta, e);
	if (r < 0)
		return r;
	*ret = nad;
	return 0;
}
