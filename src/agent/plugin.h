/* SPDX-License-Identifier: Apache-2.0 */
/* The device plugin of a node in a cluster. */
#ifndef KVRAIL_AGENT_PLUGIN_H
#define KVRAIL_AGENT_PLUGIN_H

#include "agent/state.h"

int plugin_start(struct agent *ag, struct err *e);
/* The node's resources from now on: @spec names them, @resources (or NULL) says more of some, @p has their devices. */
void plugin_update(struct agent *ag, const struct api_nodestate_spec *spec, const char *resources, const struct pools *p);

#endif
