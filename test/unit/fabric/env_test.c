/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "fabric/env.h"

#define UNLISTED "(unlisted)"
#define FORBIDDEN "(must not be set)"

struct env {
	struct arena *arena;
	struct env_var *vars;
	size_t n;
};

static const char *net1[] = { "10.0.132.5/24" }, *net2[] = { "10.0.133.5/24" }, *six1[] = { "fd00:1::5/64" },
		  *six2[] = { "fd00:1::6/64" }, *same[] = { "10.0.132.6/24" };

static struct env_rail mlx5(const char *ifname, const char *rdma, const char **address, int gid)
{
	return (struct env_rail){
		.ifname = ifname, .rdma = rdma, .port = 1, .addresses = address, .n_addresses = 1, .gid_index = gid,
		.driver = "mlx5_core", .link_layer = "Ethernet", .active_mtu = 4096,
	};
}

static struct env make(struct env_rail *rails, size_t n, const char *pod_ip, bool gpu)
{
	struct env_pod pod = { .rails = rails, .n_rails = n, .pod_ip = pod_ip, .gpu = gpu };
	struct env env = { .arena = arena_new() };
	struct err e;

	assert_int_equal(env_make(env.arena, &pod, &env.vars, &env.n, &e), 0);
	for (size_t i = 0; i < env.n; i++)
		assert_true(strlen(env.vars[i].why) > 10); /* every line has its reason */
	return env;
}

static const struct env_var *var(struct env env, const char *name)
{
	for (size_t i = 0; i < env.n; i++)
		if (!strcmp(env.vars[i].name, name))
			return &env.vars[i];
	return NULL;
}

static const char *get(struct env env, const char *name)
{
	const struct env_var *v = var(env, name);

	return !v ? UNLISTED : v->value ? v->value : FORBIDDEN;
}

static void one_rail_names_the_device_and_leaves_the_gid_to_ucx(void **state)
{
	struct env_rail r = mlx5("net1", "mlx5_2", net1, 3);
	struct env env = make(&r, 1, "10.244.1.7", true);

	assert_string_equal(get(env, "UCX_NET_DEVICES"), "mlx5_2:1");
	assert_string_equal(get(env, "UCX_TLS"), "rc,sm,self,cuda_copy,cuda_ipc");
	assert_string_equal(get(env, "UCX_IB_GID_INDEX"), FORBIDDEN);
	assert_string_equal(get(env, "UCX_IB_ROCE_SUBNETS"), "10.0.132.0/24");
	assert_string_equal(get(env, "UCX_FENCE_MODE"), UNLISTED);
	assert_string_equal(get(env, "NCCL_IB_HCA"), "=mlx5_2:1");
	assert_string_equal(get(env, "NCCL_IB_GID_INDEX"), "3");
	assert_string_equal(get(env, "NCCL_IB_ADDR_RANGE"), UNLISTED);
	assert_string_equal(get(env, "NCCL_SOCKET_IFNAME"), "=net1");
	assert_string_equal(get(env, "NVSHMEM_HCA_LIST"), "mlx5_2:1");
	assert_string_equal(get(env, "NVSHMEM_ENABLE_NIC_PE_MAPPING"), "1");
	assert_string_equal(get(env, "NVSHMEM_HCA_PREFIX"), UNLISTED);
	assert_string_equal(get(env, "NVSHMEM_IB_GID_INDEX"), "3");
	assert_string_equal(get(env, "NVSHMEM_IB_ENABLE_IBGDA"), "1");
	assert_string_equal(get(env, "NVSHMEM_REMOTE_TRANSPORT"), "ibgda");
	assert_string_equal(get(env, "NVSHMEM_BOOTSTRAP_UID_SOCK_IFNAME"), "net1");
	assert_string_equal(get(env, "VLLM_NIXL_SIDE_CHANNEL_HOST"), "10.244.1.7");
	assert_string_equal(get(env, "KSERVE_INFER_ROCE"), FORBIDDEN);
	arena_free(env.arena);
}

static void without_gpu_no_cuda_transport_is_asked_for(void **state)
{
	struct env_rail r = mlx5("net1", "mlx5_2", net1, 3);
	struct env env = make(&r, 1, "10.244.1.7", false);

	assert_string_equal(get(env, "UCX_TLS"), "rc,sm,self");
	arena_free(env.arena);
}

static void two_rails_with_one_index_share_it_in_nccl(void **state)
{
	struct env_rail r[] = { mlx5("net1", "mlx5_2", net1, 5), mlx5("net2", "mlx5_3", net2, 5) };
	struct env env = make(r, 2, "10.244.1.7", true);

	assert_string_equal(get(env, "UCX_NET_DEVICES"), "mlx5_2:1,mlx5_3:1");
	assert_string_equal(get(env, "NCCL_IB_HCA"), "=mlx5_2:1,mlx5_3:1");
	assert_string_equal(get(env, "NCCL_IB_GID_INDEX"), "5");
	assert_string_equal(get(env, "UCX_IB_ROCE_SUBNETS"), "10.0.132.0/24,10.0.133.0/24");
	arena_free(env.arena);
}

