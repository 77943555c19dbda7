/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "provision/device.h"
#include "provision/facts.h"

#define READERS_MAX 8

/* The threads that read have an arena each; all live as long as the inventory. */
struct readers {
	struct inventory inventory; /* first: what the caller holds */
	struct arena *arenas[READERS_MAX];
};

struct scan {
	const struct sysroot *r;
	const char **names; /* of all PCI functions */
	struct device *devices;
	size_t n;
	atomic_size_t next;
};

struct reader_thread {
	struct scan *scan;
	struct arena *arena;
};

static void *read_devices(void *arg)
{
	struct reader_thread *t = arg;
	size_t i;

	while ((i = atomic_fetch_add(&t->scan->next, 1)) < t->scan->n)
		device_read(t->scan->r, t->arena, t->scan->names[i], &t->scan->devices[i]);
	return NULL;
}

/* This thread reads too, so that a thread that cannot be had only costs time. */
static void scan_all(struct scan *scan, struct readers *readers)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = cpus < 1 ? 1 : cpus > READERS_MAX ? READERS_MAX : (size_t)cpus, started = 0;
	struct reader_thread threads[READERS_MAX];
	pthread_t ids[READERS_MAX];

	for (size_t i = 0; i < n; i++) {
		readers->arenas[i] = arena_new();
		threads[i] = (struct reader_thread){ scan, readers->arenas[i] };
	}
	while (started + 1 < n && pthread_create(&ids[started], NULL, read_devices, &threads[started + 1]) == 0)
		started++;
	read_devices(&threads[0]);
	for (size_t i = 0; i < started; i++)
		pthread_join(ids[i], NULL);
}

/* sysfs_list() sorts names so */
static int compare_name(const void *a, const void *b)
{
	return strverscmp(*(const char *const *)a, *(const char *const *)b);
}

static struct device *find_device(struct scan *scan, const char *pci)
{
	const char **found = scan->n ? bsearch(&pci, scan->names, scan->n, sizeof(pci), compare_name) : NULL;

	return found ? &scan->devices[found - scan->names] : NULL;
}

static void add_vfs(struct inventory *inv, struct scan *scan, const struct device *dev, struct inventory_pf *pf)
{
	pf->vfs = arena_alloc(inv->arena, dev->n_vf_addresses * sizeof(*pf->vfs));
	for (size_t n = 0; n < dev->n_vf_addresses; n++) {
		struct device *found = find_device(scan, dev->vf_addresses[n]);
		struct inventory_vf *vf = &pf->vfs[pf->n_vfs++];

		if (found && found->kind == DEVICE_VF)
			*vf = found->vf;
		else if (!pf->problem)
			pf->problem = arena_printf(inv->arena, "virtfn%zu leads to %s, which is no VF of this machine", n,
						   dev->vf_addresses[n]);
		vf->pci = dev->vf_addresses[n];
		vf->index = (unsigned)n;
		vf->numa = pf->numa; /* a VF sits where its PF sits */
		vf->representor = n < dev->n_representors ? dev->representors[n] : NULL;
	}
}

static int compare_pci(const void *a, const void *b)
{
	const struct inventory_pf *x = a, *y = b;

	return strcmp(x->pci, y->pci);
}

static void collect(struct inventory *inv, struct scan *scan)
{
	for (size_t i = 0; i < scan->n; i++) {
		struct inventory_pf *pf;

		if (scan->devices[i].kind != DEVICE_PF)
			continue;
		pf = arena_push(inv->arena, &inv->pfs, &inv->n_pfs, sizeof(*pf));
		*pf = scan->devices[i].pf;
		add_vfs(inv, scan, &scan->devices[i], pf);
	}
	if (inv->n_pfs)
		qsort(inv->pfs, inv->n_pfs, sizeof(*inv->pfs), compare_pci);
}

void inventory_warn(struct inventory *inv, const char *text)
{
	const char **w = arena_push(inv->arena, &inv->warnings, &inv->n_warnings, sizeof(*w));

	*w = arena_strdup(inv->arena, text);
}

static void read_machine(const struct sysroot *r, struct inventory *inv)
{
	_cleanup_free_ char *id = NULL;
	const char **groups;
	size_t n;

	inv->live = sysroot_is_live(r);
	if (procfs_read(r, inv->arena, &inv->hostname, "sys/kernel/hostname") < 0)
		inv->hostname = NULL;
	if (procfs_read(r, inv->arena, &inv->kernel, "sys/kernel/osrelease") < 0)
		inv->kernel = NULL;
	if (!inv->live || file_read(AT_FDCWD, "/etc/machine-id", 256, &id, NULL) < 0)
		id = NULL;
	inv->identity = arena_printf(inv->arena, "%.*s/%s", id ? (int)strcspn(id, "\n") : 0, id ? id : "",
				     inv->hostname ? inv->hostname : "");
	inv->iommu = sysfs_list(r, inv->arena, &groups, &n, "kernel/iommu_groups") == 0 && n > 0;
}

int inventory_read(const struct sysroot *r, struct inventory **ret, struct err *e)
{
	struct readers *readers = calloc(1, sizeof(*readers));
	struct inventory *inv;
	struct scan scan = { .r = r };
	int x;

	if (!readers)
		abort();
	inv = &readers->inventory;
	inv->arena = arena_new();
	read_machine(r, inv);
	x = sysfs_list(r, inv->arena, &scan.names, &scan.n, DEVICES);
	if (x == -ENOENT) {
		inventory_warn(inv, "there is no PCI bus here (sys/" DEVICES ")");
		scan.n = 0;
	} else if (x < 0) {
		inventory_free(inv);
		return err_errno(e, x, "cannot list the PCI devices (sys/" DEVICES ")");
	}
	scan.devices = calloc(scan.n ? scan.n : 1, sizeof(*scan.devices));
	if (!scan.devices)
		abort();
	scan_all(&scan, readers);
	collect(inv, &scan);
	free(scan.devices);
	facts_add(r, inv);
	*ret = inv;
	return 0;
}

struct inventory *inventory_free(struct inventory *i)
{
	struct readers *readers = (struct readers *)i;

	if (!i)
		return NULL;
	arena_free(i->arena);
	for (size_t k = 0; k < READERS_MAX; k++)
		arena_free(readers->arenas[k]);
	free(readers);
	return NULL;
}

const struct inventory_pf *inventory_pf(const struct inventory *i, const char *pci)
{
	for (size_t k = 0; k < i->n_pfs; k++)
		if (strcasecmp(i->pfs[k].pci, pci) == 0)
			return &i->pfs[k];
	return NULL;
}
