/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/controller.h"

int controller_nodestate(struct arena *a, const char *namespace, const char *node,
			 const struct merge_result *merged, const struct api_nodestate_status *status,
			 struct store_object *ret, struct err *e)
{
	const struct api_kind *kind = api_kind_named("SriovNetworkNodeState");
	struct api_meta meta = { .name = node, .namespace = namespace };
	struct api_nodestate_status measured = { 0 };
	struct api_nodestate state = {
		.object = { .api_version = "sriovnetwork.openshift.io/v1", .kind = kind->kind, .meta = &meta },
		.spec = merged->spec,
	};

	if (status) {
		measured = *status;
		state.status = &measured;
	}
	*ret = (struct store_object){
		.kind = kind->kind, .namespace = namespace, .name = node,
		.json = doc_mut_to_json(a, api_encode(kind, doc_new(a), &state), false),
	};
	return 0;
}
