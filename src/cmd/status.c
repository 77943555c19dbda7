/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cmd/cmd.h"
#include "linux/pci.h"

/* Hard-coded by KServe's manifests and by much advice: shown beside what was measured. */
#define MANIFEST_GID_INDEX 3

static const char *join(struct arena *a, yyjson_val *list)
{
	char *s = NULL;
	yyjson_val *v;
	size_t i, max;

	yyjson_arr_foreach(list, i, max, v)
		if (yyjson_is_str(v))
			s = arena_printf(a, "%s%s%s", s ? s : "", s ? " " : "", yyjson_get_str(v));
	return s;
}

static const char *gid_cell(struct arena *a, yyjson_val *rail)
{
	yyjson_val *gid = yyjson_obj_get(rail, "gid");
	int64_t index = doc_int(gid, "index", -1);

	if (index < 0)
		return NULL;
	if (index == MANIFEST_GID_INDEX)
		return arena_printf(a, "%lld", (long long)index);
	return arena_printf(a, "%lld (manifests say %d)", (long long)index, MANIFEST_GID_INDEX);
}

/* "net1"; of a VF that user space drives it is a name on paper. */
static const char *ifname_cell(struct arena *a, yyjson_val *rail)
{
	const char *ifname = doc_str(rail, "ifname"), *driver = doc_str(rail, "driver");

	return pci_is_user_space_driver(driver) ? arena_printf(a, "%s (%s: no interface)", ifname, driver) : ifname;
}

static void print_attachments(struct cmd_run *run, yyjson_val *list)
{
	static const char *const heads[] = { "POD", "NETWORK", "IFACE", "VF", "PF", "MAC", "ADDRESS", "MTU", "RDMA", "GID INDEX", "STATE", NULL };
	struct out_table *t = out_table_new(run->arena, heads);
	struct arena *a = run->arena;
	yyjson_val *at, *rail;
	size_t i, j, max, jmax;

	yyjson_arr_foreach(list, i, max, at) {
		yyjson_val *pod = yyjson_obj_get(at, "pod");

		yyjson_arr_foreach(yyjson_obj_get(at, "rails"), j, jmax, rail) {
			const char *rdma = doc_str(rail, "rdma"), *ns = doc_str(pod, "namespace"), *name = doc_str(pod, "name");
			const char *cells[] = {
				arena_printf(a, "%s/%s", ns ? ns : "-", name ? name : "-"), doc_str(rail, "network"),
				ifname_cell(a, rail), doc_str(rail, "vf"), doc_str(rail, "pf"), doc_str(rail, "mac"),
				join(a, yyjson_obj_get(rail, "addresses")),
				arena_printf(a, "%lld", (long long)doc_int(rail, "mtu", 0)),
				rdma && doc_bool(rail, "soft", false) ? arena_printf(a, "%s (soft RoCE)", rdma) : rdma,
				gid_cell(a, rail), doc_str(at, "state"),
			};

			out_row(t, cells, ARRAY_SIZE(cells));
		}
	}
	out_table_print(t);
}

static void print_pools(struct cmd_run *run, yyjson_val *pools)
{
	static const char *const heads[] = { "RESOURCE", "FREE", "TOTAL", NULL };
	struct out_table *t = out_table_new(run->arena, heads);
	yyjson_val *pool;
	size_t i, max;

	yyjson_arr_foreach(pools, i, max, pool) {
		const char *cells[] = { doc_str(pool, "resource"),
					arena_printf(run->arena, "%lld", (long long)doc_int(pool, "free", 0)),
					arena_printf(run->arena, "%lld", (long long)doc_int(pool, "total", 0)) };

		out_row(t, cells, ARRAY_SIZE(cells));
	}
	out_table_print(t);
}

static void print_warnings(struct arena *a, yyjson_val *attachments)
{
	yyjson_val *at, *rail, *w;
	size_t i, j, k, max, jmax, kmax;

	yyjson_arr_foreach(attachments, i, max, at) {
		yyjson_arr_foreach(yyjson_obj_get(at, "warnings"), k, kmax, w)
			printf("%swarning%s %s: %s\n", out_color(OUT_WARN), out_color(OUT_PLAIN),
			       doc_str(yyjson_obj_get(at, "pod"), "name"), out_plain(a, yyjson_get_str(w)));
		yyjson_arr_foreach(yyjson_obj_get(at, "rails"), j, jmax, rail)
			yyjson_arr_foreach(yyjson_obj_get(rail, "warnings"), k, kmax, w)
				printf("%swarning%s %s %s: %s\n", out_color(OUT_WARN), out_color(OUT_PLAIN),
				       doc_str(yyjson_obj_get(at, "pod"), "name"), out_plain(a, doc_str(rail, "ifname")), out_plain(a, yyjson_get_str(w)));
	}
}

static int run_status(struct cmd_run *run, struct err *e)
{
	yyjson_val *v, *agent, *problem, *pools, *attachments, *cluster;
	size_t i, max;
	int r;

	r = cmd_agent(run, "GET", "/kvrail/status", NULL, &v, e);
	if (r < 0)
		return r;
	if (run->output != OUT_TABLE) {
		out_value(run, yyjson_val_mut_copy(doc_new(run->arena), v));
		return CMD_OK;
	}
	agent = yyjson_obj_get(v, "agent");
	pools = yyjson_obj_get(v, "pools");
	attachments = yyjson_obj_get(v, "attachments");
	cluster = yyjson_obj_get(v, "cluster");
	printf("node %s, agent %s%s%s%s%s\n", doc_str(v, "node"), doc_str(agent, "version"), cluster ? ", cluster " : "",
	       cluster ? doc_str(cluster, "server") : "",
	       doc_bool(agent, "softRoce", false) ? ", soft RoCE (development)" : "",
	       doc_bool(agent, "applying", false) ? ", an apply is running" : "");
	yyjson_arr_foreach(yyjson_obj_get(v, "problems"), i, max, problem)
		printf("%sproblem%s %s\n", out_color(OUT_BAD), out_color(OUT_PLAIN), out_plain(run->arena, yyjson_get_str(problem)));
	if (yyjson_arr_size(pools)) {
		putchar('\n');
		print_pools(run, pools);
	} else {
		puts("no resources: no policy gives this node VFs");
	}
	if (yyjson_arr_size(attachments)) {
		putchar('\n');
		print_attachments(run, attachments);
		print_warnings(run->arena, attachments);
	} else {
		puts("no pods are attached");
	}
	return CMD_OK;
}

const struct cmd cmd_status = {
	.name = "status", .summary = "what this node has and who uses it",
	.usage = "[-o FORMAT]",
	.about = "GID INDEX is measured in the pod's namespace: the RoCE v2 entry of the pod's own address.",
	.options_size = 1, .output = true, .run = run_status,
};
