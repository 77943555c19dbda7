/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes a second by pod and rail: two looks at the agent's counters, and the difference. */
#include <string.h>

#include "base/clock.h"
#include "cmd/cmd.h"

struct options {
	uint64_t interval, count;
	const char *pod;
};

static const struct cmd_option options[] = {
	{ "interval", 'i', CMD_UINT, offsetof(struct options, interval), "SECONDS", NULL, "how long between two looks (default 2, at most 3600)" },
	{ "count", 'n', CMD_UINT, offsetof(struct options, count), "N", NULL, "end after N tables (default: on a terminal go on, else 1)" },
	{ "pod", 'p', CMD_STRING, offsetof(struct options, pod), "[NAMESPACE/]POD", NULL, "only this one" },
};

static const char *const keys[4] = { "rdmaRxBytes", "rdmaTxBytes", "tcpRxBytes", "tcpTxBytes" };
static const char *const rates[4] = { "rdmaRxPerSecond", "rdmaTxPerSecond", "tcpRxPerSecond", "tcpTxPerSecond" };

static bool same_str(yyjson_val *a, yyjson_val *b, const char *key)
{
	const char *x = doc_str(a, key), *y = doc_str(b, key);

	return !strcmp(x ? x : "", y ? y : "");
}

/* The same rail in an earlier look, or NULL. */
static yyjson_val *before(yyjson_val *look, yyjson_val *rail)
{
	yyjson_val *r;
	size_t i, max;

	yyjson_arr_foreach(yyjson_obj_get(look, "rails"), i, max, r)
		if (same_str(r, rail, "namespace") && same_str(r, rail, "pod") && same_str(r, rail, "ifname"))
			return r;
	return NULL;
}

/* Bytes a second; -1: not known. A counter that fell belongs to another device by now. */
static double rate(yyjson_val *was, yyjson_val *is, const char *key, double seconds)
{
	yyjson_val *a = yyjson_obj_get(was, key), *b = yyjson_obj_get(is, key);

	if (!yyjson_is_uint(a) || !yyjson_is_uint(b) || yyjson_get_uint(b) < yyjson_get_uint(a) || seconds <= 0)
		return -1;
	return (double)(yyjson_get_uint(b) - yyjson_get_uint(a)) / seconds;
}

