/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvrail-kv check: is the path that a KV cache will take what it should be? Run inside the pod's network namespace, alone
 * for what one side can see, or between two pods (--listen and --peer) for what only packets prove.
 */
#ifndef KVRAIL_KV_CHECK_H
#define KVRAIL_KV_CHECK_H

#include "base/arena.h"
#include "codec/doc.h"
#include "kv/net.h"
#include "linux/sysroot.h"

#define CHECK_PORT 5701
#define CHECK_RAILS_MAX 64

enum check_verdict { CHECK_GOOD, CHECK_BAD, CHECK_NOTE };
enum check_where { CHECK_HERE, CHECK_PEER, CHECK_PATH };

struct check_line {
	enum check_where where;
	enum check_verdict verdict;
	const char *rail; /* interface, or NULL: the pod's */
	const char *name, *expected, *found, *todo; /* todo NULL when nothing is to be done */
};

/* What is expected of a rail, and what was measured. */
struct check_rail {
	const char *ifname, *rdma /* NULL: none */, *address /* "10.0.132.1/24" or NULL */, *network /* or NULL */;
	unsigned port, mtu;
	int gid_then; /* index when the pod was attached, -1: not told */
	/* measured; the peer's are told by it */
	unsigned netdev_mtu, active_mtu;
	int gid_index; /* -1: none */
	const char *gid;
	uint16_t echo_port; /* of its UDP echo */
	int echo_fd;	    /* -1: none */
};

struct check {
	struct arena *arena;
	struct sysroot *root;
	struct check_rail *rails;
	size_t n_rails;
	struct check_line *lines;
	size_t n_lines;
};

/* @s with what a terminal would obey (control characters) as '?'; NULL stays NULL. */
const char *check_plain(struct arena *a, const char *s);
/* One line of the report, made plain: programs of a pod choose their names. @found is a format. */
void check_add(struct check *c, enum check_where where, enum check_verdict verdict, const char *rail, const char *name,
	       const char *expected, const char *todo, const char *found, ...) __attribute__((format(printf, 8, 9)));
size_t check_bad(const struct check *c); /* how many lines are bad */

/* "net1,rdma=mlx5_2,port=1,address=10.0.132.1/24,network=ns/name,mtu=9000,gid=3": all but the interface may be left out. */
int check_rail_parse(struct arena *a, const char *text, unsigned mtu, struct check_rail *ret, struct err *e);
/* The rails of this namespace: each RDMA device whose netdev is here. */
int check_rails_find(struct check *c, unsigned mtu, struct err *e);

/* What one side sees by itself: interfaces, devices, GIDs, device nodes, limits and environment of the pod's processes. */
void check_local(struct check *c);
void check_devices(struct check *c);
void check_processes(struct check *c);

/* What to do when the open of a device node failed so; @daemonset: kvrail's own, when this runs in a pod of it, or NULL. */
const char *check_node_todo(int code, const char *daemonset);

/* The address without its prefix length. */
const char *check_host(struct arena *a, const char *address);

/*
 * Don't-fragment packets of the rail's MTU to the peer's echo and back. @peer tells the echo's address and port, and what it
 * thinks its MTU is.
 */
void check_path(struct check *c, struct check_rail *rail, const struct check_rail *peer);
/* A UDP echo on the rail's address: fills echo_fd and echo_port. */
int check_echo_open(struct check_rail *rail, struct err *e);
/* Answer what waits on it. */
void check_echo_serve(struct check_rail *rail);

/* One side of an RC connection on a rail, with memory that the other may read. */
struct check_rdma;

/* @passive: the side that is read. @peer_fd: the talk's connection, whose end is the end of waiting. */
int check_rdma_open(struct arena *a, const struct check_rail *rail, bool passive, int peer_fd, struct check_rdma **ret, struct err *e);
struct check_rdma *check_rdma_close(struct check_rdma *x); /* NULL is fine */
/* What the other side needs to connect, as text. */
int check_rdma_endpoint(struct check_rdma *x, struct arena *a, const char **ret, struct err *e);
int check_rdma_connect(struct check_rdma *x, struct arena *a, const char *peer, struct err *e);
/* Fill the memory with what @seed makes, so that the reader can tell. */
void check_rdma_fill(struct check_rdma *x, uint64_t seed);
/* READ all of the peer's memory, hold it to @seed and the device's counters to its size: lines of the report. */
void check_rdma_read(struct check *c, const struct check_rail *rail, struct check_rdma *x, uint64_t seed);

/* Talk to the peer: exchange rails and lines, pair rails, prove each pair. Return 0 when the talk came to its end. */
int check_listen(struct check *c, const union kv_addr *at, unsigned timeout_ms, struct err *e);
int check_peer(struct check *c, const union kv_addr *to, unsigned timeout_ms, struct err *e);

/* Rails, lines and verdict as JSON. */
yyjson_mut_val *check_value(struct check *c, yyjson_mut_doc *doc);
void check_print(struct check *c);

/* The subcommand; argv[0] is "check". Exit code. */
int check_main(int argc, char **argv);

#endif
