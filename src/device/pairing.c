/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/strbuf.h"
#include "device/pairing.h"
#include "linux/pci.h"

int pairing_by_address(const char *x, const char *y)
{
	struct pci_addr a, b;
	bool ax = pci_parse(x, &a) == 0, by = pci_parse(y, &b) == 0;
	int r;

	if (!ax || !by)
		return ax != by ? by - ax : strcmp(x, y);
	r = (a.domain > b.domain) - (a.domain < b.domain);
	if (r == 0)
		r = a.bus - b.bus;
	if (r == 0)
		r = a.device - b.device;
	return r ? r : a.function - b.function;
}

/* Place of a container in the pod: of its first device in the list. */
static size_t place(const struct pairing_device *all, size_t n, const char *container)
{
	size_t i = 0;

	while (i < n && strcmp(all[i].container, container))
		i++;
	return i;
}

struct row {
	const struct pairing_device *all, *device;
	size_t n;
};

static int in_row(const void *x, const void *y)
{
	const struct row *rx = x, *ry = y;
	const struct pairing_device *a = rx->device, *b = ry->device;
	size_t pa = place(rx->all, rx->n, a->container), pb = place(rx->all, rx->n, b->container);
	int r = (pa > pb) - (pa < pb);

	if (r == 0)
		r = !a->pf_pci - !b->pf_pci;
	if (r == 0 && a->pf_pci)
		r = pairing_by_address(a->pf_pci, b->pf_pci);
	if (r == 0 && a->pf_pci)
		r = (a->index > b->index) - (a->index < b->index);
	return r ? r : pairing_by_address(a->id, b->id);
}

/* "openshift.io/p2rdma (2, container main), rdma/roce_gdr (1, container main)" or "nothing". */
static void given(struct strbuf *b, const struct pairing_device *d, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t count = 0;
		bool seen = false;

		for (size_t j = 0; j < n; j++)
			if (!strcmp(d[j].resource, d[i].resource) && !strcmp(d[j].container, d[i].container)) {
				count++;
				seen |= j < i;
			}
		if (!seen)
			strbuf_addf(b, "%s%s (%zu, container %s)", b->len ? ", " : "", d[i].resource, count, d[i].container);
	}
	if (!b->len)
		strbuf_addstr(b, "no device");
}

static int none_left(const char *pod, const struct pairing_device *d, size_t n, const struct pairing_network *nets, size_t n_nets,
		     const char *resource, const char *network, struct err *e)
{
	_cleanup_strbuf_ struct strbuf has = STRBUF_INIT;
	size_t want = 0, got = 0;

	for (size_t i = 0; i < n_nets; i++)
		want += nets[i].resource && !strcmp(nets[i].resource, resource);
	for (size_t i = 0; i < n; i++)
		got += !strcmp(d[i].resource, resource);
	given(&has, d, n);
	return err_set(e, -ENODEV,
		       "network %s: no device of %s is left for it: pod %s has %zu network%s of this resource and was given %zu device%s of it (%s). "
		       "Set resources.requests and resources.limits of the container that uses them to %s: %zu, or let kvrail's admission add it",
		       network, resource, pod, want, want == 1 ? "" : "s", got, got == 1 ? "" : "s", has.s, resource, want);
}

/* The device that a network names. */
static int named(const char *pod, const struct pairing_device *d, size_t n, const struct pairing_network *net, const bool *used, int *ret,
		 struct err *e)
{
	_cleanup_strbuf_ struct strbuf has = STRBUF_INIT;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(d[i].id, net->device_id) || strcmp(d[i].resource, net->resource))
			continue;
		if (used[i])
			return err_set(e, -EINVAL, "network %s: deviceID %s is asked for by two networks of pod %s: each takes a device of its own",
				       net->name, net->device_id, pod);
		*ret = (int)i;
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		if (!strcmp(d[i].resource, net->resource))
			strbuf_addf(&has, "%s%s", has.len ? ", " : "", d[i].id);
	return err_set(e, -EINVAL,
		       "network %s: deviceID %s is no device of %s that the kubelet gave to pod %s (it has %s): take deviceID out of the annotation, "
		       "or name one of those",
		       net->name, net->device_id, net->resource, pod, has.len ? has.s : "none");
}

static bool needs(const struct pairing_network *net)
{
	return net->resource && *net->resource;
}

int pairing_make(const char *pod, const struct pairing_device *devices, size_t n_devices,
		 const struct pairing_network *networks, size_t n_networks, int *ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct row *row = arena_alloc(a, n_devices * sizeof(*row));
	bool *used = arena_alloc(a, n_devices * sizeof(*used));
	int *out = arena_alloc(a, n_networks * sizeof(*out)), r;

	for (size_t i = 0; i < n_devices; i++)
		row[i] = (struct row){ devices, &devices[i], n_devices };
	if (n_devices)
		qsort(row, n_devices, sizeof(*row), in_row);
	for (size_t i = 0; i < n_networks; i++) {
		out[i] = -1;
		if (!needs(&networks[i]) || !networks[i].device_id)
			continue;
		r = named(pod, devices, n_devices, &networks[i], used, &out[i], e);
		if (r < 0)
			return r;
		used[out[i]] = true;
	}
	for (size_t i = 0; i < n_networks; i++) {
		for (size_t j = 0; needs(&networks[i]) && out[i] < 0 && j < n_devices; j++) {
			size_t at = (size_t)(row[j].device - devices);

			if (used[at] || strcmp(devices[at].resource, networks[i].resource))
				continue;
			used[at] = true;
			out[i] = (int)at;
		}
		if (needs(&networks[i]) && out[i] < 0 && !networks[i].optional)
			return none_left(pod, devices, n_devices, networks, n_networks, networks[i].resource, networks[i].name, e);
	}
	if (n_networks)
		memcpy(ret, out, n_networks * sizeof(*ret));
	return 0;
}
