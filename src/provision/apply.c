/* SPDX-License-Identifier: Apache-2.0 */
/* Doing what a plan says. A step that finds its work done is a success, so a plan that was begun can be run again. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "linux/devlink.h"
#include "linux/pci.h"
#include "linux/rdma.h"
#include "linux/rtnl.h"
#include "provision/device.h"
#include "provision/plan.h"
#include "provision/remember.h"

/* VFs of one port that are worked on at once; ports are all worked on at once. */
#define VF_THREADS 16
/* How long a VF's network device may take to appear after its driver was bound; 1 s and more was seen. */
#define NETDEV_WAIT_MS 10000
#define POLL_MS 5
/* i40e answers EAGAIN while another operation of the card is pending. */
#define NUMVFS_TRIES 20
#define NUMVFS_WAIT_MS 100

struct apply {
	const struct sysroot *r;
	const struct plan *plan;
	const struct apply_progress *progress;
	bool force;
	pthread_mutex_t lock; /* progress, errors */
	struct err first;
	size_t failures;
};

struct pf_job {
	struct apply *apply;
	const struct plan_pf *pf;
	pthread_t thread;
	bool started;
};

static void report(struct apply *ap, const char *pci, const char *netdev, const struct plan_step *s, int result,
		   const char *why)
{
	_cleanup_arena_ struct arena *a = arena_new();

	if (!ap->progress || !ap->progress->step)
		return;
	pthread_mutex_lock(&ap->lock);
	ap->progress->step(ap->progress->arg, pci, netdev, plan_step_text(a, s), result, why);
	pthread_mutex_unlock(&ap->lock);
}

static void failed(struct apply *ap, int code, const char *pci, const char *netdev, const char *why)
{
	pthread_mutex_lock(&ap->lock);
	if (!ap->failures++) /* the others were told as progress */
		err_set(&ap->first, code, "%s%s%s%s%s", netdev ? netdev : "", netdev ? " (" : "", pci, netdev ? "): " : ": ", why);
	pthread_mutex_unlock(&ap->lock);
}

/* ---- steps of a port ---- */

static int port_link(struct nl *nl, struct arena *a, const struct plan_pf *pf, struct rtnl_link *ret, struct err *e)
{
	if (!pf->netdev)
		return err_set(e, -ENODEV, "the port has no network device here");
	return rtnl_link(nl, a, pf->netdev, ret, e);
}

static int set_port_mtu(const struct plan_pf *pf, int64_t mtu, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_nl_ struct nl *nl = NULL;
	struct rtnl_link link;
	int x = rtnl_open(&nl, e);

	if (x < 0)
		return x;
	x = port_link(nl, a, pf, &link, e);
	if (x < 0 || link.mtu == (unsigned)mtu)
		return x;
	return rtnl_set_mtu(nl, link.index, (unsigned)mtu, e);
}

static int set_port_up(const struct plan_pf *pf, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_nl_ struct nl *nl = NULL;
	struct rtnl_link link;
	int x = rtnl_open(&nl, e);

	if (x < 0)
		return x;
	x = port_link(nl, a, pf, &link, e);
	return x < 0 ? x : rtnl_set_up(nl, link.index, true, e);
}

static int write_numvfs(const struct sysroot *r, const char *pci, int64_t n, struct err *e)
{
	char text[24];
	int x = 0;

	snprintf(text, sizeof(text), "%lld", (long long)n);
	for (int i = 0; i < NUMVFS_TRIES; i++) {
		x = sysfs_write(r, text, e, DEVICES "/%s/sriov_numvfs", pci);
		if (x != -EAGAIN)
			break;
		clock_sleep_ms(NUMVFS_WAIT_MS);
	}
	return x;
}

/* What the errors of sriov_numvfs mean (drivers/pci/pci-sysfs.c, iov.c), after what the kernel said. */
static int explain_numvfs(int x, struct err *e)
{
	const char *hint = NULL;
	char said[ERR_MSG_MAX];

	if (x == -ENOMEM)
		hint = "no room for the VFs' memory or bus numbers: switch SR-IOV and above-4G decoding on in the BIOS, or boot with pci=realloc";
	else if (x == -ENOENT)
		hint = "the port's driver makes no VFs";
	else if (x == -ENOSPC)
		hint = "the card has too few interrupts or queues for so many VFs: lower numVfs";
	else if (x == -EPERM)
		hint = "the driver or the firmware allows fewer VFs: lower numVfs";
	if (!hint || !e)
		return x;
	memcpy(said, e->msg, sizeof(said));
	return err_set(e, x, "%s (%s)", said, hint);
}

