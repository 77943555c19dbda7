/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/strbuf.h"
#include "provision/identity.h"
#include "provision/plan.h"

#define PCI "0000:5c:00.0"

/* A ConnectX-6 Dx port that is up, without VFs; tests change what they are about. */
struct machine {
	struct arena *arena;
	struct inventory inventory;
	struct inventory_pf pf;
	struct inventory_vf vfs[8];
	struct api_nodestate_spec spec;
	struct api_interface interface;
	struct api_vf_group group;
	struct plan_pod pods[2];
	size_t n_pods;
};

static int setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));

	m->arena = arena_new();
	m->pf = (struct inventory_pf){ .pci = PCI, .vendor = "15b3", .device = "101d", .driver = "mlx5_core", .netdev = "p2",
				       .rdma = "mlx5_0", .eswitch = "legacy", .link_layer = "ether", .admin_up = true,
				       .mtu = 1500, .max_mtu = 9978, .sriov = true, .total_vfs = 8, .has_autoprobe = true,
				       .autoprobe = true };
	m->inventory = (struct inventory){ .identity = "machine/host", .pfs = &m->pf, .n_pfs = 1, .iommu = true };
	m->group = (struct api_vf_group){ .resource_name = "p2rdma", .device_type = "netdevice", .vf_range = "0-1",
					  .policy_name = "sriov-p2-policy", .mtu = 9000, .is_rdma = true };
	m->interface = (struct api_interface){ .pci_address = PCI, .name = "p2", .link_type = "eth", .num_vfs = 2,
					       .mtu = 9000, .vf_groups = &m->group, .n_vf_groups = 1 };
	m->spec = (struct api_nodestate_spec){ .interfaces = &m->interface, .n_interfaces = 1 };
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	arena_free(m->arena);
	free(m);
	return 0;
}

/* The port as an apply leaves it: @n VFs, bound, with addresses and the MTU. */
static void provisioned(struct machine *m, unsigned n)
{
	m->pf.mtu = 9000;
	m->pf.num_vfs = n;
	m->pf.vfs = m->vfs;
	m->pf.n_vfs = n;
	for (unsigned i = 0; i < n; i++)
		m->vfs[i] = (struct inventory_vf){
			.index = i, .pci = arena_printf(m->arena, "0000:5c:00.%u", i + 2), .vendor = "15b3", .device = "101e",
			.driver = "mlx5_core", .netdev = arena_printf(m->arena, "p2v%u", i), .mac = "02:00:00:00:00:01",
			.admin_mac = "02:00:00:00:00:01", .rdma = "mlx5_8", .node_guid = "0200:00ff:fe00:0001", .mtu = 9000 };
}

static struct plan *plan(struct machine *m)
{
	struct plan *p;
	struct err e;

	assert_int_equal(plan_make(m->arena, &m->inventory, &m->spec, m->pods, m->n_pods, &p, &e), 0);
	return p;
}

static struct plan_pf *only_port(struct plan *p)
{
	assert_int_equal(p->n_pfs, 1);
	return &p->pfs[0];
}

/* The steps of the plan's one port, a line each. */
static const char *steps(struct machine *m, const struct plan_pf *pf)
{
	const char *text = "";

	for (size_t i = 0; i < pf->n_steps; i++)
		text = arena_printf(m->arena, "%s%s\n", text, plan_step_text(m->arena, &pf->steps[i]));
	return text;
}

static const char *mac(struct machine *m, unsigned vf)
{
	return identity_mac(m->arena, "machine/host", PCI, vf);
}

