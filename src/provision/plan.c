/* SPDX-License-Identifier: Apache-2.0 */
/* What must be done to a port, and in which order. The steps for single VFs are in plan-vf.c. */
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "provision/plan-port.h"

#define MLX_VENDOR "15b3"

struct plan_step *port_step(struct port *p, enum plan_op op, const char *why)
{
	struct plan_step *s = arena_push(p->a, &p->out->steps, &p->out->n_steps, sizeof(*s));

	s->op = op;
	s->why = why;
	return s;
}

void port_fail(struct port *p, const char *fmt, ...)
{
	va_list ap;

	if (p->out->error)
		return;
	va_start(ap, fmt);
	p->out->error = arena_vprintf(p->a, fmt, ap);
	va_end(ap);
}

void port_warn(struct port *p, const char *fmt, ...)
{
	const char **w = arena_push(p->a, &p->out->warnings, &p->out->n_warnings, sizeof(*w));
	va_list ap;

	va_start(ap, fmt);
	*w = arena_vprintf(p->a, fmt, ap);
	va_end(ap);
}

void port_drain(struct port *p, const char *fmt, ...)
{
	va_list ap;

	if (p->out->drain || p->pf->num_vfs == 0)
		return;
	p->out->drain = true;
	va_start(ap, fmt);
	p->out->reason = arena_vprintf(p->a, fmt, ap);
	va_end(ap);
}

void port_reboot(struct port *p)
{
	p->out->reboot = true;
	p->out->reason = "what must change is set when the machine boots";
}

static bool is_vf_of(const struct inventory_pf *pf, const char *pci)
{
	for (size_t i = 0; i < pf->n_vfs; i++)
		if (pf->vfs[i].pci && strcmp(pf->vfs[i].pci, pci) == 0)
			return true;
	return false;
}

static bool touched(const struct plan_pf *out, const struct plan_pod *pod)
{
	for (size_t i = 0; i < out->n_pods; i++)
		if (out->pods[i] == pod)
			return true;
	return false;
}

void port_touch(struct port *p, const char *pci)
{
	for (size_t i = 0; i < p->n_pods; i++) {
		const struct plan_pod *pod = &p->pods[i];
		bool here = pod->pci && (pci ? strcmp(pod->pci, pci) == 0 : is_vf_of(p->pf, pod->pci));

		if (here && !touched(p->out, pod)) {
			const struct plan_pod **slot = arena_push(p->a, &p->out->pods, &p->out->n_pods, sizeof(*slot));

			*slot = pod;
		}
	}
}

/* ---- checks: what cannot be done, and the way out ---- */

/* How the firmware of the port's card is told to offer VFs. */
static const char *more_vfs(const struct port *p)
{
	if (strcmp(p->pf->vendor, MLX_VENDOR) == 0)
		return arena_printf(p->a, "raise it in the firmware (mstconfig -d %s set SRIOV_EN=1 NUM_OF_VFS=%lld) "
				    "and reboot", p->pf->pci, (long long)p->want->num_vfs);
	return "raise it in the card's set-up (BIOS or the vendor's tool) if it can be, and reboot";
}

static void check_num_vfs(struct port *p)
{
	if (p->want->externally_managed) {
		if (p->want->num_vfs > p->pf->num_vfs)
			port_fail(p, "%lld VFs wanted, %lld there, and the port is externally managed: make them, or set "
				  "externallyManaged: false", (long long)p->want->num_vfs, (long long)p->pf->num_vfs);
		return;
	}
	if (p->want->num_vfs < 0) {
		port_fail(p, "numVfs %lld is negative", (long long)p->want->num_vfs);
	} else if (p->want->num_vfs > 0 && !p->pf->sriov) {
		port_reboot(p);
		port_fail(p, "%lld VFs wanted and the port offers no SR-IOV (it has no sriov_totalvfs): %s",
			  (long long)p->want->num_vfs, more_vfs(p));
	} else if (p->want->num_vfs > p->pf->total_vfs) {
		port_fail(p, "%lld VFs wanted, the port has at most %lld (sriov_totalvfs): lower numVfs, or %s",
			  (long long)p->want->num_vfs, (long long)p->pf->total_vfs, more_vfs(p));
	}
}

