/* SPDX-License-Identifier: Apache-2.0 */
/* An "ipam" object from a NAD: what is taken makes sense. */
#include <string.h>

#include "ipam/ipam.h"
#include "store/ip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct ipam_conf conf;
	yyjson_val *ipam;
	struct err e;

	if (doc_parse_json(a, "fuzz", (const char *)data, size, 1 << 20, &ipam, &e) < 0 || ipam_conf_parse(a, ipam, &conf, &e) < 0)
		return 0;
	for (size_t i = 0; i < conf.n_ranges; i++) {
		const struct ipam_range *r = &conf.ranges[i];

		if (store_ip_cmp(&r->first, &r->last) > 0 || strpbrk(r->pool + (conf.network_name ? strlen(conf.network_name) : 0), ":/") ||
		    r->prefix_len > (r->v4 ? 30 : 126))
			abort();
		for (size_t k = 0; k < r->n_excludes; k++)
			if (store_ip_cmp(&r->excludes[k][0], &r->excludes[k][1]) > 0)
				abort();
	}
	return 0;
}