static void new_vfs_get_their_address_before_they_are_bound_once(void **state)
{
	struct machine *m = *state;
	struct plan *p = plan(m);
	struct plan_pf *pf = only_port(p);

	assert_string_equal(steps(m, pf),
		arena_printf(m->arena,
			     "set the port's MTU to 9000 (1500 now)\n"
			     "switch sriov_drivers_autoprobe off (each VF is probed once, when it has its address)\n"
			     "set sriov_numvfs to 2 (0 now)\n"
			     "VF 0: set address %s through the PF (it has no address of its own)\n"
			     "VF 1: set address %s through the PF (it has no address of its own)\n"
			     "switch sriov_drivers_autoprobe on\n"
			     "VF 0: bind its driver\n"
			     "VF 1: bind its driver\n"
			     "VF 0: set MTU 9000\n"
			     "VF 1: set MTU 9000\n", mac(m, 0), mac(m, 1)));
	assert_false(pf->drain);
	assert_false(pf->reboot);
	assert_true(p->seconds > 0.5 && p->seconds < 5);
}

static void a_port_that_is_right_has_nothing_to_do(void **state)
{
	struct machine *m = *state;
	struct plan *p;

	provisioned(m, 2);
	m->inventory.state_dir = "/nowhere";
	p = plan(m);
	assert_true(p->nothing_to_do);
	assert_int_equal(p->n_pfs, 0);
	assert_true(p->seconds == 0);
}

static void an_apply_that_was_killed_goes_on_where_it_stopped(void **state)
{
	struct machine *m = *state;

	/* VF 0 has its address and driver, VF 1 its address, autoprobe is still off */
	provisioned(m, 2);
	m->pf.autoprobe = false;
	m->vfs[0].mtu = 1500;
	m->vfs[1].driver = m->vfs[1].netdev = m->vfs[1].rdma = m->vfs[1].node_guid = NULL;
	m->vfs[1].mtu = 0;
	assert_string_equal(steps(m, only_port(plan(m))), "switch sriov_drivers_autoprobe on (off now)\n"
							  "VF 1: bind its driver (no driver now)\n"
							  "VF 0: set MTU 9000 (1500 now)\n"
							  "VF 1: set MTU 9000\n");
	/* before any VF had an address */
	m->vfs[0].driver = NULL;
	m->vfs[0].admin_mac = m->vfs[1].admin_mac = "00:00:00:00:00:00";
	m->vfs[0].mac = m->vfs[1].mac = NULL;
	m->interface.n_vf_groups = 0;
	assert_string_equal(steps(m, only_port(plan(m))),
			    arena_printf(m->arena,
					 "VF 0: set address %s through the PF (it has no address of its own)\n"
					 "VF 1: set address %s through the PF (it has no address of its own)\n"
					 "switch sriov_drivers_autoprobe on (off now)\n"
					 "VF 0: bind its driver (no driver now)\n"
					 "VF 1: bind its driver (no driver now)\n", mac(m, 0), mac(m, 1)));
}

static void autoprobe_that_the_administrator_switched_off_stays_off(void **state)
{
	struct inventory_before before = { .autoprobe = false };
	struct machine *m = *state;

	provisioned(m, 2);
	m->pf.autoprobe = false;
	m->inventory.state_dir = "/nowhere";
	assert_true(plan(m)->nothing_to_do); /* no record: not ours */
	m->pf.before = &before;
	assert_true(plan(m)->nothing_to_do);
	m->vfs[1].driver = NULL; /* no driver binds while it is off */
	assert_string_equal(steps(m, only_port(plan(m))), "switch sriov_drivers_autoprobe on (off now)\n"
							  "VF 1: bind its driver (no driver now)\n"
							  "VF 1: set MTU 9000\n"
							  "switch sriov_drivers_autoprobe off (as it was found)\n");
	m->vfs[1].driver = "mlx5_core";
	before.autoprobe = true;
	assert_string_equal(steps(m, only_port(plan(m))), "switch sriov_drivers_autoprobe on (off now)\n");
}

static void another_number_of_vfs_takes_all_and_names_the_pods(void **state)
{
	struct machine *m = *state;
	struct plan_pf *pf;

	provisioned(m, 4);
	m->pods[0] = (struct plan_pod){ "llm-test", "prefill-0", "0000:5c:00.3" };
	m->pods[1] = (struct plan_pod){ "llm-test", "elsewhere", "0000:bb:00.3" };
	m->n_pods = 2;
	pf = only_port(plan(m));
	assert_true(pf->drain);
	assert_string_equal(pf->reason, "4 VFs are taken away to make 2");
	assert_int_equal(pf->n_pods, 1);
	assert_string_equal(pf->pods[0]->name, "prefill-0");
	assert_string_equal(plan_step_text(m->arena, &pf->steps[1]), "set sriov_numvfs to 2 (4 now)");
}

