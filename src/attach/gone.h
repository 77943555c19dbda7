/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attachments that were undone last. A runtime sends DEL for a sandbox again, two or three times a pod
 * (kubelet stops it, then cleans up): the first has undone everything, so the next ones need neither plugin
 * nor API server. What is not remembered (by an agent that restarted, or of long ago) is only undone again.
 * Not thread safe.
 */
#ifndef KVRAIL_ATTACH_GONE_H
#define KVRAIL_ATTACH_GONE_H

#include <stdbool.h>
#include <stddef.h>

#define GONE_MAX 256

struct gone {
	char *names[GONE_MAX]; /* "container/ifname" */
	size_t next;
};

void gone_note(struct gone *g, const char *container, const char *ifname);
bool gone_has(const struct gone *g, const char *container, const char *ifname);
void gone_clear(struct gone *g);

#endif
