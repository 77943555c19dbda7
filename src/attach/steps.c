/* SPDX-License-Identifier: Apache-2.0 */
#include "attach/attach.h"
#include "attach/steps.h"

static const char *const names[STEP_COUNT + 1] = {
	[STEP_JOURNAL] = "add-journal",
	[STEP_DELEGATE] = "add-delegate",
	[STEP_ALLOCATE] = "add-allocate",
	[STEP_VF_SETTINGS] = "add-vf-settings",
	[STEP_MOVE] = "add-move",
	[STEP_RDMA_MOVE] = "add-rdma-move",
	[STEP_RXE_ADD] = "add-rxe",
	[STEP_RXE_MOVE] = "add-rxe-move",
	[STEP_LINK] = "add-link",
	[STEP_ADDRESSES] = "add-addresses",
	[STEP_READ_BACK] = "add-read-back",
	[STEP_ANNOUNCE] = "add-announce",
	[STEP_DEFAULT_ROUTE] = "add-default-route",
	[STEP_CDI] = "add-cdi",
	[STEP_STATUS] = "add-status",
	[STEP_READY] = "add-ready",
	[STEP_DELETING] = "del-journal",
	[STEP_UNDO_CDI] = "del-cdi",
	[STEP_UNDO_DELEGATE] = "del-delegate",
	[STEP_UNDO_RXE] = "del-rxe",
	[STEP_UNDO_RDMA] = "del-rdma-move",
	[STEP_UNDO_MOVE] = "del-move",
	[STEP_UNDO_SETTINGS] = "del-vf-settings",
	[STEP_UNDO_LINK] = "del-link",
	[STEP_RELEASE] = "del-release",
	[STEP_FORGET] = "del-forget",
};

const char *step_name(enum attach_step s)
{
	return names[s];
}

const char *const *attach_steps(void)
{
	return names;
}