static void only_the_pod_of_a_changed_vf_is_touched(void **state)
{
	struct machine *m = *state;
	struct plan_pf *pf;

	provisioned(m, 2);
	m->vfs[1].mtu = 1500;
	m->pods[0] = (struct plan_pod){ "llm-test", "a", "0000:5c:00.2" };
	m->pods[1] = (struct plan_pod){ "llm-test", "b", "0000:5c:00.3" };
	m->n_pods = 2;
	pf = only_port(plan(m));
	assert_int_equal(pf->n_pods, 1);
	assert_string_equal(pf->pods[0]->name, "b");
	assert_true(pf->drain);
}

static void a_vf_in_a_pod_is_left_alone(void **state)
{
	struct machine *m = *state;

	provisioned(m, 2);
	m->vfs[0].netdev = m->vfs[0].rdma = m->vfs[0].node_guid = NULL; /* moved */
	m->vfs[0].mtu = 0;
	assert_true(plan(m)->nothing_to_do);
}

static void mtu_of_a_port_is_only_raised(void **state)
{
	struct machine *m = *state;

	provisioned(m, 2);
	m->pf.mtu = 9500;
	assert_true(plan(m)->nothing_to_do);
	m->pf.mtu = 4000;
	assert_string_equal(steps(m, only_port(plan(m))), "set the port's MTU to 9000 (4000 now)\n");
	assert_true(only_port(plan(m))->drain);
}

static void an_existing_vf_without_admin_mac_keeps_its_address(void **state)
{
	struct machine *m = *state;

	provisioned(m, 2);
	m->vfs[1].admin_mac = "00:00:00:00:00:00";
	assert_string_equal(steps(m, only_port(plan(m))),
			    "VF 1: set address 02:00:00:00:00:01 through the PF (to keep the one it has)\n");
	assert_false(only_port(plan(m))->drain);
	m->vfs[1].admin_mac = NULL; /* not told: nothing is concluded from it */
	assert_true(plan(m)->nothing_to_do);
}

static void a_zero_node_guid_is_set_and_the_vf_bound_again(void **state)
{
	struct machine *m = *state;

	provisioned(m, 2);
	m->vfs[0].node_guid = "0000:0000:0000:0000";
	assert_string_equal(steps(m, only_port(plan(m))),
			    "VF 0: set address 02:00:00:00:00:01 through the PF (its RDMA node GUID is zero)\n"
			    "VF 0: unbind and bind its driver (its RDMA node GUID is zero)\n"
			    "VF 0: set MTU 9000\n");
	assert_true(only_port(plan(m))->drain);
	m->group.is_rdma = false;
	assert_true(plan(m)->nothing_to_do);
}

static void infiniband_vfs_get_guids(void **state)
{
	struct machine *m = *state;
	struct plan_pf *pf;

	m->pf.link_layer = "infiniband";
	m->interface.link_type = "IB";
	m->interface.mtu = m->group.mtu = 0;
	pf = only_port(plan(m));
	assert_string_equal(pf->steps[2].text, identity_guid(m->arena, "machine/host", PCI, 0));
	assert_int_equal(strlen(pf->steps[2].text), 19);
}

static void infiniband_vfs_that_a_kill_left_unbound_get_guids_before_they_are_bound(void **state)
{
	struct machine *m = *state;
	const char *guid = identity_guid(m->arena, "machine/host", PCI, 1);

	provisioned(m, 2);
	m->pf.link_layer = "infiniband";
	m->interface.link_type = "IB";
	m->interface.mtu = m->group.mtu = 0;
	assert_true(plan(m)->nothing_to_do);
	m->vfs[1].driver = m->vfs[1].netdev = m->vfs[1].rdma = m->vfs[1].node_guid = NULL;
	assert_string_equal(steps(m, only_port(plan(m))),
			    arena_printf(m->arena, "VF 1: set address %s through the PF (it has no driver, which would tell its GUID)\n"
						   "VF 1: bind its driver (no driver now)\n", guid));
}

