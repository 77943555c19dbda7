/* SPDX-License-Identifier: Apache-2.0 */
/* A plan in words and as JSON. */
#include "codec/doc.h"
#include "provision/plan.h"

static const char *const op_names[] = {
	[PLAN_RDMA_MODE] = "rdmaMode",	   [PLAN_REMEMBER] = "remember",
	[PLAN_UNBIND_VFS] = "unbindVfs",   [PLAN_ESWITCH] = "eSwitchMode",
	[PLAN_AUTOPROBE_OFF] = "autoprobeOff", [PLAN_SET_NUMVFS] = "numVfs",
	[PLAN_MTU_PF] = "mtu",		   [PLAN_VF_IDENTITY] = "vfIdentity",
	[PLAN_BIND_VF] = "vfBind",	   [PLAN_MTU_VF] = "vfMtu",
	[PLAN_LINK_UP] = "linkUp",	   [PLAN_AUTOPROBE_ON] = "autoprobeOn",
	[PLAN_FORGET] = "forget",
};

bool plan_is_vf_step(enum plan_op op)
{
	return op == PLAN_VF_IDENTITY || op == PLAN_BIND_VF || op == PLAN_MTU_VF;
}

static char *what(struct arena *a, const struct plan_step *s)
{
	switch (s->op) {
	case PLAN_RDMA_MODE:
		return arena_printf(a, "set the RDMA subsystem to %s", s->text);
	case PLAN_REMEMBER:
		return arena_strdup(a, "remember the port as it is");
	case PLAN_UNBIND_VFS:
		return arena_strdup(a, "unbind the drivers of all VFs");
	case PLAN_ESWITCH:
		return arena_printf(a, "set the e-switch to %s", s->text);
	case PLAN_AUTOPROBE_OFF:
		return arena_strdup(a, "switch sriov_drivers_autoprobe off");
	case PLAN_SET_NUMVFS:
		return arena_printf(a, "set sriov_numvfs to %lld", (long long)s->number);
	case PLAN_MTU_PF:
		return arena_printf(a, "set the port's MTU to %lld", (long long)s->number);
	case PLAN_VF_IDENTITY:
		return arena_printf(a, "VF %u: set address %s through the PF", s->vf, s->text);
	case PLAN_BIND_VF:
		return arena_printf(a, "VF %u: %sbind %s", s->vf, s->number ? "unbind and " : "",
				    s->text ? s->text : "its driver");
	case PLAN_MTU_VF:
		return arena_printf(a, "VF %u: set MTU %lld", s->vf, (long long)s->number);
	case PLAN_LINK_UP:
		return arena_strdup(a, "set the port up");
	case PLAN_AUTOPROBE_ON:
		return arena_strdup(a, "switch sriov_drivers_autoprobe on");
	case PLAN_FORGET:
		return arena_strdup(a, "forget the port");
	}
	return arena_strdup(a, "?");
}

char *plan_step_text(struct arena *a, const struct plan_step *s)
{
	char *text = what(a, s);

	return s->why ? arena_printf(a, "%s (%s)", text, s->why) : text;
}

static void add_str(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, const char *value)
{
	if (value)
		yyjson_mut_obj_add_strcpy(doc, obj, key, value);
}

static yyjson_mut_val *strings_json(yyjson_mut_doc *doc, const char **v, size_t n)
{
	yyjson_mut_val *arr = yyjson_mut_arr(doc);

	for (size_t i = 0; i < n; i++)
		yyjson_mut_arr_add_strcpy(doc, arr, v[i]);
	return arr;
}

static yyjson_mut_val *step_json(yyjson_mut_doc *doc, const struct plan_step *s)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_mut_val *obj = yyjson_mut_obj(doc);
	bool text = s->text && s->op != PLAN_REMEMBER;

	yyjson_mut_obj_add_str(doc, obj, "step", op_names[s->op]);
	if (plan_is_vf_step(s->op))
		yyjson_mut_obj_add_uint(doc, obj, "vf", s->vf);
	if (s->op == PLAN_SET_NUMVFS || s->op == PLAN_MTU_PF || s->op == PLAN_MTU_VF)
		yyjson_mut_obj_add_sint(doc, obj, "value", s->number);
	else if (text)
		add_str(doc, obj, "value", s->text);
	add_str(doc, obj, "why", s->why);
	add_str(doc, obj, "text", plan_step_text(a, s));
	return obj;
}

static yyjson_mut_val *steps_json(yyjson_mut_doc *doc, const struct plan_step *steps, size_t n)
{
	yyjson_mut_val *arr = yyjson_mut_arr(doc);

	for (size_t i = 0; i < n; i++)
		yyjson_mut_arr_append(arr, step_json(doc, &steps[i]));
	return arr;
}

static yyjson_mut_val *pods_json(yyjson_mut_doc *doc, const struct plan_pf *pf)
{
	yyjson_mut_val *arr = yyjson_mut_arr(doc);

	for (size_t i = 0; i < pf->n_pods; i++) {
		yyjson_mut_val *obj = yyjson_mut_arr_add_obj(doc, arr);

		add_str(doc, obj, "namespace", pf->pods[i]->namespace);
		add_str(doc, obj, "name", pf->pods[i]->name);
		add_str(doc, obj, "vf", pf->pods[i]->pci);
	}
	return arr;
}

static yyjson_mut_val *pf_json(yyjson_mut_doc *doc, const struct plan_pf *pf)
{
	yyjson_mut_val *obj = yyjson_mut_obj(doc);

	add_str(doc, obj, "pciAddress", pf->pci);
	add_str(doc, obj, "name", pf->netdev);
	add_str(doc, obj, "error", pf->error);
	yyjson_mut_obj_add_val(doc, obj, "steps", steps_json(doc, pf->steps, pf->n_steps));
	yyjson_mut_obj_add_real(doc, obj, "seconds", pf->seconds);
	yyjson_mut_obj_add_bool(doc, obj, "drain", pf->drain);
	yyjson_mut_obj_add_bool(doc, obj, "reboot", pf->reboot);
	add_str(doc, obj, "reason", pf->reason);
	yyjson_mut_obj_add_val(doc, obj, "pods", pods_json(doc, pf));
	yyjson_mut_obj_add_val(doc, obj, "warnings", strings_json(doc, pf->warnings, pf->n_warnings));
	return obj;
}

yyjson_mut_val *plan_json(const struct plan *p, yyjson_mut_doc *doc)
{
	yyjson_mut_val *obj = yyjson_mut_obj(doc), *ports;

	yyjson_mut_obj_add_bool(doc, obj, "nothingToDo", p->nothing_to_do);
	yyjson_mut_obj_add_real(doc, obj, "seconds", p->seconds);
	yyjson_mut_obj_add_bool(doc, obj, "drain", p->drain);
	yyjson_mut_obj_add_bool(doc, obj, "reboot", p->reboot);
	yyjson_mut_obj_add_val(doc, obj, "system", steps_json(doc, p->system, p->n_system));
	ports = yyjson_mut_obj_add_arr(doc, obj, "ports");
	for (size_t i = 0; i < p->n_pfs; i++)
		yyjson_mut_arr_append(ports, pf_json(doc, &p->pfs[i]));
	yyjson_mut_obj_add_val(doc, obj, "warnings", strings_json(doc, p->warnings, p->n_warnings));
	return obj;
}
