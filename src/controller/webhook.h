/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admission server of every replica, and the leader's care for its certificates: the Secret that they share, and the bundle in the
 * webhook configurations of the cluster.
 */
#ifndef KVRAIL_CONTROLLER_WEBHOOK_H
#define KVRAIL_CONTROLLER_WEBHOOK_H

#include "base/strbuf.h"
#include "controller/admit.h"
#include "store/kube.h"

struct controller;
struct webhook;

struct webhook_options {
	const char *address;	   /* "HOST:PORT" */
	const char *const *names;  /* that the API server may know the server by, NULL-terminated */
	const char *namespace;	   /* where policies count */
	const char *home;	   /* ours: of the Secret */
	const char *configuration; /* name of the Mutating- and ValidatingWebhookConfiguration */
	void (*wake)(void *arg);   /* webhook_care() is due */
	void *arg;
};

/* @nads: the informer of NADs (world.h). The server starts when there is a certificate. The options must stay. */
int webhook_start(struct kube *k, struct informer *nads, const struct webhook_options *o, struct webhook **ret, struct err *e);
struct webhook *webhook_stop(struct webhook *w); /* NULL is fine; returns NULL */

/* The leader's part: one step. Returns in how many seconds the next one is due; -errno: it failed, @e says why. */
int webhook_care(struct webhook *w, struct controller *c, struct err *e);

/*
 * Serving? And, for the @leader, do the cluster's webhook configurations trust what is served: who waits for the rollout can create pods and
 * policies then. False: @why.
 */
bool webhook_ready(struct webhook *w, bool leader, struct err *why);

void webhook_metrics(struct webhook *w, struct strbuf *b);

#endif