static void the_second_port_of_a_lag_needs_no_rdma_device_of_its_own(void **state)
{
	struct machine *m = *state;
	struct inventory_pf pfs[] = { m->pf, m->pf };
	struct plan_pf *pf;

	m->inventory.pfs = pfs;
	m->inventory.n_pfs = 2;
	pfs[0].rdma = "mlx5_bond_0";
	pfs[1].rdma = NULL;
	pfs[1].pci = m->interface.pci_address = "0000:5c:00.1";
	assert_int_equal(only_port(plan(m))->n_warnings, 0);
	pfs[0].pci = "0000:5d:00.0"; /* another card's */
	pf = only_port(plan(m));
	assert_int_equal(pf->n_warnings, 1);
	assert_non_null(strstr(pf->warnings[0], "the port has no RDMA device"));
}

static void vfio_vfs_are_bound_by_name_without_mtu(void **state)
{
	struct machine *m = *state;

	provisioned(m, 2);
	m->group.device_type = "vfio-pci";
	m->group.is_rdma = false;
	assert_string_equal(steps(m, only_port(plan(m))), "VF 0: unbind and bind vfio-pci (mlx5_core now)\n"
							  "VF 1: unbind and bind vfio-pci (mlx5_core now)\n");
	m->vfs[0].driver = m->vfs[1].driver = "vfio-pci";
	assert_true(plan(m)->nothing_to_do);
	m->group.device_type = "netdevice";
	m->group.mtu = 0;
	assert_string_equal(steps(m, only_port(plan(m))), "VF 0: unbind and bind its driver (vfio-pci now)\n"
							  "VF 1: unbind and bind its driver (vfio-pci now)\n");
	m->group.device_type = "vfio-pci";
	m->inventory.iommu = false;
	assert_non_null(strstr(only_port(plan(m))->error, "IOMMU"));
	assert_true(only_port(plan(m))->reboot);
}

static void groups_share_a_port_by_range(void **state)
{
	struct machine *m = *state;
	struct api_vf_group groups[2] = { m->group, m->group };

	groups[0].vf_range = "0-0";
	groups[1].vf_range = "1";
	groups[1].mtu = 1500;
	m->interface.vf_groups = groups;
	m->interface.n_vf_groups = 2;
	provisioned(m, 2);
	m->interface.mtu = 9000;
	assert_string_equal(steps(m, only_port(plan(m))), "VF 1: set MTU 1500 (9000 now)\n");
}

static void switchdev_comes_after_the_addresses_and_before_the_drivers(void **state)
{
	struct machine *m = *state;
	struct plan_pf *pf;

	m->interface.eswitch_mode = "switchdev";
	m->interface.num_vfs = 1;
	m->group.vf_range = "0";
	pf = only_port(plan(m));
	assert_int_equal(pf->steps[2].op, PLAN_SET_NUMVFS);
	assert_int_equal(pf->steps[3].op, PLAN_VF_IDENTITY);
	assert_int_equal(pf->steps[4].op, PLAN_ESWITCH);
	assert_int_equal(pf->steps[5].op, PLAN_AUTOPROBE_ON);
	assert_int_equal(pf->steps[6].op, PLAN_BIND_VF);

	/* ice: the mode first */
	m->pf.driver = "ice";
	pf = only_port(plan(m));
	assert_int_equal(pf->steps[2].op, PLAN_ESWITCH);
	assert_int_equal(pf->steps[3].op, PLAN_SET_NUMVFS);

	m->pf.eswitch = NULL;
	assert_non_null(strstr(only_port(plan(m))->error, "eSwitchMode switchdev"));
}