static int set_numvfs(const struct sysroot *r, const char *pci, int64_t n, struct err *e)
{
	int64_t now = 0;
	int x = sysfs_read_i64(r, &now, DEVICES "/%s/sriov_numvfs", pci);

	if (x < 0)
		return err_errno(e, x, "sriov_numvfs");
	if (now == n)
		return 0;
	if (now && n) {
		x = write_numvfs(r, pci, 0, e);
		if (x < 0)
			return explain_numvfs(x, e);
	}
	x = write_numvfs(r, pci, n, e);
	if (x < 0)
		return explain_numvfs(x, e);
	/* a driver may make fewer and call it a success: bnxt_en makes none while the port is down */
	x = sysfs_read_i64(r, &now, DEVICES "/%s/sriov_numvfs", pci);
	if (x == 0 && now != n)
		return err_set(e, -EIO, "%lld VFs were asked for and the driver made %lld; the kernel log may say why",
			       (long long)n, (long long)now);
	return x;
}

static int vf_address(const struct sysroot *r, struct arena *a, const char *pf, unsigned vf, const char **ret, struct err *e)
{
	int x = sysfs_link(r, a, ret, DEVICES "/%s/virtfn%u", pf, vf);

	return x < 0 ? err_errno(e, x, "VF %u is not there (virtfn%u)", vf, vf) : 0;
}

static int unbind_vfs(const struct sysroot *r, const char *pci, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *vf;

	for (unsigned n = 0; sysfs_link(r, a, &vf, DEVICES "/%s/virtfn%u", pci, n) == 0; n++) {
		int x = pci_unbind(r, vf, e);

		if (x < 0)
			return err_wrap(e, x, "VF %u", n);
	}
	return 0;
}

static int set_eswitch(const char *pci, const char *mode, struct err *e)
{
	struct devlink *d = NULL;
	int x = devlink_open(&d, e);

	if (x < 0)
		return x;
	x = devlink_eswitch_set(d, pci, mode, e);
	devlink_close(d);
	return x;
}

/* ---- steps of a VF ---- */

/* Six or eight bytes in hex, whatever stands between them. */
static size_t parse_address(const char *text, unsigned char bytes[static 8])
{
	unsigned digits = 0;

	memset(bytes, 0, 8);
	for (; *text; text++) {
		const char *hex = "0123456789abcdef", *at = strchr(hex, *text | 0x20);

		if (*text == ':')
			continue;
		if (!at || digits == 16)
			return 0;
		bytes[digits / 2] = (unsigned char)(bytes[digits / 2] << 4 | (at - hex));
		digits++;
	}
	return digits % 2 ? 0 : digits / 2;
}

static int set_identity(const struct plan_pf *pf, const struct plan_step *s, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_nl_ struct nl *nl = NULL;
	unsigned char bytes[8];
	size_t n = parse_address(s->text, bytes);
	struct rtnl_link link;
	uint64_t guid = 0;
	int x = rtnl_open(&nl, e);

	if (x < 0)
		return x;
	x = port_link(nl, a, pf, &link, e);
	if (x < 0)
		return x;
	if (n == 6)
		return rtnl_vf_set_mac(nl, link.index, s->vf, bytes, e);
	if (n != 8)
		return err_set(e, -EINVAL, "\"%s\" is neither a MAC nor a GUID", s->text);
	for (size_t i = 0; i < 8; i++)
		guid = guid << 8 | bytes[i];
	return rtnl_vf_set_guid(nl, link.index, s->vf, guid, guid, e);
}

static int bind_vf(const struct sysroot *r, const char *pci, const struct plan_step *s, struct err *e)
{
	if (s->number) {
		int x = pci_unbind(r, pci, e);

		if (x < 0)
			return x;
	}
	return pci_bind(r, pci, s->text, e);
}