static int64_t largest_mtu(const struct api_interface *want)
{
	int64_t mtu = want->mtu;

	for (size_t i = 0; i < want->n_vf_groups; i++)
		if (want->vf_groups[i].mtu > mtu)
			mtu = want->vf_groups[i].mtu;
	return mtu;
}

static void check_mtu(struct port *p)
{
	int64_t mtu = largest_mtu(p->want);

	if (p->pf->max_mtu && mtu > p->pf->max_mtu)
		port_fail(p, "mtu %lld is above %lld, the most that the port takes", (long long)mtu,
			  (long long)p->pf->max_mtu);
	else if (p->want->externally_managed && mtu > p->pf->mtu)
		port_fail(p, "mtu %lld is above %lld, which the port has, and the port is externally managed: raise it there "
			  "first (ip link set %s mtu %lld)", (long long)mtu, (long long)p->pf->mtu, p->pf->netdev,
			  (long long)mtu);
}

static void check_link_type(struct port *p)
{
	const char *want = p->want->link_type;
	bool want_ib = want && strcasecmp(want, "ib") == 0;
	unsigned n;

	if (!want || !*want || !p->pf->link_layer || want_ib == p->ib)
		return;
	/* mlx5: a card's port number is its function's number plus one */
	n = (unsigned)(p->pf->pci[strlen(p->pf->pci) - 1] - '0') + 1;
	if (strcmp(p->pf->vendor, MLX_VENDOR) == 0) {
		port_reboot(p);
		port_fail(p, "linkType %s wanted, the port is %s: change the firmware (mstconfig -d %s set "
			  "LINK_TYPE_P%u=%d) and reboot", want, p->ib ? "InfiniBand" : "Ethernet", p->pf->pci, n,
			  want_ib ? 1 : 2);
	} else {
		port_fail(p, "linkType %s wanted, the port is %s and cannot change: take linkType out of the policy",
			  want, p->ib ? "InfiniBand" : "Ethernet");
	}
}

static const char *wanted_eswitch(const struct api_interface *want)
{
	return want->eswitch_mode && *want->eswitch_mode ? want->eswitch_mode : "legacy";
}

static bool eswitch_differs(const struct port *p)
{
	return strcmp(wanted_eswitch(p->want), p->pf->eswitch ? p->pf->eswitch : "legacy") != 0;
}

static void check_eswitch(struct port *p)
{
	const char *mode = wanted_eswitch(p->want);

	if (p->want->externally_managed && eswitch_differs(p))
		port_fail(p, "eSwitchMode %s wanted%s, the port is in %s, and it is externally managed: change it there (devlink dev "
			  "eswitch set pci/%s mode %s) or in the policy", mode,
			  p->want->eswitch_mode && *p->want->eswitch_mode ? "" : " (none is given)", p->pf->eswitch, p->pf->pci, mode);
}

static void check_tree(struct port *p)
{
	if (p->pf->problem)
		port_fail(p, "%s", p->pf->problem);
	else if (!p->pf->driver)
		port_fail(p, "no driver is bound to the port: load the module that drives %s:%s", p->pf->vendor,
			  p->pf->device);
	else if (!p->pf->netdev)
		port_fail(p, "the port has no network device here: it is in another network namespace, or %s does not "
			  "make one", p->pf->driver);
	else if (eswitch_differs(p) && !p->pf->eswitch)
		port_fail(p, "eSwitchMode %s wanted, and driver %s does not tell the mode that it is in (devlink dev "
			  "eswitch show pci/%s): take eSwitchMode out of the policy", wanted_eswitch(p->want),
			  p->pf->driver, p->pf->pci);
}