static void leaving_switchdev_unbinds_the_vfs_and_keeps_them(void **state)
{
	struct machine *m = *state;

	provisioned(m, 2);
	m->pf.eswitch = "switchdev";
	assert_string_equal(steps(m, only_port(plan(m))), "unbind the drivers of all VFs\n"
							  "set the e-switch to legacy (switchdev now)\n"
							  "VF 0: bind its driver\nVF 1: bind its driver\n"
							  "VF 0: set MTU 9000\nVF 1: set MTU 9000\n");
	assert_true(only_port(plan(m))->drain);
}

static void what_cannot_be_done_names_both_numbers_and_the_way_out(void **state)
{
	struct machine *m = *state;
	struct plan *p;

	m->interface.num_vfs = 16;
	m->group.vf_range = "0-15";
	p = plan(m);
	assert_true(plan_has_errors(p));
	assert_false(p->nothing_to_do);
	assert_int_equal(only_port(p)->n_steps, 0);
	assert_string_equal(only_port(p)->error,
			    "16 VFs wanted, the port has at most 8 (sriov_totalvfs): lower numVfs, or raise it in the "
			    "firmware (mstconfig -d " PCI " set SRIOV_EN=1 NUM_OF_VFS=16) and reboot");
	m->pf.sriov = false;
	assert_non_null(strstr(only_port(plan(m))->error, "offers no SR-IOV"));
	assert_true(only_port(plan(m))->reboot);
}

static void mtu_outside_the_ports_bounds_is_an_error(void **state)
{
	struct machine *m = *state;

	m->interface.mtu = 9979;
	assert_string_equal(only_port(plan(m))->error, "mtu 9979 is above 9978, the most that the port takes");
	m->interface.mtu = 9000;
	m->group.mtu = 60;
	assert_string_equal(only_port(plan(m))->error, "policy sriov-p2-policy: mtu 60 is below 68");
}

static void another_link_type_is_a_change_of_the_firmware(void **state)
{
	struct machine *m = *state;

	m->interface.link_type = "ib";
	assert_string_equal(only_port(plan(m))->error, "linkType ib wanted, the port is Ethernet: change the firmware "
						       "(mstconfig -d " PCI " set LINK_TYPE_P1=1) and reboot");
	assert_true(only_port(plan(m))->reboot);
}

static void a_range_beyond_the_last_vf_is_an_error(void **state)
{
	struct machine *m = *state;

	m->group.vf_range = "0-5";
	assert_non_null(strstr(only_port(plan(m))->error, "vfRange 0-5 ends above the last of 2 VFs"));
	m->group.vf_range = "5-1";
	assert_non_null(strstr(only_port(plan(m))->error, "vfRange \"5-1\" is no range"));
}

static void an_externally_managed_port_is_not_changed_itself(void **state)
{
	struct machine *m = *state;

	m->interface.externally_managed = true;
	assert_non_null(strstr(only_port(plan(m))->error, "2 VFs wanted, 0 there"));
	provisioned(m, 4); /* more than wanted is fine */
	assert_true(plan(m)->nothing_to_do);
	m->pf.admin_up = false;
	m->vfs[1].mtu = 1500;
	assert_string_equal(steps(m, only_port(plan(m))), "set the port up (down now)\n"
							  "VF 1: set MTU 9000 (1500 now)\n");
	m->pf.mtu = 1500;
	assert_non_null(strstr(only_port(plan(m))->error, "ip link set p2 mtu 9000"));
}

static void an_externally_managed_port_is_in_the_e_switch_mode_asked_for(void **state)
{
	struct machine *m = *state;

	provisioned(m, 2);
	m->interface.externally_managed = true;
	m->interface.eswitch_mode = "switchdev";
	assert_string_equal(only_port(plan(m))->error,
			    "eSwitchMode switchdev wanted, the port is in legacy, and it is externally managed: change it there "
			    "(devlink dev eswitch set pci/" PCI " mode switchdev) or in the policy");
	m->pf.eswitch = "switchdev";
	assert_true(plan(m)->nothing_to_do);
	m->interface.eswitch_mode = NULL;
	assert_non_null(strstr(only_port(plan(m))->error, "eSwitchMode legacy wanted (none is given), the port is in switchdev"));
	m->pf.eswitch = NULL; /* its driver does not tell: legacy */
	assert_true(plan(m)->nothing_to_do);
	m->interface.eswitch_mode = "switchdev";
	assert_non_null(strstr(only_port(plan(m))->error, "does not tell the mode"));
}