static void differing_indices_are_never_one_number(void **state)
{
	struct env_rail r[] = { mlx5("net1", "mlx5_2", net1, 3), mlx5("net2", "mlx5_3", same, 5) };
	struct env env = make(r, 2, "10.244.1.7", true);

	assert_string_equal(get(env, "UCX_IB_GID_INDEX"), FORBIDDEN);
	assert_string_equal(get(env, "NCCL_IB_GID_INDEX"), FORBIDDEN);
	assert_string_equal(get(env, "NVSHMEM_IB_GID_INDEX"), FORBIDDEN);
	assert_non_null(strstr(var(env, "UCX_IB_GID_INDEX")->why, "mlx5_2 has 3, mlx5_3 has 5"));
	assert_string_equal(get(env, "NCCL_IB_ADDR_FAMILY"), "AF_INET");
	assert_string_equal(get(env, "NCCL_IB_ROCE_VERSION_NUM"), "2");
	assert_string_equal(get(env, "NCCL_IB_ADDR_RANGE"), "10.0.132.0/24");
	assert_string_equal(get(env, "NVSHMEM_IB_ADDR_RANGE"), "10.0.132.0/24");
	assert_string_equal(get(env, "UCX_IB_ROCE_SUBNETS"), "10.0.132.0/24"); /* once */
	arena_free(env.arena);
}

static void a_range_is_not_given_for_two_networks(void **state)
{
	struct env_rail r[] = { mlx5("net1", "mlx5_2", net1, 3), mlx5("net2", "mlx5_3", net2, 5) };
	struct env env = make(r, 2, NULL, true);

	assert_string_equal(get(env, "NCCL_IB_ADDR_RANGE"), FORBIDDEN);
	assert_non_null(strstr(var(env, "NCCL_IB_ADDR_RANGE")->why, "10.0.132.0/24,10.0.133.0/24"));
	assert_string_equal(get(env, "NCCL_IB_ADDR_FAMILY"), "AF_INET");
	arena_free(env.arena);
}

static void an_unmeasured_index_is_looked_up_by_rule(void **state)
{
	struct env_rail r[] = { mlx5("net1", "mlx5_2", net1, 3), mlx5("net2", "mlx5_3", same, -1) };
	struct env env = make(r, 2, NULL, true);

	assert_string_equal(get(env, "NCCL_IB_GID_INDEX"), FORBIDDEN);
	assert_string_equal(get(env, "NCCL_IB_ADDR_FAMILY"), "AF_INET");
	arena_free(env.arena);
}

static void no_rdma_means_tcp_over_the_rails_on_purpose(void **state)
{
	struct env_rail r[] = { { .ifname = "net1", .port = 1, .addresses = net1, .n_addresses = 1, .gid_index = -1 },
				{ .ifname = "net2", .port = 1, .addresses = net2, .n_addresses = 1, .gid_index = -1 } };
	struct env env = make(r, 2, "10.244.1.7", false);

	assert_string_equal(get(env, "UCX_NET_DEVICES"), "net1,net2");
	assert_string_equal(get(env, "UCX_TLS"), "tcp,sm,self");
	assert_string_equal(get(env, "UCX_TCP_TX_SEG_SIZE"), "256k");
	assert_string_equal(get(env, "NCCL_IB_DISABLE"), "1");
	assert_string_equal(get(env, "NCCL_IB_HCA"), UNLISTED);
	assert_string_equal(get(env, "NVSHMEM_REMOTE_TRANSPORT"), "none");
	assert_string_equal(get(env, "KSERVE_INFER_ROCE"), UNLISTED);
	arena_free(env.arena);
}

static void a_rail_without_rdma_beside_one_with_is_left_out(void **state)
{
	struct env_rail r[] = { mlx5("net1", "mlx5_2", net1, 3),
				{ .ifname = "net2", .port = 1, .addresses = net2, .n_addresses = 1, .gid_index = -1 } };
	struct env env = make(r, 2, NULL, true);

	assert_string_equal(get(env, "UCX_NET_DEVICES"), "mlx5_2:1");
	assert_string_equal(get(env, "NCCL_IB_GID_INDEX"), "3");
	arena_free(env.arena);
}

static void no_rail_says_only_where_the_side_channel_is(void **state)
{
	struct env env = make(NULL, 0, "10.244.1.7", true);

	assert_int_equal(env.n, 1);
	assert_string_equal(get(env, "VLLM_NIXL_SIDE_CHANNEL_HOST"), "10.244.1.7");
	arena_free(env.arena);
}

