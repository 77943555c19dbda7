/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cmd/cmd.h"
#include "provision/inventory.h"

struct options {
	const char *root, *record;
	bool mask;
};

static const struct cmd_option options[] = {
	{ "root", 0, CMD_STRING, offsetof(struct options, root), "TREE", NULL,
	  "read this recorded tree instead of the running machine" },
	{ "record", 0, CMD_STRING, offsetof(struct options, record), "FILE.tar", NULL,
	  "capture what is read, errors included, for --root and for bug reports" },
	{ "mask", 0, CMD_FLAG, offsetof(struct options, mask), NULL, NULL,
	  "with --record: put random digits for addresses, GUIDs and the host name" },
};

static const char *link_cell(struct arena *a, const struct inventory_pf *pf)
{
	const char *kind = strcmp(pf->link_layer, "infiniband") == 0 ? "IB" : "ETH";

	if (!pf->netdev)
		return kind;
	return arena_printf(a, "%s %s", kind, !pf->admin_up ? "down" : pf->carrier ? "up" : "no carrier");
}

static const char *speed_cell(struct arena *a, int64_t mbit)
{
	if (mbit <= 0)
		return NULL;
	if (mbit % 1000)
		return arena_printf(a, "%lldM", (long long)mbit);
	return arena_printf(a, "%lldG", (long long)mbit / 1000);
}


static void add_port(struct out_table *t, struct arena *a, const struct inventory_pf *pf)
{
	const char *cells[] = {
		pf->pci,
		pf->driver ? pf->driver : "(none)",
		arena_printf(a, "%s:%s", pf->vendor, pf->device),
		pf->model,
		pf->netdev,
		link_cell(a, pf),
		speed_cell(a, pf->speed),
		pf->mtu ? arena_printf(a, "%lld", (long long)pf->mtu) : NULL,
		pf->numa >= 0 ? arena_printf(a, "%d", pf->numa) : NULL,
		pf->sriov ? arena_printf(a, "%lld/%lld", (long long)pf->num_vfs, (long long)pf->total_vfs) : NULL,
		pf->rdma,
		pf->eswitch,
		pf->fw,
	};

	out_row(t, cells, ARRAY_SIZE(cells));
}

static void print_inventory(struct cmd_run *run, const struct inventory *inv)
{
	static const char *const heads[] = { "PCI ADDRESS", "DRIVER", "ID",  "MODEL", "NETDEV",	  "LINK",     "SPEED",
					     "MTU",	    "NUMA",   "VFS", "RDMA",  "E-SWITCH", "FIRMWARE", NULL };
	struct out_table *t = out_table_new(run->arena, heads);

	for (size_t i = 0; i < inv->n_pfs; i++)
		add_port(t, run->arena, &inv->pfs[i]);
	out_table_print(t);
	for (size_t i = 0; i < inv->n_pfs; i++)
		if (inv->pfs[i].problem)
			printf("%s%s: %s%s\n", out_color(OUT_BAD), inv->pfs[i].pci, inv->pfs[i].problem,
			       out_color(OUT_PLAIN));
	if (inv->rdma_mode)
		printf("RDMA subsystem: %s\n", inv->rdma_mode);
	for (size_t i = 0; i < inv->n_pfs; i++)
		if (inv->pfs[i].default_route)
			printf("%s carries the default route: policies never select it\n", inv->pfs[i].netdev);
}

static int run_inventory(struct cmd_run *run, struct err *e)
{
	const struct options *o = run->options;
	struct inventory *inv = NULL;
	struct sysroot *root = NULL;
	int x;

	if (o->mask && !o->record) {
		fputs("kvrail: --mask goes with --record FILE.tar\n", stderr);
		return CMD_USAGE;
	}
	x = sysroot_open(o->root, &root, e);
	if (x < 0)
		return x;
	if (o->record) {
		x = inventory_record(root, o->record, o->mask, e);
		sysroot_close(root);
		return x < 0 ? x : CMD_OK;
	}
	x = inventory_read(root, &inv, e);
	if (x == 0) {
		for (size_t i = 0; i < inv->n_warnings; i++)
			fprintf(stderr, "warning: %s\n", inv->warnings[i]);
		if (run->output == OUT_TABLE)
			print_inventory(run, inv);
		else
			out_value(run, inventory_json(inv, doc_new(run->arena)));
	}
	inventory_free(inv);
	sysroot_close(root);
	return x < 0 ? x : CMD_OK;
}

const struct cmd cmd_inventory = {
	.name = "inventory",
	.summary = "the node's network ports and their VFs",
	.usage = "[--root TREE] [--record FILE.tar [--mask]] [-o FORMAT]",
	.about = "Shows every network port on the PCI bus: driver, link, MTU, NUMA node, VFs now and possible, RDMA device,\n"
		 "e-switch mode and firmware. Needs neither root nor an agent; without root the e-switch mode may be missing.",
	.options = options,
	.n_options = ARRAY_SIZE(options),
	.options_size = sizeof(struct options),
	.output = true,
	.run = run_inventory,
};
