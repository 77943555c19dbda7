/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: what a candidate has seen of a Lease, and what follows from it. */
#ifndef KVRAIL_STORE_ELECTION_H
#define KVRAIL_STORE_ELECTION_H

#include "store/kube-private.h"

/* The spec as it was last seen to change, by our own clock. */
struct lease_seen {
	char holder[256], acquired[64], renewed[64];
	int64_t duration_s, transitions;
	uint64_t since_ns; /* 0: never seen */
};

/* Note the spec of a Lease that was read at @now_ns; a spec that did not change keeps its time. */
void lease_note(struct lease_seen *l, yyjson_val *spec, uint64_t now_ns);

/* May @identity take it? When nobody holds it, when it does itself, or when the holder let it expire. */
bool lease_is_free(const struct lease_seen *l, const char *identity, uint64_t now_ns);

/* The spec that @identity writes, with the members of @old (may be NULL) that an election does not know. */
yyjson_mut_val *lease_spec(yyjson_mut_doc *doc, yyjson_val *old, const struct lease_seen *l, const char *identity, int64_t duration_s,
			   const char *now);

/* The spec that gives it back. */
yyjson_mut_val *lease_spec_released(yyjson_mut_doc *doc, const struct lease_seen *l, const char *now);

/* "2026-01-31T09:00:00.123456Z" into @buf of at least 28 bytes. */
void lease_now(char *buf);

#endif
