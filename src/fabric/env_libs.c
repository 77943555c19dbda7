/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The variables of each library. Facts cited: UCX src/uct/ib/base (ib_iface.c, ib_device.c), NCCL src/transport/net_ib,
 * NVSHMEM src/include/internal/host_transport/env_defs, vLLM's NIXL connector, KServe's start script of the
 * LLMInferenceService presets.
 */
#include <string.h>
#include <sys/socket.h>

#include "fabric/env_facts.h"

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static void ucx_over_tcp(struct env_facts *f)
{
	env_add(f, "UCX", "UCX_NET_DEVICES", f->ifnames,
		"no RDMA device belongs to this pod: keeps the KV cache on the rail%s by TCP instead of the default network",
		plural(f->pod->n_rails));
	env_add(f, "UCX", "UCX_TLS", f->pod->gpu ? "tcp,sm,self,cuda_copy,cuda_ipc" : "tcp,sm,self",
		"TCP by choice: says that no RDMA is expected here");
	env_add(f, "UCX", "UCX_TCP_TX_SEG_SIZE", "256k",
		"the default of 8 KiB holds a READ (what a decode pod does) to about 1 GB/s whatever the block size");
	env_add(f, "UCX", "UCX_TCP_RX_SEG_SIZE", "256k", "the receiving half of UCX_TCP_TX_SEG_SIZE");
}

/*
 * UCX looks for the GID of each device by itself: RoCE v2 with IPv4 first, then IPv6. To older versions (1.13 is one) any
 * IPv6 entry is as good as another, and the link-local one stands first in every table.
 */
static void ucx_gid(struct env_facts *f)
{
	const char *name = "UCX_IB_GID_INDEX";

	if (f->n_roce == 0)
		env_add(f, "UCX", name, NULL,
			"InfiniBand: its GIDs come from GUIDs and the default is right");
	else if (f->index_differs)
		env_add(f, "UCX", name, NULL,
			"one number for all devices, but here they differ (%s): any value breaks a rail; UCX finds each by itself",
			f->measured);
	else if (f->n_ib)
		env_add(f, "UCX", name, NULL, "one number for all devices, and some here are InfiniBand");
	else if (f->family == AF_INET6 && f->index >= 0)
		env_add(f, "UCX", name, arena_printf(f->arena, "%d", f->index),
			"measured; without IPv4 older UCX takes the first IPv6 entry, which is the link-local one");
	else
		env_add(f, "UCX", name, NULL,
			"UCX finds the RoCE v2 entry of each device by itself (measured: %s); a number copied into other pods is wrong "
			"there, and it must not be combined with UCX_IB_ROCE_SUBNETS",
			f->measured);
	if (f->family == AF_INET && !f->n_ib)
		env_add(f, "UCX", "UCX_IB_ROCE_SUBNETS", f->subnets,
			"UCX 1.18 and newer: only GIDs of the rails' own networks, right in every pod; older ones ignore it");
}

void env_ucx(struct env_facts *f)
{
	if (f->pod->n_rails == 0)
		return;
	if (f->n_rdma == 0) {
		ucx_over_tcp(f);
		return;
	}
	env_add(f, "UCX", "UCX_NET_DEVICES", f->devices,
		"this pod's RDMA device%s and nothing else: no other pod's, and no TCP over the default network",
		plural(f->n_rdma));
	env_add(f, "UCX", "UCX_TLS", f->pod->gpu ? "rc,sm,self,cuda_copy,cuda_ipc" : "rc,sm,self",
		"RC over RDMA%s; without tcp in the list a missing device is an error and no silent fallback",
		f->pod->gpu ? " and NVLink inside the node" : "");
	ucx_gid(f);
	if (f->n_soft)
		env_add(f, "UCX", "UCX_UD_VERBS_ETH_DGID_CHECK", "n",
			"soft RoCE: UCX before 1.19 compares the wrong GID while connecting and times out; not needed from 1.19 on");
	if (f->other_driver)
		env_add(f, "UCX", "UCX_FENCE_MODE", "weak",
			"not an mlx5 device: from UCX 1.19 on a strong fence reads with an invalid key there (remote access error)");
}

static const char *family_name(const struct env_facts *f)
{
	return f->family == AF_INET6 ? "AF_INET6" : "AF_INET";
}

