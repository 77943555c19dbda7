/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/state.h"

static void add_problem(yyjson_mut_doc *doc, yyjson_mut_val *list, const char *text)
{
	if (text)
		yyjson_mut_arr_add_strcpy(doc, list, text);
}

yyjson_mut_val *agent_status(struct agent *ag, struct arena *a, yyjson_mut_doc *doc)
{
	yyjson_mut_val *v = yyjson_mut_obj(doc), *agent = yyjson_mut_obj(doc), *problems = yyjson_mut_arr(doc);
	yyjson_mut_val *attachments = attach_list(ag->engine, doc);
	bool applying = pthread_mutex_trylock(&ag->apply_lock) != 0;

	yyjson_mut_obj_add_str(doc, v, "node", ag->node);
	yyjson_mut_obj_add_str(doc, agent, "version", KVRAIL_VERSION);
	yyjson_mut_obj_add_int(doc, agent, "pid", getpid());
	yyjson_mut_obj_add_bool(doc, agent, "ready", ag->ready);
	yyjson_mut_obj_add_bool(doc, agent, "softRoce", ag->options->soft_roce);
	yyjson_mut_obj_add_bool(doc, agent, "applying", applying);
	yyjson_mut_obj_add_strcpy(doc, agent, "stateDir", ag->options->state_dir);
	yyjson_mut_obj_add_val(doc, v, "agent", agent);
	if (!applying) {
		add_problem(doc, problems, ag->problem);
		pthread_mutex_unlock(&ag->apply_lock);
	}
	yyjson_mut_obj_add_val(doc, v, "problems", problems);
	yyjson_mut_obj_add_val(doc, v, "pools", pools_json(ag, doc, attachments));
	yyjson_mut_obj_add_val(doc, v, "attachments", attachments);
	return v;
}