static void soft_roce_gets_what_ucx_needs_there_and_no_ibgda(void **state)
{
	struct env_rail r[] = { mlx5("net1", "rxe_net1", net1, 1), mlx5("net2", "rxe_net2", net2, 1) };
	struct env env;

	r[0].soft = r[1].soft = true;
	r[0].driver = r[1].driver = "rdma_rxe";
	env = make(r, 2, NULL, false);
	assert_string_equal(get(env, "UCX_UD_VERBS_ETH_DGID_CHECK"), "n");
	assert_string_equal(get(env, "UCX_FENCE_MODE"), "weak");
	assert_string_equal(get(env, "NVSHMEM_IB_ENABLE_IBGDA"), "0");
	assert_string_equal(get(env, "NVSHMEM_REMOTE_TRANSPORT"), "ibrc");
	assert_string_equal(get(env, "NVSHMEM_HCA_PREFIX"), "rxe_net");
	assert_string_equal(get(env, "NCCL_IB_GID_INDEX"), "1");
	arena_free(env.arena);
}

static void other_vendors_hardware_gets_the_weak_fence_only(void **state)
{
	struct env_rail r = mlx5("net1", "rocep26s0v0", net1, 1);
	struct env env;

	r.driver = "irdma";
	env = make(&r, 1, NULL, true);
	assert_string_equal(get(env, "UCX_FENCE_MODE"), "weak");
	assert_string_equal(get(env, "UCX_UD_VERBS_ETH_DGID_CHECK"), UNLISTED);
	assert_string_equal(get(env, "NVSHMEM_IB_ENABLE_IBGDA"), "0");
	arena_free(env.arena);
}

static void a_renamed_mlx5_device_is_known_by_its_driver(void **state)
{
	struct env_rail r = mlx5("net1", "rocep93s0f0v2", net1, 3);
	struct env env = make(&r, 1, NULL, true);

	assert_string_equal(get(env, "NVSHMEM_IB_ENABLE_IBGDA"), "1");
	assert_string_equal(get(env, "NVSHMEM_HCA_PREFIX"), "rocep93s0f0v2");
	arena_free(env.arena);
}

static void ipv6_only_needs_the_index_in_ucx(void **state)
{
	struct env_rail r[] = { mlx5("net1", "mlx5_2", six1, 3), mlx5("net2", "mlx5_3", six2, 3) };
	struct env env = make(r, 2, NULL, true);

	assert_string_equal(get(env, "UCX_IB_GID_INDEX"), "3");
	assert_string_equal(get(env, "UCX_IB_ROCE_SUBNETS"), UNLISTED);
	assert_string_equal(get(env, "VLLM_NIXL_SIDE_CHANNEL_HOST"), "fd00:1::5");
	arena_free(env.arena);
	r[1].gid_index = 5;
	env = make(r, 2, NULL, true);
	assert_string_equal(get(env, "UCX_IB_GID_INDEX"), FORBIDDEN);
	assert_string_equal(get(env, "NCCL_IB_ADDR_FAMILY"), "AF_INET6");
	assert_string_equal(get(env, "NCCL_IB_ADDR_RANGE"), "fd00:1::/64");
	arena_free(env.arena);
}

static void mixed_families_are_told_and_not_guessed(void **state)
{
	struct env_rail r[] = { mlx5("net1", "mlx5_2", net1, 3), mlx5("net2", "mlx5_3", six1, 5) };
	struct env env = make(r, 2, NULL, true);

	assert_string_equal(get(env, "NCCL_IB_ADDR_FAMILY"), FORBIDDEN);
	assert_string_equal(get(env, "UCX_IB_ROCE_SUBNETS"), UNLISTED);
	arena_free(env.arena);
}

static void infiniband_has_no_index_from_an_address(void **state)
{
	struct env_rail r = mlx5("net1", "mlx5_2", net1, -1);
	struct env env;

	r.link_layer = "InfiniBand";
	env = make(&r, 1, NULL, true);
	assert_string_equal(get(env, "UCX_NET_DEVICES"), "mlx5_2:1");
	assert_string_equal(get(env, "UCX_IB_GID_INDEX"), FORBIDDEN);
	assert_string_equal(get(env, "NCCL_IB_GID_INDEX"), FORBIDDEN);
	assert_string_equal(get(env, "NCCL_IB_ADDR_FAMILY"), UNLISTED);
	assert_string_equal(get(env, "UCX_IB_ROCE_SUBNETS"), UNLISTED);
	arena_free(env.arena);
}