static void check(struct port *p)
{
	check_tree(p);
	if (p->out->error)
		return;
	check_num_vfs(p);
	check_mtu(p);
	check_eswitch(p);
	check_link_type(p);
	port_check_groups(p);
	if (p->pf->default_route && !p->want->externally_managed)
		port_warn(p, "the port carries the default route: making VFs can interrupt it");
}

/* ---- steps ---- */

/* What the port is now, for the day when no policy wants it any more. */
static void remember(struct port *p)
{
	struct plan_step *s;

	if (!p->inventory->state_dir || p->pf->before)
		return;
	s = port_step(p, PLAN_REMEMBER, NULL);
	s->text = arena_printf(p->a, "{\"numVfs\":%lld,\"mtu\":%lld,\"eSwitchMode\":\"%s\",\"autoprobe\":%s,\"vendor\":\"%s\",\"device\":\"%s\","
			       "\"permMac\":\"%s\"}",
			       (long long)p->pf->num_vfs, (long long)p->pf->mtu,
			       p->pf->eswitch ? p->pf->eswitch : "",
			       p->pf->has_autoprobe && !p->pf->autoprobe ? "false" : "true",
			       p->pf->vendor, p->pf->device, p->pf->perm_mac ? p->pf->perm_mac : "");
}

static void raise_mtu(struct port *p)
{
	int64_t mtu = largest_mtu(p->want);
	struct plan_step *s;

	if (mtu <= p->pf->mtu)
		return;
	s = port_step(p, PLAN_MTU_PF, arena_printf(p->a, "%lld now", (long long)p->pf->mtu));
	s->number = mtu;
	port_drain(p, "the port's MTU rises from %lld to %lld", (long long)p->pf->mtu, (long long)mtu);
}

/* Before VFs are made: bnxt_en makes none while it is down, and says nothing; ixgbevf does not probe. */
static void link_up(struct port *p)
{
	if (p->pf->admin_up || p->want->num_vfs == 0)
		return;
	port_step(p, PLAN_LINK_UP, "down now");
	port_drain(p, "the port is down");
}

static void set_numvfs(struct port *p, int64_t n)
{
	port_step(p, PLAN_SET_NUMVFS, arena_printf(p->a, "%lld now", (long long)p->pf->num_vfs))->number = n;
}

static void set_eswitch(struct port *p, const char *mode)
{
	bool now = strcmp(mode, p->pf->eswitch) != 0;

	port_step(p, PLAN_ESWITCH, now ? arena_printf(p->a, "%s now", p->pf->eswitch) : "as it was")->text = mode;
}

/* ice takes a mode only without VFs, and makes VFs in either mode. */
static void create_after_eswitch(struct port *p)
{
	if (eswitch_differs(p)) {
		if (p->pf->num_vfs)
			set_numvfs(p, 0);
		set_eswitch(p, wanted_eswitch(p->want));
	}
	if (p->recreate)
		set_numvfs(p, p->want->num_vfs);
	if (p->want->num_vfs)
		port_vf_identity(p);
}

/*
 * mlx5 and others make VFs in legacy mode and go to switchdev with the VFs unbound. MAC and GUID are set in between:
 * in switchdev mode a representor stands where the PF's VF settings were.
 */
static void create_before_eswitch(struct port *p)
{
	bool is_legacy = !p->pf->eswitch || strcmp(p->pf->eswitch, "legacy") == 0;
	bool to_legacy = strcmp(wanted_eswitch(p->want), "legacy") == 0;
	bool leave = !is_legacy && (p->recreate || to_legacy);

	if (p->unbind || (leave && p->pf->num_vfs))
		port_step(p, PLAN_UNBIND_VFS, NULL);
	if (leave)
		set_eswitch(p, "legacy");
	if (p->recreate)
		set_numvfs(p, p->want->num_vfs);
	port_vf_identity(p);
	if (!to_legacy && (is_legacy || leave))
		set_eswitch(p, wanted_eswitch(p->want));
}

