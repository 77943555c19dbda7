/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses that belong to nobody any more go back to their pools. Pods and nodes are watched; pools are read when a pod has
 * ended, at start, and now and then. What is to be dropped decides ipam/reconcile.h.
 */
#ifndef KVRAIL_CONTROLLER_ADDRESSES_H
#define KVRAIL_CONTROLLER_ADDRESSES_H

#include <pthread.h>

#include "base/arena.h"
#include "store/kube.h"

struct controller;
struct addresses;

struct addresses *addresses_new(void);
struct addresses *addresses_free(struct addresses *ad); /* NULL is fine; returns NULL */

/* What is kept of a pod: an informer's keep. */
const char *addresses_keep_pod(void *arg, struct arena *a, yyjson_val *obj);

/* A pod changed. True: it ended or went, so that addresses_run() is due. Thread safe. */
bool addresses_pod_event(struct addresses *ad, const struct informer_object *was, const struct informer_object *is);

/*
 * Read the pools and give back what is orphaned for long enough. In the worker's thread, only while leading. Returns in how many seconds it is due
 * again; 0: only when a pod ends.
 */
unsigned addresses_run(struct addresses *ad, struct controller *c);

/* Dropped entries and reservations since start, and entries that stay only because their node is away: for the metrics. */
void addresses_counts(struct addresses *ad, uint64_t *dropped, uint64_t *held);

#endif
