/* SPDX-License-Identifier: Apache-2.0 */
/* A kubeconfig: every context that it may name, and its token. */
#include <stdint.h>

#include "store/kubeconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const contexts[] = { NULL, "one", "two", "three" };
	_cleanup_arena_ struct arena *a = arena_new();
	struct kubeconfig_text t = { "/etc/kube/config", (const char *)data, size };

	for (size_t i = 0; i < ARRAY_SIZE(contexts); i++) {
		struct kubeconfig *k = NULL;
		struct err e;

		if (kubeconfig_parse(a, &t, 1, contexts[i], &k, &e) < 0)
			continue;
		if (!k->server || !k->namespace || !k->source)
			abort();
		if (k->token)
			kubeconfig_token_expiry(k->token);
	}
	return 0;
}