/* The index of the VF's network device: a bus driver makes it in its own time, and udev renames it just then. */
static int wait_netdev(const struct sysroot *r, const char *pci, unsigned *ret)
{
	for (unsigned waited = 0; waited < NETDEV_WAIT_MS; waited += POLL_MS) {
		_cleanup_arena_ struct arena *a = arena_new();
		const char **names;
		uint64_t index;
		size_t n;

		if (sysfs_list(r, a, &names, &n, DEVICES "/%s/net", pci) == 0 && n &&
		    sysfs_read_u64(r, 10, &index, DEVICES "/%s/net/%s/ifindex", pci, names[0]) == 0) {
			*ret = (unsigned)index;
			return 0;
		}
		clock_sleep_ms(POLL_MS);
	}
	return -ETIMEDOUT;
}

static int set_vf_mtu(const struct sysroot *r, const char *pci, unsigned mtu, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_nl_ struct nl *nl = NULL;
	struct rtnl_link link;
	unsigned index;
	int x = wait_netdev(r, pci, &index);

	if (x < 0)
		return err_set(e, x, "no network device came within %d s; the kernel log may say why", NETDEV_WAIT_MS / 1000);
	x = rtnl_open(&nl, e);
	if (x < 0)
		return x;
	x = rtnl_link_by_index(nl, a, index, &link, e);
	if (x < 0 || link.mtu == mtu)
		return x;
	return rtnl_set_mtu(nl, index, mtu, e);
}

/* ---- running them ---- */

static int run_step(struct apply *ap, const struct plan_pf *pf, const struct plan_step *s, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *vf = NULL;
	int x;

	if (s->op == PLAN_BIND_VF || s->op == PLAN_MTU_VF) {
		x = vf_address(ap->r, a, pf->pci, s->vf, &vf, e);
		if (x < 0)
			return x;
	}
	switch (s->op) {
	case PLAN_RDMA_MODE:
		return 0; /* of the node, not of a port */
	case PLAN_REMEMBER:
		return remember_port(ap->plan->state_dir, pf->pci, s->text, e);
	case PLAN_UNBIND_VFS:
		return unbind_vfs(ap->r, pf->pci, e);
	case PLAN_ESWITCH:
		return set_eswitch(pf->pci, s->text, e);
	case PLAN_AUTOPROBE_OFF:
	case PLAN_AUTOPROBE_ON:
		return sysfs_write(ap->r, s->op == PLAN_AUTOPROBE_ON ? "1" : "0", e, DEVICES "/%s/sriov_drivers_autoprobe",
				   pf->pci);
	case PLAN_SET_NUMVFS:
		return set_numvfs(ap->r, pf->pci, s->number, e);
	case PLAN_MTU_PF:
		return set_port_mtu(pf, s->number, e);
	case PLAN_VF_IDENTITY:
		return set_identity(pf, s, e);
	case PLAN_BIND_VF:
		return bind_vf(ap->r, vf, s, e);
	case PLAN_MTU_VF:
		return set_vf_mtu(ap->r, vf, (unsigned)s->number, e);
	case PLAN_LINK_UP:
		return set_port_up(pf, e);
	case PLAN_FORGET:
		return forget_port(ap->plan->state_dir, pf->pci, e);
	}
	return err_set(e, -EINVAL, "unknown step %d", s->op);
}

static int run_and_report(struct apply *ap, const struct plan_pf *pf, const struct plan_step *s)
{
	struct err e = { 0 };
	int x = run_step(ap, pf, s, &e);

	report(ap, pf->pci, pf->netdev, s, x, x < 0 ? e.msg : NULL);
	if (x < 0) {
		if (plan_is_vf_step(s->op))
			err_wrap(&e, x, "VF %u", s->vf);
		failed(ap, x, pf->pci, pf->netdev, e.msg);
	}
	return x;
}

/* Steps of one kind for many VFs. */
struct batch {
	struct apply *ap;
	const struct plan_pf *pf;
	const struct plan_step *steps;
	size_t n;
	atomic_size_t next;
	atomic_int result;
};

static void *run_batch_part(void *arg)
{
	struct batch *b = arg;
	size_t i;

	while ((i = atomic_fetch_add(&b->next, 1)) < b->n) {
		int x = run_and_report(b->ap, b->pf, &b->steps[i]);

		if (x < 0)
			atomic_store(&b->result, x);
	}
	return NULL;
}

