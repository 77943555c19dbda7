/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pass of the controller wants to change at the API server, as values: deciding is pure and tested without a server,
 * executing is one loop. A pass that was cut short anywhere is repeated from what is there.
 */
#ifndef KVRAIL_CONTROLLER_WRITE_H
#define KVRAIL_CONTROLLER_WRITE_H

#include "api/meta.h"

enum write_verb {
	WRITE_APPLY,  /* server-side apply of .json */
	WRITE_PATCH,  /* JSON patch, with tests inside */
	WRITE_MERGE,  /* merge patch; .json carries metadata.resourceVersion when it must be that very version */
	WRITE_DELETE, /* guarded by .uid and .version where these are given */
};

struct write {
	enum write_verb verb;
	const struct api_kind *kind;
	const char *ns, *name;
	const char *sub; /* "status" or NULL */
	const char *json;
	const char *uid, *version;
	/*
	 * An apply whose fields somebody else might write too: a conflict is not forced at once. The key of its struct
	 * memo, NULL when the fields are nobody else's.
	 */
	const char *contested;
	const char *wanted; /* what is compared with what is stored, as write_needed() takes it; NULL: nothing is remembered */
	bool mine; /* such a conflict may be forced: the object is known to be ours */
	unsigned group; /* not 0: when one of a group fails, the later ones of it wait for the next pass */
	const char *why; /* for the log: "node n1: policies changed" */
	/* Told as an event once this is written; .reason NULL: nothing to tell. */
	struct write_event {
		const struct api_kind *kind;
		const char *ns, *name, *uid; /* what it is about */
		bool warning;
		const char *reason, *message;
	} event;
};

struct writes {
	struct arena *arena;
	struct write *v;
	size_t n;
	unsigned groups; /* given out so far */
};

struct write *write_add(struct writes *w, enum write_verb verb, const struct api_kind *kind, const char *ns, const char *name);

/*
 * What the leader remembers of contested objects between passes (and forgets with its process: then a conflict is looked at anew).
 */
struct memo {
	char *key;
	uint64_t wanted, accepted; /* hashes of what was applied, and of what the server made of it; 0: nothing yet */
	uint64_t forced_ns;	   /* when fields were taken over last; 0: never */
	char *conflict;		   /* who writes these fields too, in the server's words; NULL: nobody */
	char *failure;		   /* why the last write failed, NULL: it did not */
	bool seen;		   /* in this pass */
};

struct memos {
	struct memo *v; /* sorted by key */
	size_t n, size;
};

/* NULL when @key is not there and not @make. Pointers move when another one is made. */
struct memo *memo_find(struct memos *m, const char *key, bool make);
/* Forget those that were not looked for since the last sweep. */
void memo_sweep(struct memos *m);
void memo_free(struct memos *m);

uint64_t write_hash(const char *text); /* never 0 */

/* Nobody else writes there, and the last write went well. */
void memo_settle(struct memos *m, const char *key);

/*
 * Must @wanted be applied where @stored (NULL: nothing) is? Not when they are equal, nor when @stored is what the server made of
 * just this at the last time.
 */
bool write_needed(struct memos *m, const char *key, const char *wanted, const char *stored);

#endif
