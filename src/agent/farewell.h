/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of an agent that a DaemonSet runs: a restart or an update, after which another one goes on, or the end of kvrail on this node,
 * after which nothing of it shall be left there.
 */
#ifndef KVRAIL_AGENT_FAREWELL_H
#define KVRAIL_AGENT_FAREWELL_H

#include "agent/state.h"

/*
 * Is it for good? The DaemonSet is asked for at the API server: gone, or being deleted, or our very right to ask is gone (roles and service account are
 * deleted with it). An API server that does not answer says nothing: then it is a restart.
 */
bool farewell_is_for_good(struct agent *ag);

/*
 * Take away what the agent has put on the node: its plugin and its state; unless a pod has rails, a DEL is spooled or a port is provisioned: a later
 * agent must know of these, and containers with rails run the plugin as their hook. The CNI configuration is agent.c's.
 */
void farewell_clean(const struct agent_options *o, const char *shim);

#endif