static void a_port_handed_over_to_somebody_else_keeps_its_vfs_without_a_policy(void **state)
{
	struct inventory_before before = { .num_vfs = 0, .mtu = 1500, .eswitch = "legacy", .autoprobe = true };
	struct machine *m = *state;

	provisioned(m, 2);
	m->pf.before = &before;
	m->interface.externally_managed = true;
	assert_string_equal(steps(m, only_port(plan(m))), "forget the port (somebody else makes its VFs now)\n");
	m->pf.before = NULL;
	assert_true(plan(m)->nothing_to_do);
	m->spec.n_interfaces = 0;
	assert_true(plan(m)->nothing_to_do);
}

static void a_port_with_a_warning_alone_does_not_hide_one_that_is_undone(void **state)
{
	struct machine *m = *state;
	struct inventory_pf pfs[2];
	struct api_interface interfaces[2];

	provisioned(m, 2);
	m->pf.default_route = true;
	pfs[0] = pfs[1] = m->pf;
	interfaces[0] = interfaces[1] = m->interface;
	pfs[1].pci = interfaces[1].pci_address = "0000:5c:00.1";
	m->inventory.pfs = pfs;
	m->spec.interfaces = interfaces;
	m->inventory.n_pfs = m->spec.n_interfaces = 2;
	assert_int_equal(plan(m)->n_pfs, 2);
	assert_null(plan_undone(plan(m)));
	pfs[1].mtu = 1500;
	assert_ptr_equal(plan_undone(plan(m))->pci, pfs[1].pci);
	pfs[1].problem = "sriov_numvfs cannot be read";
	assert_string_equal(plan_undone(plan(m))->error, pfs[1].problem);
}

static void an_absent_port_is_an_error_that_lists_the_ports(void **state)
{
	struct machine *m = *state;
	struct plan_pf *pf;

	m->interface.pci_address = "0000:ff:00.0";
	pf = only_port(plan(m));
	assert_string_equal(pf->error, "there is no such port on this node: its ports are " PCI);
}

static void a_port_with_a_problem_is_not_touched(void **state)
{
	struct machine *m = *state;

	m->pf.problem = "sriov_numvfs cannot be read";
	m->pf.vendor = m->pf.device = "";
	assert_string_equal(only_port(plan(m))->error, "sriov_numvfs cannot be read");
	m->pf.problem = NULL;
	m->pf.driver = NULL;
	assert_non_null(strstr(only_port(plan(m))->error, "no driver is bound"));
}

static void a_port_no_longer_wanted_goes_back_if_kvrail_configured_it(void **state)
{
	struct inventory_before before = { .num_vfs = 0, .mtu = 1500, .eswitch = "legacy", .autoprobe = true };
	struct machine *m = *state;
	struct plan_pf *pf;

	provisioned(m, 2);
	m->spec.n_interfaces = 0;
	assert_true(plan(m)->nothing_to_do);
	m->pf.before = &before;
	pf = only_port(plan(m));
	assert_string_equal(steps(m, pf), "set sriov_numvfs to 0 (2 now)\n"
					  "set the port's MTU to 1500 (9000 now)\n"
					  "forget the port (it is as it was found)\n");
	assert_true(pf->drain);
}

static void a_port_is_remembered_before_its_first_change(void **state)
{
	struct inventory_before before = { .mtu = 1500, .autoprobe = true };
	struct machine *m = *state;
	struct plan_pf *pf;

	m->inventory.state_dir = "/var/lib/kvrail";
	pf = only_port(plan(m));
	assert_int_equal(pf->steps[0].op, PLAN_REMEMBER);
	assert_string_equal(pf->steps[0].text, "{\"numVfs\":0,\"mtu\":1500,\"eSwitchMode\":\"legacy\",\"autoprobe\":true,\"vendor\":\"15b3\",\"device\":\"101d\",\"permMac\":\"\"}");
	m->pf.before = &before;
	assert_int_equal(only_port(plan(m))->steps[0].op, PLAN_MTU_PF);
}