static int run_batch(struct apply *ap, const struct plan_pf *pf, const struct plan_step *steps, size_t n)
{
	struct batch b = { .ap = ap, .pf = pf, .steps = steps, .n = n };
	pthread_t threads[VF_THREADS];
	size_t started = 0;

	/* this thread takes its part, so one thread fewer is enough */
	while (started + 1 < n && started < VF_THREADS &&
	       pthread_create(&threads[started], NULL, run_batch_part, &b) == 0)
		started++;
	run_batch_part(&b);
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	return atomic_load(&b.result);
}

/* Steps in their order, up to the first that fails; VF steps of one kind side by side. */
static void *run_port(void *arg)
{
	struct pf_job *job = arg;
	const struct plan_pf *pf = job->pf;
	int result = 0;
	size_t i = 0;

	while (i < pf->n_steps && result == 0) {
		size_t n = 1;

		while (plan_is_vf_step(pf->steps[i].op) && i + n < pf->n_steps && pf->steps[i + n].op == pf->steps[i].op)
			n++;
		result = n == 1 ? run_and_report(job->apply, pf, &pf->steps[i])
				: run_batch(job->apply, pf, &pf->steps[i], n);
		i += n;
	}
	return NULL;
}

/* Naming them all: who decides to force must know whom it hits. */
static bool refused(struct apply *ap, const struct plan_pf *pf)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	if (!pf->n_pods || ap->force)
		return false;
	strbuf_addf(&text, "refused: its VFs are held by ");
	for (size_t i = 0; i < pf->n_pods; i++)
		strbuf_addf(&text, "%s%s/%s (%s)", i ? ", " : "", pf->pods[i]->namespace, pf->pods[i]->name,
			    pf->pods[i]->pci);
	strbuf_addstr(&text, ": delete these pods first, or use --force");
	failed(ap, -EBUSY, pf->pci, pf->netdev, text.s);
	return true;
}

static void set_rdma_mode(struct apply *ap, const struct plan_step *s)
{
	_cleanup_nl_ struct nl *nl = NULL;
	bool exclusive = strcmp(s->text, "exclusive") == 0;
	struct err e = { 0 };
	int x = rdma_open(&nl, &e);

	if (x == 0)
		x = rdma_set_exclusive(nl, exclusive, &e);
	if (x == -EBUSY)
		err_set(&e, x, "other network namespaces exist: write \"options ib_core netns_mode=%d\" to "
			"/etc/modprobe.d/kvrail.conf and reboot", !exclusive);
	report(ap, "", "", s, x, x < 0 ? e.msg : NULL);
	if (x < 0)
		failed(ap, x, "RDMA mode", NULL, e.msg);
}

static void run_ports(struct apply *ap)
{
	struct pf_job *jobs = calloc(ap->plan->n_pfs ? ap->plan->n_pfs : 1, sizeof(*jobs));

	if (!jobs)
		abort();
	for (size_t i = 0; i < ap->plan->n_pfs; i++) {
		const struct plan_pf *pf = &ap->plan->pfs[i];

		jobs[i] = (struct pf_job){ .apply = ap, .pf = pf };
		if (pf->error)
			failed(ap, -EINVAL, pf->pci, pf->netdev, pf->error);
		else if (pf->n_steps && !refused(ap, pf))
			jobs[i].started = pthread_create(&jobs[i].thread, NULL, run_port, &jobs[i]) == 0 ||
					  (run_port(&jobs[i]), false);
	}
	for (size_t i = 0; i < ap->plan->n_pfs; i++)
		if (jobs[i].started)
			pthread_join(jobs[i].thread, NULL);
	free(jobs);
}

int apply_run(const struct sysroot *r, const struct plan *p, bool force, const struct apply_progress *progress,
	      struct err *e)
{
	struct apply ap = { .r = r, .plan = p, .force = force, .progress = progress };

	if (!sysroot_is_live(r))
		return err_set(e, -EOPNOTSUPP, "a recorded tree can be planned for, not changed");
	pthread_mutex_init(&ap.lock, NULL);
	for (size_t i = 0; i < p->n_system; i++)
		set_rdma_mode(&ap, &p->system[i]);
	run_ports(&ap);
	pthread_mutex_destroy(&ap.lock);
	if (ap.failures == 1)
		return err_set(e, ap.first.code, "%s", ap.first.msg);
	if (ap.failures)
		return err_set(e, ap.first.code, "%s; and %zu more steps failed", ap.first.msg, ap.failures - 1);
	return 0;
}