/* NCCL and NVSHMEM choose a GID by the same three rules under their own names; @lib is "NCCL" or "NVSHMEM". */
static void gid_by_rules(struct env_facts *f, const char *lib)
{
	const char *index = arena_printf(f->arena, "%s_IB_GID_INDEX", lib);
	const char *family = arena_printf(f->arena, "%s_IB_ADDR_FAMILY", lib);
	const char *range = arena_printf(f->arena, "%s_IB_ADDR_RANGE", lib);

	if (f->n_roce == 0 || f->n_ib) {
		env_add(f, lib, index, NULL, "%s: the default is right",
			f->n_roce ? "one number for all devices, and some are InfiniBand" : "InfiniBand");
		return;
	}
	if (f->index >= 0) {
		env_add(f, lib, index, arena_printf(f->arena, "%d", f->index),
			"measured in this pod (%s); the 3 of many manifests is a guess", f->measured);
		return;
	}
	env_add(f, lib, index, NULL,
		f->index_differs
			? "one number for all devices, but here they differ (%s): the rules below find each"
			: "no RoCE v2 entry of the address was measured (%s): the rules below look for it",
		f->measured);
	if (f->family)
		env_add(f, lib, family, family_name(f), "addresses of the rails are of this family");
	else
		env_add(f, lib, family, NULL,
			"the rails' first addresses are of different families, and there is one value for all");
	env_add(f, lib, arena_printf(f->arena, "%s_IB_ROCE_VERSION_NUM", lib), "2",
		"RoCE v2 is routed by IP; v1 entries do not reach");
	if (f->family && f->n_subnets == 1)
		env_add(f, lib, range, f->subnets, "the GID must be of the rails' network");
	else
		env_add(f, lib, range, NULL, "it takes one network and the rails have %zu (%s)", f->n_subnets,
			f->n_subnets ? f->subnets : "no address");
}

void env_nccl(struct env_facts *f)
{
	if (f->pod->n_rails == 0)
		return;
	if (f->n_rdma) {
		env_add(f, "NCCL", "NCCL_IB_HCA", arena_printf(f->arena, "=%s", f->devices),
			"= is an exact match: without it mlx5_1 also takes mlx5_10 to mlx5_19");
		gid_by_rules(f, "NCCL");
	} else {
		env_add(f, "NCCL", "NCCL_IB_DISABLE", "1",
			"no RDMA device belongs to this pod: one that is visible is another's");
	}
	env_add(f, "NCCL", "NCCL_SOCKET_IFNAME", arena_printf(f->arena, "=%s", f->pod->rails[0].ifname),
		"bootstrap over the first rail; = is an exact match: without it net1 also takes net10");
}

/* Its names are beginnings, as NCCL's, and the samples give them without "=": that only where it would match two. */
static const char *bootstrap_ifname(struct env_facts *f)
{
	const char *first = f->pod->rails[0].ifname;

	for (size_t i = 1; i < f->pod->n_rails; i++)
		if (!strncmp(f->pod->rails[i].ifname, first, strlen(first)))
			return arena_printf(f->arena, "=%s", first);
	return first;
}

void env_nvshmem(struct env_facts *f)
{
	if (f->pod->n_rails == 0)
		return;
	if (f->n_rdma == 0) {
		env_add(f, "NVSHMEM", "NVSHMEM_REMOTE_TRANSPORT", "none",
			"it has no transport over TCP: GPUs of other nodes are out of reach");
		return;
	}
	env_add(f, "NVSHMEM", "NVSHMEM_HCA_LIST", f->devices, "this pod's RDMA device%s", plural(f->n_rdma));
	env_add(f, "NVSHMEM", "NVSHMEM_ENABLE_NIC_PE_MAPPING", "1", "without it NVSHMEM_HCA_LIST is ignored");
	if (strncmp(f->prefix, "mlx5", 4) != 0 && *f->prefix)
		env_add(f, "NVSHMEM", "NVSHMEM_HCA_PREFIX", f->prefix,
			"it looks only at devices called mlx5..., and these are not");
	gid_by_rules(f, "NVSHMEM");
	env_add(f, "NVSHMEM", "NVSHMEM_IB_ENABLE_IBGDA", f->all_mlx5 ? "1" : "0",
		f->all_mlx5 ? "mlx5 hardware: the GPU may ring the NIC's doorbell itself" :
			      "needs mlx5 hardware (DevX), and not every rail here is");
	env_add(f, "NVSHMEM", "NVSHMEM_REMOTE_TRANSPORT", f->all_mlx5 ? "ibgda" : "ibrc",
		f->all_mlx5 ? "goes with NVSHMEM_IB_ENABLE_IBGDA"
			    : "RC posted by the CPU works on every RDMA device");
	env_add(f, "NVSHMEM", "NVSHMEM_BOOTSTRAP_UID_SOCK_IFNAME", bootstrap_ifname(f),
		"bootstrap over the first rail");
}

static void side_channel(struct env_facts *f)
{
	const char *name = "VLLM_NIXL_SIDE_CHANNEL_HOST", *address = NULL;

	for (size_t i = 0; i < f->pod->n_rails && !address; i++)
		if (f->pod->rails[i].n_addresses)
			address = f->pod->rails[i].addresses[0];
	if (f->pod->pod_ip)
		env_add(f, "NIXL", name, f->pod->pod_ip,
			"the pod's address; the default, localhost, is out of a peer's reach");
	else if (address)
		env_add(f, "NIXL", name, arena_strndup(f->arena, address, strcspn(address, "/")),
			"the first rail's address, as the pod has no default network; localhost is out of a peer's reach");
	else
		env_add(f, "NIXL", name, NULL,
			"no address is known: localhost, the default, works inside the pod only");
}

void env_engine(struct env_facts *f)
{
	side_channel(f);
	if (f->n_rdma)
		env_add(f, "KServe", "KSERVE_INFER_ROCE", NULL,
			"KServe's start script would export one GID index, by majority of all visible devices, to UCX, NCCL and NVSHMEM");
}
