/* SPDX-License-Identifier: Apache-2.0 */
/* -f FILE: from manifest files to decoded objects, for every command that takes them. */
#ifndef KVRAIL_CMD_MANIFESTS_H
#define KVRAIL_CMD_MANIFESTS_H

#include "api/meta.h"
#include "cmd/cmd.h"

struct manifest {
	const char *source;
	unsigned line; /* where it begins */
	const struct doc *doc; /* for the lines of its fields */
	const struct api_kind *kind;
	void *object;	   /* struct of that kind */
	yyjson_val *value; /* as it was written */
	const struct complaint *broken; /* rules that a lenient load let pass, with their lines; nobody has been told */
	size_t n_broken;
};

/*
 * Read all files ("-": stdin; a folder: the .yaml, .yml and .json files in it) in their order; Lists are unfolded. Complaints go to stderr as
 * "FILE:LINE: KIND NAME: spec.mtu: 64 is below 68", warnings with "warning: " in front. A kind that kvrail
 * does not know is left out with a warning. With @strict warnings are errors.
 * -EINVAL after any error: @e counts them; nothing is returned.
 */
int manifests_load(struct cmd_run *run, const struct cmd_strings *files, bool strict, struct manifest **ret, size_t *ret_n,
		   struct err *e);

/* As above for who takes an object that is well formed and breaks a rule of its kind: see manifest.broken. */
int manifests_load_lenient(struct cmd_run *run, const struct cmd_strings *files, struct manifest **ret, size_t *ret_n,
			   struct err *e);

/* As manifests_load() for an API server, which may know kinds that kvrail does not: those are there with kind and object NULL. */
int manifests_load_any(struct cmd_run *run, const struct cmd_strings *files, bool strict, struct manifest **ret, size_t *ret_n,
		       struct err *e);
/* As above for who reads kinds of its own: a document that @take returns true for is its business. */
typedef bool (*manifests_take)(void *arg, const struct doc *d);
int manifests_load_taking(struct cmd_run *run, const struct cmd_strings *files, manifests_take take, void *arg, struct manifest **ret,
			  size_t *ret_n, struct err *e);

/*
 * Does the SR-IOV operator see the object, whose namespace is @namespace (NULL: nobody knows)? It lists its own alone; an object that names
 * none goes there.
 */
bool manifest_counts(const struct manifest *m, const char *namespace);
/* The objects of one kind that count, as an array of pointers to its struct. */
const void **manifests_of(struct arena *a, const struct manifest *m, size_t n, const char *kind, const char *namespace, size_t *ret_n);

#endif