/* sriov_drivers_autoprobe in the end: as it was found; 1, the kernel's default, where nothing is remembered. */
static bool final_autoprobe(const struct port *p)
{
	if (p->pf->before)
		return p->pf->before->autoprobe;
	return p->inventory->state_dir || p->want->externally_managed ? p->pf->autoprobe : true;
}

/* While it is off no VF is probed, not by drivers_probe either (drivers/pci/pci-driver.c, pci_device_can_probe()). */
static void bind_vfs(struct port *p, bool autoprobe)
{
	bool has = p->pf->has_autoprobe, final = final_autoprobe(p);

	if (has && !autoprobe && (final || port_vf_must_probe(p))) {
		port_step(p, PLAN_AUTOPROBE_ON, p->pf->autoprobe ? NULL : "off now");
		autoprobe = true;
	}
	port_vf_bind(p);
	port_vf_mtu(p);
	if (has && autoprobe && !final)
		port_step(p, PLAN_AUTOPROBE_OFF, "as it was found");
}

static void make_vfs(struct port *p)
{
	bool mode_first = strcmp(p->pf->driver, "ice") == 0;
	bool differs = eswitch_differs(p);
	bool autoprobe_off;

	p->recreate = p->want->num_vfs != p->pf->num_vfs || (mode_first && differs && p->pf->num_vfs);
	p->unbind = differs && !p->recreate && p->pf->num_vfs;
	if (p->recreate || differs) {
		if (p->recreate)
			port_drain(p, "%lld VFs are taken away to make %lld", (long long)p->pf->num_vfs,
				   (long long)p->want->num_vfs);
		else
			port_drain(p, "the e-switch goes from %s to %s", p->pf->eswitch, wanted_eswitch(p->want));
		port_touch(p, NULL);
	}
	autoprobe_off = p->recreate && p->want->num_vfs && p->pf->has_autoprobe && p->pf->autoprobe;
	if (autoprobe_off)
		port_step(p, PLAN_AUTOPROBE_OFF, "each VF is probed once, when it has its address");
	if (mode_first)
		create_after_eswitch(p);
	else
		create_before_eswitch(p);
	bind_vfs(p, p->pf->autoprobe && !autoprobe_off);
}

static void plan_wanted(struct port *p)
{
	size_t remembered;

	check(p);
	if (p->out->error)
		return;
	if (p->want->externally_managed) {
		link_up(p);
		port_vf_identity(p);
		bind_vfs(p, p->pf->autoprobe);
		if (p->pf->before) /* else the day without a policy would take VFs that are not kvrail's */
			port_step(p, PLAN_FORGET, "somebody else makes its VFs now");
		return;
	}
	remember(p);
	remembered = p->out->n_steps;
	raise_mtu(p);
	link_up(p);
	make_vfs(p);
	if (p->out->n_steps == remembered) /* right as it is: nothing of ours to remember */
		p->out->n_steps = 0;
}

/* No policy wants the port any more, and kvrail configured it: back to what it was. MTU last, after the VFs. */
static void plan_unwanted(struct port *p)
{
	const struct inventory_before *before = p->pf->before;
	bool eswitch = p->pf->eswitch && before->eswitch && *before->eswitch &&
		       strcmp(p->pf->eswitch, before->eswitch) != 0;
	bool recreate = eswitch || p->pf->num_vfs != before->num_vfs;

	p->out->reason = "no policy wants the port any more";
	if (recreate && p->pf->num_vfs) {
		p->out->drain = true;
		port_touch(p, NULL);
		set_numvfs(p, 0);
	}
	if (eswitch)
		set_eswitch(p, before->eswitch);
	if (recreate && before->num_vfs)
		set_numvfs(p, before->num_vfs);
	if (p->pf->netdev && before->mtu > 0 && before->mtu < p->pf->mtu)
		port_step(p, PLAN_MTU_PF, arena_printf(p->a, "%lld now", (long long)p->pf->mtu))->number =
			before->mtu;
	if (p->pf->has_autoprobe && p->pf->autoprobe != before->autoprobe)
		port_step(p, before->autoprobe ? PLAN_AUTOPROBE_ON : PLAN_AUTOPROBE_OFF, NULL);
	port_step(p, PLAN_FORGET, "it is as it was found");
}