static bool believed(struct machine *m, const char *dir, const char *record)
{
	struct err e;

	assert_int_equal(file_write_atomic(AT_FDCWD, arena_printf(m->arena, "%s/ports/" PCI ".json", dir), record, strlen(record), 0600), 0);
	m->pf.before = NULL;
	m->inventory.n_warnings = 0;
	assert_int_equal(inventory_remember(&m->inventory, dir, &e), 0);
	assert_int_equal(m->inventory.n_warnings, !m->pf.before);
	return m->pf.before;
}

static void a_record_of_another_card_is_not_used(void **state)
{
	char dir[] = "/tmp/kvrail-plan-XXXXXX";
	struct machine *m = *state;
	const char *own;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(file_mkdirs(arena_printf(m->arena, "%s/ports", dir), 0700), 0);
	m->inventory.arena = m->arena;
	m->inventory.state_dir = dir;
	m->pf.perm_mac = "b8:ce:f6:00:00:01";
	own = only_port(plan(m))->steps[0].text;
	assert_true(believed(m, dir, own));
	assert_true(believed(m, dir, "{\"numVfs\":0,\"mtu\":1500}")); /* before records said whose they are */
	assert_true(believed(m, dir, "{\"numVfs\":0,\"mtu\":1500,\"vendor\":\"15b3\",\"device\":\"101d\",\"permMac\":\"\"}"));
	assert_false(believed(m, dir, "{\"numVfs\":0,\"mtu\":1500,\"vendor\":\"15b3\",\"device\":\"1021\"}"));
	assert_false(believed(m, dir, "{\"numVfs\":0,\"mtu\":1500,\"vendor\":\"8086\",\"device\":\"101d\"}"));
	m->pf.perm_mac = "b8:ce:f6:00:00:02";
	assert_false(believed(m, dir, own));
	m->pf.perm_mac = NULL; /* the kernel does not tell */
	assert_true(believed(m, dir, own));
	assert_int_equal(system(arena_printf(m->arena, "rm -r %s", dir)), 0);
}

static void a_port_that_is_down_goes_up_before_it_makes_vfs(void **state)
{
	struct machine *m = *state;
	struct plan_pf *pf;

	m->pf.admin_up = false;
	pf = only_port(plan(m));
	assert_int_equal(pf->steps[1].op, PLAN_LINK_UP);
	assert_int_equal(pf->steps[3].op, PLAN_SET_NUMVFS);
	assert_false(pf->drain);
}

static void rdma_mode_is_compared_with_the_effective_one(void **state)
{
	struct api_system system = { .rdma_mode = "exclusive" };
	struct machine *m = *state;
	struct plan *p;

	provisioned(m, 2);
	m->spec.system = &system;
	m->inventory.rdma_mode = "exclusive";
	assert_true(plan(m)->nothing_to_do);
	m->inventory.rdma_mode = "shared";
	p = plan(m);
	assert_int_equal(p->n_system, 1);
	assert_false(p->nothing_to_do);
	assert_false(p->reboot);
	m->n_pods = 1;
	m->pods[0] = (struct plan_pod){ "ns", "pod", "0000:5c:00.2" };
	assert_true(plan(m)->reboot);
	m->inventory.rdma_mode = NULL; /* no RDMA here: said, and nothing that would never come true is planned */
	p = plan(m);
	assert_true(p->nothing_to_do);
	assert_int_equal(p->n_warnings, 1);
	system.rdma_mode = ""; /* as it is */
	m->inventory.rdma_mode = "shared";
	assert_true(plan(m)->nothing_to_do);
}

