/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The netlink calls that one ADD and DEL cannot do without, and nothing else: move in under the new name, MTU, up, address; down,
 * move back, MTU. Median microseconds of the pair.
 *	netlink ROUNDS NETNS DEVICE...
 */
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "linux/netns.h"
#include "linux/rtnl.h"

struct round {
	int pod, host;
	char **devices;
	size_t n;
	struct err e;
};

static void name_in_pod(char name[16], size_t i)
{
	snprintf(name, 16, "net%u", (unsigned)(i + 1) % 10000);
}

static int there_and_back(struct round *rd, struct nl *nl, size_t i)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct rtnl_addr addr = { .family = AF_INET, .addr = { 10, 200, 0, (unsigned char)(i + 1) }, .prefix_len = 16 };
	struct rtnl_link link;
	char name[16];
	int r;

	name_in_pod(name, i);
	r = rtnl_link(nl, a, name, &link, &rd->e);
	if (r == 0)
		r = rtnl_set_mtu(nl, link.index, 9000, &rd->e);
	if (r == 0)
		r = rtnl_set_up(nl, link.index, true, &rd->e);
	if (r == 0)
		r = rtnl_add_addr(nl, link.index, &addr, &rd->e);
	if (r == 0)
		r = rtnl_set_up(nl, link.index, false, &rd->e);
	return r < 0 ? r : rtnl_move(nl, link.index, rd->host, rd->devices[i], &rd->e);
}

static int in_pod(void *arg)
{
	struct round *rd = arg;
	_cleanup_nl_ struct nl *nl = NULL;
	int r = rtnl_open(&nl, &rd->e);

	for (size_t i = 0; r == 0 && i < rd->n; i++)
		r = there_and_back(rd, nl, i);
	return r;
}

static int pair(struct round *rd)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_nl_ struct nl *nl = NULL;
	struct rtnl_link link;
	char name[16];
	int r = rtnl_open(&nl, &rd->e);

	for (size_t i = 0; r == 0 && i < rd->n; i++) {
		name_in_pod(name, i);
		r = rtnl_link(nl, a, rd->devices[i], &link, &rd->e);
		if (r == 0)
			r = rtnl_move(nl, link.index, rd->pod, name, &rd->e);
	}
	if (r == 0)
		r = netns_call(rd->pod, false, in_pod, rd, &rd->e);
	for (size_t i = 0; r == 0 && i < rd->n; i++) {
		r = rtnl_link(nl, a, rd->devices[i], &link, &rd->e);
		if (r == 0)
			r = rtnl_set_mtu(nl, link.index, 1500, &rd->e);
	}
	return r;
}

static int compare(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
	size_t n = argc >= 4 ? (size_t)atol(argv[1]) : 0;
	_cleanup_free_ uint64_t *took = calloc(n + 1, sizeof(*took));
	struct round rd = { .devices = argv + 3, .n = (size_t)argc - 3 };

	if (!n || !took)
		return 2;
	rd.pod = netns_open(argv[2], &rd.e);
	rd.host = netns_open_self(&rd.e);
	for (size_t i = 0; i < n && rd.pod >= 0 && rd.host >= 0; i++) {
		uint64_t start = clock_ns();

		if (pair(&rd) < 0) {
			fprintf(stderr, "%s\n", rd.e.msg);
			return 1;
		}
		took[i] = clock_ns() - start;
	}
	qsort(took, n, sizeof(*took), compare);
	printf("%.1f\n", (double)took[n / 2] / 1000);
	return 0;
}
