/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Lease in an election, as client-go's leaderelection and resourcelock.LeaseLock read and write it: a record is expired when our own clock
 * did not see it change for its leaseDurationSeconds; acquireTime and leaseTransitions change with the holder.
 */
#include <string.h>
#include <time.h>

#include "store/election.h"

void lease_now(char *buf)
{
	struct timespec t;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &tm);
	snprintf(buf + strftime(buf, 20, "%Y-%m-%dT%H:%M:%S", &tm), 9, ".%06uZ", (unsigned)(t.tv_nsec / 1000) % 1000000);
}

static bool set(char *at, size_t size, const char *s)
{
	char old[256];

	snprintf(old, sizeof(old), "%s", at);
	snprintf(at, size, "%s", s ? s : "");
	return strcmp(old, at) != 0;
}

void lease_note(struct lease_seen *l, yyjson_val *spec, uint64_t now_ns)
{
	int64_t duration_s = doc_int(spec, "leaseDurationSeconds", 0), transitions = doc_int(spec, "leaseTransitions", 0);
	bool changed = l->since_ns == 0 || duration_s != l->duration_s || transitions != l->transitions;

	changed |= set(l->holder, sizeof(l->holder), doc_str(spec, "holderIdentity"));
	changed |= set(l->acquired, sizeof(l->acquired), doc_str(spec, "acquireTime"));
	changed |= set(l->renewed, sizeof(l->renewed), doc_str(spec, "renewTime"));
	l->duration_s = duration_s;
	l->transitions = transitions;
	if (changed)
		l->since_ns = now_ns;
}

bool lease_is_free(const struct lease_seen *l, const char *identity, uint64_t now_ns)
{
	if (!*l->holder || !strcmp(l->holder, identity))
		return true;
	return now_ns >= l->since_ns + (uint64_t)(l->duration_s > 0 ? l->duration_s : 0) * 1000000000ull;
}

yyjson_mut_val *lease_spec(yyjson_mut_doc *doc, yyjson_val *old, const struct lease_seen *l, const char *identity, int64_t duration_s,
			   const char *now)
{
	static const char *const ours[] = { "holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaseTransitions" };
	bool same = !strcmp(l->holder, identity);
	yyjson_mut_val *spec = old ? yyjson_val_mut_copy(doc, old) : yyjson_mut_obj(doc);

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		yyjson_mut_obj_remove_key(spec, ours[i]);
	yyjson_mut_obj_add_strcpy(doc, spec, "holderIdentity", identity);
	yyjson_mut_obj_add_int(doc, spec, "leaseDurationSeconds", duration_s);
	yyjson_mut_obj_add_strcpy(doc, spec, "acquireTime", same && *l->acquired ? l->acquired : now);
	yyjson_mut_obj_add_strcpy(doc, spec, "renewTime", now);
	yyjson_mut_obj_add_int(doc, spec, "leaseTransitions", l->since_ns == 0 ? 0 : l->transitions + !same);
	return spec;
}

yyjson_mut_val *lease_spec_released(yyjson_mut_doc *doc, const struct lease_seen *l, const char *now)
{
	yyjson_mut_val *spec = yyjson_mut_obj(doc);

	/* one second: a candidate that does not look at the holder waits no longer (client-go: LeaderElector.release) */
	yyjson_mut_obj_add_int(doc, spec, "leaseDurationSeconds", 1);
	yyjson_mut_obj_add_strcpy(doc, spec, "acquireTime", now);
	yyjson_mut_obj_add_strcpy(doc, spec, "renewTime", now);
	yyjson_mut_obj_add_int(doc, spec, "leaseTransitions", l->transitions);
	return spec;
}
