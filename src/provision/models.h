/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVRAIL_PROVISION_MODELS_H
#define KVRAIL_PROVISION_MODELS_H

#include <stdbool.h>

struct model {
	const char *vendor, *device; /* hex, without 0x */
	const char *name;
	bool vf;   /* the id of a VF: without physfn it is one that a hypervisor passed through */
};

/* NULL: not known. */
const struct model *model_find(const char *vendor, const char *device);

#endif