static void the_status_says_what_the_operators_would(void **state)
{
	struct machine *m = *state;
	struct api_nodestate_status *s;

	m->pf.eswitch = NULL; /* igb has no devlink */
	s = inventory_status(&m->inventory, m->arena);
	assert_int_equal(s->n_interfaces, 1);
	assert_string_equal(s->interfaces[0].eswitch_mode, "legacy");
	assert_false(s->interfaces[0].externally_managed);
	m->interface.externally_managed = true;
	inventory_status_external(s, &m->spec);
	assert_true(s->interfaces[0].externally_managed);
	m->pf.eswitch = "switchdev";
	assert_string_equal(inventory_status(&m->inventory, m->arena)->interfaces[0].eswitch_mode, "switchdev");
}

static void identity_depends_on_machine_port_and_vf(void **state)
{
	struct machine *m = *state;
	const char *a = identity_mac(m->arena, "x/h", PCI, 0);

	assert_string_equal(a, identity_mac(m->arena, "x/h", PCI, 0));
	assert_string_not_equal(a, identity_mac(m->arena, "y/h", PCI, 0));
	assert_string_not_equal(a, identity_mac(m->arena, "x/h", "0000:5c:00.1", 0));
	for (unsigned i = 0; i < 256; i++) {
		const char *b = identity_mac(m->arena, "x/h", PCI, i);
		unsigned first;

		assert_int_equal(strlen(b), 17);
		assert_int_equal(sscanf(b, "%2x", &first), 1);
		assert_int_equal(first & 3, 2); /* locally administered, unicast */
		assert_true(i == 0 || strcmp(a, b) != 0);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(new_vfs_get_their_address_before_they_are_bound_once),
		TEST(a_port_that_is_right_has_nothing_to_do),
		TEST(an_apply_that_was_killed_goes_on_where_it_stopped),
		TEST(autoprobe_that_the_administrator_switched_off_stays_off),
		TEST(another_number_of_vfs_takes_all_and_names_the_pods),
		TEST(only_the_pod_of_a_changed_vf_is_touched),
		TEST(a_vf_in_a_pod_is_left_alone),
		TEST(mtu_of_a_port_is_only_raised),
		TEST(an_existing_vf_without_admin_mac_keeps_its_address),
		TEST(a_zero_node_guid_is_set_and_the_vf_bound_again),
		TEST(infiniband_vfs_get_guids),
		TEST(infiniband_vfs_that_a_kill_left_unbound_get_guids_before_they_are_bound),
		TEST(the_second_port_of_a_lag_needs_no_rdma_device_of_its_own),
		TEST(vfio_vfs_are_bound_by_name_without_mtu),
		TEST(groups_share_a_port_by_range),
		TEST(switchdev_comes_after_the_addresses_and_before_the_drivers),
		TEST(leaving_switchdev_unbinds_the_vfs_and_keeps_them),
		TEST(what_cannot_be_done_names_both_numbers_and_the_way_out),
		TEST(mtu_outside_the_ports_bounds_is_an_error),
		TEST(another_link_type_is_a_change_of_the_firmware),
		TEST(a_range_beyond_the_last_vf_is_an_error),
		TEST(an_externally_managed_port_is_not_changed_itself),
		TEST(an_externally_managed_port_is_in_the_e_switch_mode_asked_for),
		TEST(a_port_handed_over_to_somebody_else_keeps_its_vfs_without_a_policy),
		TEST(a_port_with_a_warning_alone_does_not_hide_one_that_is_undone),
		TEST(an_absent_port_is_an_error_that_lists_the_ports),
		TEST(a_port_with_a_problem_is_not_touched),
		TEST(a_port_no_longer_wanted_goes_back_if_kvrail_configured_it),
		TEST(a_port_is_remembered_before_its_first_change),
		TEST(a_record_of_another_card_is_not_used),
		TEST(a_port_that_is_down_goes_up_before_it_makes_vfs),
		TEST(rdma_mode_is_compared_with_the_effective_one),
		TEST(the_status_says_what_the_operators_would),
		TEST(identity_depends_on_machine_port_and_vf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