static void without_pod_ip_the_side_channel_is_on_the_first_rail(void **state)
{
	struct env_rail r = mlx5("net1", "mlx5_2", net1, 3);
	struct env env = make(&r, 1, NULL, true);

	assert_string_equal(get(env, "VLLM_NIXL_SIDE_CHANNEL_HOST"), "10.0.132.5");
	arena_free(env.arena);
	r.n_addresses = 0;
	env = make(&r, 1, NULL, true);
	assert_string_equal(get(env, "VLLM_NIXL_SIDE_CHANNEL_HOST"), FORBIDDEN);
	arena_free(env.arena);
}

static void names_that_begin_alike_are_matched_exactly(void **state)
{
	struct env_rail r[] = { mlx5("net1", "mlx5_2", net1, 3), mlx5("net10", "mlx5_3", net2, 3) };
	struct env env = make(r, 2, NULL, true);

	assert_string_equal(get(env, "NVSHMEM_BOOTSTRAP_UID_SOCK_IFNAME"), "=net1");
	arena_free(env.arena);
}

static void host_bits_are_cleared_on_any_prefix_length(void **state)
{
	const char *odd[] = { "172.31.255.255/20" }, *bare[] = { "10.1.2.3" };
	struct env_rail r[] = { mlx5("net1", "mlx5_2", odd, 3), mlx5("net2", "mlx5_3", bare, 3) };
	struct env env = make(r, 2, NULL, true);

	assert_string_equal(get(env, "UCX_IB_ROCE_SUBNETS"), "172.31.240.0/20,10.1.2.3/32");
	arena_free(env.arena);
}

static void an_address_that_is_none_is_refused(void **state)
{
	static const char *const bad[] = { "10.0.0.256/24", "10.0.0.1/33", "10.0.0.1/", "net1", "",
					   "fd00::1/129", "0123456789012345678901234567890123456789012345678901234567890123456789" };
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *address[] = { bad[i] };
		struct env_rail r = mlx5("net1", "mlx5_2", address, 3);
		struct env_pod pod = { .rails = &r, .n_rails = 1 };
		struct env_var *v;
		struct err e;
		size_t n;

		assert_int_equal(env_make(a, &pod, &v, &n, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "net1"));
		assert_non_null(strstr(e.msg, bad[i]));
	}
}

/* Every one that is forbidden for RoCE has its library's own word for "unset", so that nothing else can fill it in. */
static void what_must_not_be_set_can_be_said_aloud(void **state)
{
	struct env_rail r[] = { mlx5("net1", "mlx5_2", net1, 3), mlx5("net2", "mlx5_3", same, 5) };
	struct env env = make(r, 2, "10.244.1.7", true);

	for (size_t i = 0; i < env.n; i++)
		if (strstr(env.vars[i].name, "_GID_INDEX")) {
			assert_null(env.vars[i].value);
			assert_non_null(env_same_as_unset(env.vars[i].name));
		}
	assert_string_equal(env_same_as_unset("UCX_IB_GID_INDEX"), "auto");
	assert_string_equal(env_same_as_unset("NCCL_IB_GID_INDEX"), "-1");
	assert_string_equal(env_same_as_unset("NVSHMEM_IB_GID_INDEX"), "-1");
	assert_null(env_same_as_unset("KSERVE_INFER_ROCE"));
	arena_free(env.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_rail_names_the_device_and_leaves_the_gid_to_ucx),
		cmocka_unit_test(without_gpu_no_cuda_transport_is_asked_for),
		cmocka_unit_test(two_rails_with_one_index_share_it_in_nccl),
		cmocka_unit_test(differing_indices_are_never_one_number),
		cmocka_unit_test(a_range_is_not_given_for_two_networks),
		cmocka_unit_test(an_unmeasured_index_is_looked_up_by_rule),
		cmocka_unit_test(no_rdma_means_tcp_over_the_rails_on_purpose),
		cmocka_unit_test(a_rail_without_rdma_beside_one_with_is_left_out),
		cmocka_unit_test(no_rail_says_only_where_the_side_channel_is),
		cmocka_unit_test(soft_roce_gets_what_ucx_needs_there_and_no_ibgda),
		cmocka_unit_test(other_vendors_hardware_gets_the_weak_fence_only),
		cmocka_unit_test(a_renamed_mlx5_device_is_known_by_its_driver),
		cmocka_unit_test(ipv6_only_needs_the_index_in_ucx),
		cmocka_unit_test(mixed_families_are_told_and_not_guessed),
		cmocka_unit_test(infiniband_has_no_index_from_an_address),
		cmocka_unit_test(without_pod_ip_the_side_channel_is_on_the_first_rail),
		cmocka_unit_test(names_that_begin_alike_are_matched_exactly),
		cmocka_unit_test(host_bits_are_cleared_on_any_prefix_length),
		cmocka_unit_test(an_address_that_is_none_is_refused),
		cmocka_unit_test(what_must_not_be_set_can_be_said_aloud),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