/* ---- time ---- */

/*
 * Seconds as others measured them. A write of sriov_numvfs waits 0.1 s after VF Enable and 1 s after
 * disabling (drivers/pci/iov.c); the kernel makes VFs of all ports one after the other (pci_lock_rescan_remove).
 */
static double creation_seconds(const struct plan_pf *out, const struct inventory_pf *pf)
{
	double t = 0;

	for (size_t i = 0; i < out->n_steps; i++)
		if (out->steps[i].op == PLAN_SET_NUMVFS)
			t += (pf->num_vfs ? 1.0 : 0) + (out->steps[i].number ? 0.1 : 0);
	return t;
}

/* A VF's probe; how far probes of one card overlap nobody has published, so they are added up. */
static double probe_seconds(const char *driver)
{
	static const struct {
		const char *driver;
		double seconds;
	} measured[] = {
		{ "mlx5_core", 0.3 }, /* 8 VFs of a ConnectX-6 Lx in 2.6 s, 16 in 4.5 s */
		{ "i40e", 0.34 },     /* 64 VFs in 22 s */
		{ "ixgbe", 5 },	      /* 60 VFs in up to 300 s */
	};

	for (size_t i = 0; i < ARRAY_SIZE(measured); i++)
		if (strcmp(driver, measured[i].driver) == 0)
			return measured[i].seconds;
	return 0.3;
}

static double configuration_seconds(const struct plan_pf *out, const struct inventory_pf *pf)
{
	double t = 0;

	for (size_t i = 0; i < out->n_steps; i++)
		if (out->steps[i].op == PLAN_BIND_VF)
			t += probe_seconds(pf->driver);
		else if (out->steps[i].op == PLAN_ESWITCH)
			t += 3; /* a change with the VFs unbound */
	return t;
}

/* ---- the node ---- */

static const struct api_interface *wanted(const struct api_nodestate_spec *desired, const char *pci)
{
	for (size_t i = 0; i < desired->n_interfaces; i++)
		if (desired->interfaces[i].pci_address && strcasecmp(desired->interfaces[i].pci_address, pci) == 0)
			return &desired->interfaces[i];
	return NULL;
}

static const char *list_ports(struct arena *a, const struct inventory *i)
{
	const char *text = NULL;

	for (size_t k = 0; k < i->n_pfs; k++)
		text = arena_printf(a, "%s%s%s", text ? text : "", text ? ", " : "", i->pfs[k].pci);
	return text ? text : "none";
}

static struct plan_pf *add_port(struct arena *a, struct plan *plan, const char *pci, const char *netdev)
{
	struct plan_pf *out = arena_push(a, &plan->pfs, &plan->n_pfs, sizeof(*out));

	out->pci = pci;
	out->netdev = netdev;
	return out;
}

static void plan_port(struct port *p, struct plan *plan, double *creation, double *longest)
{
	double t;

	if (p->want)
		plan_wanted(p);
	else
		plan_unwanted(p);
	if (p->out->error) {
		p->out->steps = NULL;
		p->out->n_steps = 0;
		p->out->drain = false;
		p->out->n_pods = 0;
		p->out->reason = p->out->reboot ? p->out->reason : NULL;
	}
	if (!p->out->n_steps && !p->out->error && !p->out->n_warnings)
		return;
	*creation += creation_seconds(p->out, p->pf);
	t = configuration_seconds(p->out, p->pf);
	*longest = t > *longest ? t : *longest;
	p->out->seconds = creation_seconds(p->out, p->pf) + t;
	plan->drain |= p->out->drain;
	plan->reboot |= p->out->reboot;
	*add_port(p->a, plan, NULL, NULL) = *p->out;
}

