/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the running controller. */
#ifndef KVRAIL_CONTROLLER_STATE_H
#define KVRAIL_CONTROLLER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/metrics.h"
#include "controller/addresses.h"
#include "controller/role.h"
#include "controller/webhook.h"
#include "controller/world.h"
#include "controller/write.h"

/* What the worker does, each when something woke it or its time has come. */
enum controller_task {
	TASK_PASS,	/* policies, nodes, networks */
	TASK_ADDRESSES, /* IP pools */
	TASK_WEBHOOK,	/* certificates */
	TASKS,
};

enum { COUNT_APPLY, COUNT_PATCH, COUNT_MERGE, COUNT_DELETE, COUNT_VERBS };

struct controller {
	const struct controller_options *options;
	struct kube *kube;
	struct election *election;
	struct kube_events *events;
	struct informer *informers[WORLD_KINDS]; /* changed by the worker, under ->watching */
	pthread_mutex_t watching;
	struct memos memos;		/* the worker's */
	uint64_t unsynced_ns;		/* since when lists are missing; 0: none is */
	struct addresses *addresses;
	struct webhook_options webhook_options;
	struct webhook *webhook;	/* NULL: none is served */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stop, leading;		/* these under the lock */
	bool dirty[TASKS];
	uint64_t due_ns[TASKS];		/* 0: not */
	char problem[TASKS][ERR_MSG_MAX]; /* what stands in the way of each; "": nothing */
	struct err failure;		/* why the start failed; read when its thread has ended */
	_Atomic bool started;		/* the kinds are there and this replica is a candidate */

	unsigned streak;		/* passes on end that wrote something */
	uint64_t mute_kinds;		/* bit of api_kinds[]: its CRD takes no conditions, none are written */
	unsigned long crash_at, writes; /* development: die before the n-th write */

	_Atomic uint64_t passes, written[COUNT_VERBS], write_failures, conflicts;
	struct metrics_histogram pass_seconds;
};

/* The task is due, now or in @in_s seconds. Thread safe. */
void controller_wake(struct controller *c, enum controller_task task);
void controller_wake_in(struct controller *c, enum controller_task task, unsigned in_s);

bool controller_leads(struct controller *c);
/* For the worker, before each write: leading, and the lease was renewed lately enough that nobody else can. */
bool controller_may_write(struct controller *c);

/* Note what stands in a task's way (NULL: nothing more), logged when it is news. */
void controller_problem(struct controller *c, enum controller_task task, const char *text);

/* Before each write: counts it, and dies there when development asked for it. */
void controller_before_write(struct controller *c);

/* Do what a pass wants. Returns how many writes failed in a way that another try may mend. */
size_t controller_execute(struct controller *c, struct writes *w);

/* The worker: passes while this replica leads. Ends when ->stop. */
void *controller_worker(void *c);

/* Watch a kind, if that is not done yet. */
int controller_watch(struct controller *c, enum world_kind kind, struct err *e);

/* Wait until the API server has all kinds that are needed, saying which it lacks. -ECANCELED: ->stop. */
int controller_preflight(struct controller *c);

#endif
