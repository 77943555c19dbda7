/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine tells by netlink only: other names of a link, the largest MTU, the default route, the PF's view of its VFs,
 * firmware and e-switch mode, the mode of the RDMA subsystem. A recorded tree has it in "netlink.json" beside "errors":
 *
 *	{"rdma": {"netns": "exclusive"},
 *	 "links": {"p2": {"altNames": ["enp92s0f0np0"], "maxMtu": 9978, "defaultRoute": false,
 *	                  "vfs": [{"vf": 0, "mac": "02:..."}]}},
 *	 "devlink": {"0000:5c:00.0": {"fw": "22.41.1000", "eSwitchMode": "legacy"}}}
 *
 * Every member may be missing.
 */
#ifndef KVRAIL_PROVISION_FACTS_H
#define KVRAIL_PROVISION_FACTS_H

#include "provision/inventory.h"

#define FACTS_FILE "netlink.json"

/* Ask the kernel, or read the tree's file. What cannot be had is a warning of the inventory. */
void facts_add(const struct sysroot *r, struct inventory *inv);
/* The file's content for @inv. */
yyjson_mut_val *facts_json(const struct inventory *inv, yyjson_mut_doc *doc);

/* In inventory.c. */
void inventory_warn(struct inventory *inv, const char *text);

#endif
