/* SPDX-License-Identifier: Apache-2.0 */
/* CNI stdin, up to the rails that it asks for. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attach/rail.h"
#include "attach/result.h"
#include "base/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char nad_conf[] = "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"sriov\",\"vlan\":0,\"ipam\":{}}";

static int network(void *arg, struct arena *a, const char *ns, const char *name, struct api_nad **ret, struct err *e)
{
	struct api_nad *nad = arena_alloc(a, sizeof(*nad));

	nad->object.meta = arena_alloc(a, sizeof(*nad->object.meta));
	nad->spec = arena_alloc(a, sizeof(*nad->spec));
	nad->spec->config = nad_conf;
	nad->object.meta->annotations = arena_alloc(a, sizeof(struct pair));
	nad->object.meta->annotations[0] = (struct pair){ NAD_RESOURCE_NAME, "x/y" };
	nad->object.meta->n_annotations = 1;
	*ret = nad;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const verbs[] = { "ADD", "CHECK", "GC", "STATUS" };
	_cleanup_arena_ struct arena *a = arena_new();
	const struct attach_host host = { .network = network };
	struct cni_env env = { .container_id = "c", .netns = "/n", .ifname = "net1", .path = "/p", .args = "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b" };
	struct cni_failure f;
	struct request rq;
	struct rail *rails;
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		env.command = verbs[i];
		if (request_parse(a, &env, (const char *)data, size, &rq, &f)) {
			if (f.code <= 0 || !*result_error(a, CNI_1_1_0, &f))
				abort();
			continue;
		}
		if (rails_of_request(a, &host, &rq, &rails, &n, &f))
			continue;
		if (n == 0)
			abort();
		for (size_t k = 0; k < n; k++)
			if (!parse_is_ifname(rails[k].ifname) || (!rails[k].resource && !rails[k].device_id))
				abort();
	}
	return 0;
}