static const char *human(struct arena *a, double v)
{
	static const char *const units[] = { "B/s", "kB/s", "MB/s", "GB/s" };
	size_t u = 0;

	if (v < 0)
		return NULL;
	while (v >= 999.5 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1000;
		u++;
	}
	return arena_printf(a, v < 9.995 && u ? "%.2f %s" : v < 99.95 && u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static bool is_wanted(const char *pod, yyjson_val *rail)
{
	const char *ns = doc_str(rail, "namespace"), *name = doc_str(rail, "pod"), *slash = pod ? strchr(pod, '/') : NULL;

	if (!pod)
		return true;
	if (slash && (!ns || strlen(ns) != (size_t)(slash - pod) || strncmp(ns, pod, strlen(ns))))
		return false;
	return name && !strcmp(name, slash ? slash + 1 : pod);
}

static void table(struct cmd_run *run, yyjson_val *was, yyjson_val *is, double seconds)
{
	static const char *const heads[] = { "POD", "NETWORK", "IFACE", "RDMA", "RDMA IN", "RDMA OUT", "TCP IN", "TCP OUT", NULL };
	const struct options *o = run->options;
	struct arena *a = run->arena;
	struct out_table *t = out_table_new(a, heads);
	yyjson_val *rail;
	size_t i, max, shown = 0;

	yyjson_arr_foreach(yyjson_obj_get(is, "rails"), i, max, rail) {
		yyjson_val *old = before(was, rail);
		const char *rdma = doc_str(rail, "rdma"), *ns = doc_str(rail, "namespace"), *name = doc_str(rail, "pod");
		const char *cells[8] = { arena_printf(a, "%s/%s", ns ? ns : "-", name ? name : "-"), doc_str(rail, "network"), doc_str(rail, "ifname"),
					 rdma && doc_bool(rail, "soft", false) ? arena_printf(a, "%s (soft)", rdma) : rdma };

		if (!is_wanted(o->pod, rail))
			continue;
		for (size_t k = 0; k < 4; k++)
			cells[4 + k] = human(a, rate(old, rail, keys[k], seconds));
		if (doc_str(rail, "problem"))
			cells[4] = doc_str(rail, "problem");
		out_row(t, cells, ARRAY_SIZE(cells));
		shown++;
	}
	if (shown)
		out_table_print(t);
	else
		puts(o->pod ? "no rail of that pod is on this node" : "no pods are attached");
}

/* The look itself, and the rates beside its sums. */
static void value(struct cmd_run *run, yyjson_val *was, yyjson_val *is, double seconds)
{
	const struct options *o = run->options;
	yyjson_mut_doc *doc = doc_new(run->arena);
	yyjson_mut_val *v = yyjson_mut_obj(doc), *list = yyjson_mut_arr(doc);
	yyjson_val *rail;
	size_t i, max;

	yyjson_mut_obj_add_str(doc, v, "node", doc_str(is, "node"));
	yyjson_mut_obj_add_real(doc, v, "seconds", seconds);
	yyjson_arr_foreach(yyjson_obj_get(is, "rails"), i, max, rail) {
		yyjson_mut_val *copy = yyjson_val_mut_copy(doc, rail);

		if (!is_wanted(o->pod, rail))
			continue;
		for (size_t k = 0; k < 4; k++) {
			double r = rate(before(was, rail), rail, keys[k], seconds);

			if (r >= 0)
				yyjson_mut_obj_add_real(doc, copy, rates[k], r);
		}
		yyjson_mut_arr_append(list, copy);
	}
	yyjson_mut_obj_add_val(doc, v, "rails", list);
	out_value(run, v);
}

static double seconds_between(yyjson_val *was, yyjson_val *is)
{
	return (double)(doc_int(is, "timeNs", 0) - doc_int(was, "timeNs", 0)) / 1e9;
}

static void show(struct cmd_run *run, yyjson_val *was, yyjson_val *is, bool terminal)
{
	if (terminal)
		fputs("\033[H\033[J", stdout);
	if (run->output == OUT_TABLE)
		table(run, was, is, seconds_between(was, is));
	else
		value(run, was, is, seconds_between(was, is));
	fflush(stdout);
}

static int run_top(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	bool terminal = isatty(STDOUT_FILENO) && run->output == OUT_TABLE;
	uint64_t interval = o->interval ? o->interval : 2, left = o->count ? o->count : terminal ? UINT64_MAX : 1;
	struct cmd_run look = *run; /* each look has an arena of its own: it may go on for days */
	struct arena *last;
	yyjson_val *was, *is;
	int r;

	if (interval > 3600) {
		err_set(e, -EINVAL, "--interval: %lu seconds are more than an hour", (unsigned long)interval);
		return CMD_USAGE;
	}
	last = arena_new();
	look.arena = last;
	r = cmd_agent(&look, "GET", "/kvrail/counters", NULL, &was, e);
	while (r == 0 && left--) {
		clock_sleep_ms((unsigned)interval * 1000);
		look.arena = arena_new();
		r = cmd_agent(&look, "GET", "/kvrail/counters", NULL, &is, e);
		if (r == 0)
			show(&look, was, is, terminal);
		arena_free(last);
		last = look.arena;
		was = is;
	}
	arena_free(last);
	return r < 0 ? r : CMD_OK;
}

const struct cmd cmd_top = {
	.name = "top",
	.summary = "bytes a second of each pod's rails, by RDMA and by TCP",
	.usage = "[--interval SECONDS] [--count N] [--pod POD] [-o FORMAT]",
	.about = "Reads counters inside the pods' namespaces, twice, and shows the difference: what the RDMA device moved, and what went through\n"
		 "the kernel's own stack. A KV cache that shows under TCP did not take the path that it should.",
	.options = options, .n_options = ARRAY_SIZE(options), .options_size = sizeof(struct options),
	.output = true, .run = run_top,
};
