/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CNI requests whose shim runs plugins of other makers for the agent. Such a request is a conversation: its work goes on in a
 * thread of its own; each answer to the shim is either an order to run a plugin, or the final reply; what the plugin did comes back as the
 * next request, POST /cni/exec. One that is left alone by its shim (killed, timed out) goes on without it.
 */
#ifndef KVRAIL_AGENT_HOSTRUN_H
#define KVRAIL_AGENT_HOSTRUN_H

#include "attach/attach.h"
#include "rpc/httpd.h"

struct hostrun;

/* @socket: where shims ask; SOCKET.shims is made, by which they show that they live (cni/agent.h). */
struct hostrun *hostrun_new(const char *socket);
/* Waits for conversations that are under way: their shims are told to try again. NULL is fine; returns NULL. */
struct hostrun *hostrun_free(struct hostrun *p);

/*
 * Run @work with a caller for struct cni_env, and answer @rq with an order or with what @work put into *status and *text (in @a).
 * @arg is copied (@size bytes); what it points to must live in @a, which is the conversation's. @alive: the number that the shim sent, 0: none.
 */
typedef void (*hostrun_work)(void *arg, struct arena *a, void *caller, int *status, const char **text);
void hostrun_begin(struct hostrun *p, struct arena *a, hostrun_work work, const void *arg, size_t size, long alive, struct httpd_request *rq,
		   struct httpd_reply *reply);
/* POST /cni/exec */
void hostrun_go_on(struct hostrun *p, struct httpd_request *rq, struct httpd_reply *reply);

/* For struct attach_cluster. */
int hostrun_run(void *caller, struct arena *a, const char *path, const char *const *env, const char *in, size_t in_len,
		unsigned timeout_s, struct attach_ran *ret, struct err *e);

#endif
