/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: which ports a nicSelector means. */
#ifndef KVRAIL_POLICY_SELECT_H
#define KVRAIL_POLICY_SELECT_H

#include "policy/merge.h"

/* Is @name one of the port's alternative names? */
bool select_alt_name(const struct api_interface_status *pf, const char *name);

/* "selects no port here: vendor 15b3 matches 2 of 4 ports, deviceID 101d none" */
const char *select_counts(struct arena *a, const struct api_nic_selector *s,
			  const struct api_nodestate_status *status);

#endif