static void plan_warn(struct arena *a, struct plan *plan, const char *text)
{
	const char **w = arena_push(a, &plan->warnings, &plan->n_warnings, sizeof(*w));

	*w = text;
}

/* The effective mode is compared, never the kernel's command line: that one cannot be edited on every distribution. */
static void plan_rdma_mode(struct arena *a, struct plan *plan, const struct inventory *i, const char *mode,
			   size_t n_pods)
{
	struct plan_step *s;

	if (!mode || !*mode || (i->rdma_mode && strcmp(mode, i->rdma_mode) == 0))
		return;
	if (!i->rdma_mode) {
		plan_warn(a, plan, arena_printf(a, "rdmaMode %s is wanted and the RDMA subsystem is not loaded (modprobe "
						"ib_core), or its mode cannot be read", mode));
		return;
	}
	s = arena_push(a, &plan->system, &plan->n_system, sizeof(*s));
	s->op = PLAN_RDMA_MODE;
	s->text = mode;
	s->why = arena_printf(a, "%s now", i->rdma_mode);
	/* drivers/infiniband/core/device.c, rdma_compatdev_set(): EBUSY while another namespace exists */
	if (n_pods) {
		plan->reboot = true;
		s->why = arena_printf(a, "%s now; pods run, so the kernel refuses until it boots with ib_core.netns_mode=%d",
				      i->rdma_mode, strcmp(mode, "shared") == 0);
	}
}

int plan_make(struct arena *a, const struct inventory *i, const struct api_nodestate_spec *desired,
	      const struct plan_pod *pods, size_t n_pods, struct plan **ret, struct err *e)
{
	struct plan *plan = arena_alloc(a, sizeof(*plan));
	double creation = 0, longest = 0;

	plan->state_dir = i->state_dir;
	plan_rdma_mode(a, plan, i, desired->system ? desired->system->rdma_mode : NULL, n_pods);
	if (desired->bridges && desired->bridges->n_ovs)
		plan_warn(a, plan, "software bridges are wanted, which kvrail does not manage: it leaves them alone");
	for (size_t k = 0; k < desired->n_interfaces; k++) {
		const char *pci = desired->interfaces[k].pci_address;

		if (!pci)
			return err_set(e, -EINVAL, "spec.interfaces[%zu]: pciAddress is missing", k);
		if (!inventory_pf(i, pci))
			add_port(a, plan, pci, desired->interfaces[k].name)->error =
				arena_printf(a, "there is no such port on this node: its ports are %s",
					     list_ports(a, i));
	}
	for (size_t k = 0; k < i->n_pfs; k++) {
		const struct inventory_pf *pf = &i->pfs[k];
		struct plan_pf out = { .pci = pf->pci, .netdev = pf->netdev };
		struct port p = {
			.a = a, .inventory = i, .pf = pf, .want = wanted(desired, pf->pci),
			.pods = pods, .n_pods = n_pods, .out = &out,
			.ib = pf->link_layer && strcmp(pf->link_layer, "infiniband") == 0,
		};

		if (p.want || pf->before)
			plan_port(&p, plan, &creation, &longest);
	}
	plan->seconds = creation + longest;
	plan->nothing_to_do = !plan->n_system && !plan_undone(plan);
	*ret = plan;
	return 0;
}

bool plan_has_errors(const struct plan *p)
{
	for (size_t i = 0; i < p->n_pfs; i++)
		if (p->pfs[i].error)
			return true;
	return false;
}

const struct plan_pf *plan_undone(const struct plan *p)
{
	for (size_t i = 0; i < p->n_pfs; i++)
		if (p->pfs[i].n_steps || p->pfs[i].error)
			return &p->pfs[i];
	return NULL;
}
