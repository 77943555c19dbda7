/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of ADD and of its undo, by name: what a test can stop at, in the order they happen. */
#ifndef KVRAIL_ATTACH_STEPS_H
#define KVRAIL_ATTACH_STEPS_H

#include <stdbool.h>
#include <stddef.h>

enum attach_step {
	STEP_JOURNAL,	   /* what was found and what will be set is written */
	STEP_DELEGATE,	   /* a plugin of another maker; the default network's comes first, others after the rails */
	STEP_ALLOCATE,	   /* addresses of all rails */
	STEP_VF_SETTINGS,  /* admin MAC, VLAN, rate, spoofchk, trust, link state, through the PF */
	STEP_MOVE,	   /* the netdev, into the pod's namespace under its new name */
	STEP_RDMA_MOVE,	   /* the RDMA device, before addresses: its GID table is made anew by the move; over InfiniBand before the netdev, for IPoIB's is too */
	STEP_RXE_ADD,	   /* soft RoCE: made on the netdev in the pod */
	STEP_RXE_MOVE,	   /* it was born in the initial namespace */
	STEP_LINK,	   /* MTU, MAC, sysctls, up */
	STEP_ADDRESSES,	   /* and routes */
	STEP_READ_BACK,	   /* what was promised is there */
	STEP_ANNOUNCE,	   /* gratuitous ARP, unsolicited neighbour advertisement */
	STEP_DEFAULT_ROUTE, /* one network's, instead of the others' */
	STEP_CDI,	   /* devices and environment for the containers, as file */
	STEP_STATUS,	   /* the pod's annotation network-status */
	STEP_READY,	   /* the journal says so */
	/* undo */
	STEP_DELETING,	   /* the journal says so */
	STEP_UNDO_CDI,	   /* and environment files */
	STEP_UNDO_DELEGATE, /* in reverse: the default network's is last */
	STEP_UNDO_RXE,
	STEP_UNDO_RDMA,
	STEP_UNDO_MOVE,	   /* the netdev, back under its own name */
	STEP_UNDO_SETTINGS,
	STEP_UNDO_LINK,	   /* MTU and MAC as found: a driver may take the MAC only after the PF gave it back */
	STEP_RELEASE,	   /* addresses */
	STEP_FORGET,	   /* the journal file goes */
	STEP_COUNT,
};

/* "add-journal", ... */
const char *step_name(enum attach_step s);

#endif
