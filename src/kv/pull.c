/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "kv/pull.h"

#define PEERS_MAX 16
#define BASELINE_SECONDS 2.0

enum { TRANSPORT_AUTO, TRANSPORT_VERBS, TRANSPORT_TCP, TRANSPORT_UCX };
const char *const kv_transport_words[] = { "auto", "verbs", "tcp", "ucx", NULL };
static const char *const op_words[] = { "read", "write", NULL };
static const char *const checksum_words[] = { "off", "transfer", "block", NULL };

/* One pull under way. */
struct pull {
	const struct kv_pull *options;
	struct arena *arena;
	struct kv_leg legs[PEERS_MAX];
	size_t n_legs, opened;
	struct kv_cache *cache;
	uint64_t *ns; /* of each handoff */
	uint64_t post_ns;
	double cpu;
};

static const char *transports(const struct kv_pull *p)
{
	if (p->transport == TRANSPORT_AUTO)
		return p->require_rdma ? "verbs" : "verbs,tcp";
	return kv_transport_words[p->transport];
}

static int open_legs(struct pull *x, const struct kv_secret *s, const char *const *peers, size_t n, struct err *e)
{
	struct kv_layout mine;
	uint32_t tokens = (uint32_t)x->options->tokens;
	int r = kv_common_layout(&x->options->common, &mine, e);

	if (r < 0)
		return r;
	if (!mine.n_blocks) { /* a server of any model makes its cache after this layout */
		uint64_t n_blocks = kv_layout_blocks(&mine, tokens ? tokens : 4096) * 2;

		mine.n_blocks = n_blocks < KV_BLOCKS_MAX ? (uint32_t)n_blocks : KV_BLOCKS_MAX;
	}
	if (x->options->prefill_tp) {
		mine.rank = (uint32_t)((uint64_t)mine.rank * x->options->prefill_tp / mine.tp);
		mine.tp = x->options->prefill_tp;
	}
	r = kv_layout_check(&mine, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		x->opened = i + 1;
		r = kv_leg_open(&x->legs[i], peers[i], &x->options->common, s, &mine, tokens, e);
		if (r == 0 && i && x->legs[i].offer.tokens != x->legs[0].offer.tokens && !tokens)
			r = err_set(e, -EINVAL, "%s holds %u tokens, %s %u: say how many with --tokens", peers[0],
				    x->legs[0].offer.tokens, peers[i], x->legs[i].offer.tokens);
	}
	return r;
}

/* Which leg carries which heads: the first that holds the next one, as far as it goes. Unused legs get none. */
static int divide_heads(struct pull *x, const struct kv_layout *mine, struct err *e)
{
	uint32_t first, heads = kv_layout_heads(mine, &first), next = first;

	while (next < first + heads) {
		struct kv_leg *leg = NULL;
		uint32_t f, n = 0;

		for (size_t i = 0; i < x->opened; i++) {
			n = kv_layout_heads(&x->legs[i].offer.layout, &f);
			if (f <= next && next < f + n) {
				leg = &x->legs[i];
				break;
			}
		}
		if (!leg)
			return err_set(e, -EINVAL, "no prefill given holds head %u; this rank needs %u to %u: name the other "
				       "prefill ranks too", next, first, first + heads - 1);
		n = (f + n < first + heads ? f + n : first + heads) - next;
		leg->head = next;
		leg->n_heads = n;
		next += n;
	}
	return 0;
}

static int attach(struct pull *x, struct err *e)
{
	const struct kv_pull *o = x->options;
	struct kv_layout mine;
	int r = kv_common_layout(&o->common, &mine, e);

	if (r == 0)
		r = kv_cache_new(&mine, o->tokens ? (uint32_t)o->tokens : x->legs[0].offer.tokens, o->common.memory,
				 (double)o->common.fragmentation / 100, o->common.seed + 1, &x->cache, e);
	if (r == 0)
		r = kv_cache_poison(x->cache, e); /* its pages are there before the clock starts */
	if (r == 0)
		r = divide_heads(x, &x->cache->side.layout, e);
	for (size_t i = 0; r == 0 && i < x->opened; i++) {
		struct kv_leg *leg = &x->legs[i];

		if (!leg->n_heads)
			continue;
		leg->cache = x->cache;
		leg->op = o->op;
		leg->checksum = o->checksum;
		r = kv_leg_attach(leg, transports(o), e);
	}
	return r;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct mover {
	struct kv_leg *leg;
	uint32_t number;
};

static void *move_in_thread(void *arg)
{
	struct mover *m = arg;

	kv_leg_move(m->leg, m->number);
	return NULL;
}

/* All legs at once, the first in this thread. */
static void move(struct kv_leg **legs, size_t n, uint32_t number)
{
	struct mover m[PEERS_MAX];

	for (size_t i = 1; i < n; i++) {
		m[i] = (struct mover){ legs[i], number };
		if (pthread_create(&legs[i]->thread, NULL, move_in_thread, &m[i]) != 0)
			abort();
	}
	kv_leg_move(legs[0], number);
	for (size_t i = 1; i < n; i++)
		pthread_join(legs[i]->thread, NULL);
}

static int first_failure(struct kv_leg **legs, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (legs[i]->r < 0) {
			*e = legs[i]->e;
			return err_wrap(e, legs[i]->r, "%s", legs[i]->chan.peer);
		}
	return 0;
}

static int handoff(struct pull *x, struct kv_leg **legs, size_t n, uint32_t number, struct err *e)
{
	uint64_t start;
	double cpu;
	int r = 0;

	if (x->options->checksum != KV_SUM_OFF)
		r = kv_cache_poison(x->cache, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		kv_leg_begin(legs[i], number);
	if (r == 0)
		r = first_failure(legs, n, e);
	if (r < 0)
		return r;
	cpu = cpu_seconds();
	start = clock_ns();
	move(legs, n, number);
	x->ns[number] = clock_ns() - start;
	x->cpu += cpu_seconds() - cpu;
	r = first_failure(legs, n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		x->post_ns += legs[i]->done.post_ns;
		kv_leg_end(legs[i], number);
		if (x->options->checksum != KV_SUM_OFF)
			r = kv_leg_verify(legs[i], e);
	}
	return r < 0 ? r : first_failure(legs, n, e);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void times(struct pull *x, struct kv_result *ret)
{
	uint64_t n = x->options->handoffs, sum = 0;

	ret->first = (double)x->ns[0] / 1e9;
	for (uint64_t i = 0; i < n; i++)
		sum += x->ns[i];
	qsort(x->ns, n, sizeof(*x->ns), by_size);
	ret->seconds = (double)sum / 1e9;
	ret->p50 = (double)x->ns[(n - 1) / 2] / 1e9;
	ret->p99 = (double)x->ns[(n * 99 + 99) / 100 - 1] / 1e9;
	ret->post = (double)x->post_ns / (double)n / 1e9;
	ret->rate = (double)(ret->bytes * n) / ret->seconds;
	ret->cpu = x->cpu / ((double)(ret->bytes * n) / 1e9);
}

/* Transport and rails of all legs; -EPROTONOSUPPORT when RDMA is required and one of them is not. */
static int describe(struct pull *x, struct kv_leg **legs, size_t n, struct kv_result *ret, struct err *e)
{
	struct kv_path path;

	ret->rdma = true;
	ret->n_rails = 0;
	ret->rails = NULL;
	for (size_t i = 0; i < n; i++) {
		int r = legs[i]->endpoint->ops.path(legs[i]->endpoint, x->arena, &path, e);

		if (r < 0)
			return r;
		for (size_t k = 0; k < path.n_rails; k++)
			*(struct kv_rail *)arena_push(x->arena, &ret->rails, &ret->n_rails, sizeof(*ret->rails)) = path.rails[k];
		ret->rdma = ret->rdma && path.rdma;
		ret->via = path.via;
		ret->transport = arena_strdup(x->arena, legs[i]->transport);
		if (legs[i]->passed_over)
			ret->passed_over = arena_strdup(x->arena, legs[i]->passed_over);
	}
	if (x->options->require_rdma && !ret->rdma && !(x->options->op == KV_WRITE && !strcmp(ret->transport, "ucx")))
		return err_set(e, -EPROTONOSUPPORT, "RDMA is required, but transport %s goes by %s", ret->transport, ret->via);
	return 0;
}

static int measure_baseline(struct kv_leg *leg, struct arena *a, struct kv_result *ret, struct err *e)
{
	const char *tool;
	int r = kv_leg_baseline(leg, ret->rate, BASELINE_SECONDS, &ret->baseline, &tool, e);

	if (r < 0)
		return err_wrap(e, r, "baseline");
	ret->baseline_tool = arena_strdup(a, tool);
	ret->share = ret->rate / ret->baseline;
	return 0;
}

static int run(struct pull *x, const struct kv_secret *s, const char *const *peers, size_t n_peers,
	       struct kv_result *ret, struct err *e)
{
	const struct kv_pull *o = x->options;
	struct kv_leg *legs[PEERS_MAX];
	size_t n = 0;
	int r = open_legs(x, s, peers, n_peers, e);

	if (r == 0)
		r = attach(x, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < x->opened; i++)
		if (x->legs[i].n_heads)
			legs[n++] = &x->legs[i];
	r = describe(x, legs, n, ret, e); /* RDMA or not is known before a byte moves */
	if (r < 0)
		return r;
	if (ret->passed_over)
		fprintf(stderr, "kvrail-kv: %s: transport %s, because %s\n", ret->rdma ? "note" : "NOT RDMA", ret->transport,
			ret->passed_over);
	x->ns = arena_alloc(x->arena, o->handoffs * sizeof(*x->ns));
	for (uint32_t i = 0; r == 0 && i < o->handoffs; i++)
		r = handoff(x, legs, n, i, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		ret->bytes += legs[i]->plan.bytes;
		ret->descriptors += legs[i]->plan.n;
		ret->requests += legs[i]->done.requests;
	}
	ret->model = arena_strdup(x->arena, o->common.model);
	ret->op = op_words[o->op];
	ret->tokens = x->cache->tokens;
	ret->blocks = x->cache->side.n_blocks;
	ret->memory = x->cache->mem->note;
	ret->handoffs = o->handoffs;
	ret->checksum = o->checksum == KV_SUM_OFF ? "off" : "ok";
	times(x, ret);
	r = describe(x, legs, n, ret, e); /* again: bytes of each rail */
	if (r == 0 && o->baseline)
		r = measure_baseline(legs[0], x->arena, ret, e);
	return r;
}

int kv_pull_run(const struct kv_pull *p, const struct kv_secret *s, const char *const *peers, size_t n_peers,
		struct arena *a, struct kv_result *ret, struct err *e)
{
	struct pull x = { .options = p, .arena = a };
	struct kv_result result = { 0 };
	int r;

	if (n_peers > PEERS_MAX)
		return err_set(e, -EINVAL, "%zu prefills, the most is %u", n_peers, PEERS_MAX);
	if (p->require_rdma && p->transport == TRANSPORT_TCP)
		return err_set(e, -EINVAL, "--require-rdma and --transport tcp exclude each other");
	if (p->baseline && (n_peers > 1 || p->op == KV_WRITE))
		return err_set(e, -EINVAL, "--baseline measures one prefill's path, with --op read");
	r = run(&x, s, peers, n_peers, &result, e);
	for (size_t i = 0; i < x.opened; i++) {
		if (r < 0)
			x.legs[i].r = r; /* no BYE after a failure */
		kv_leg_close(&x.legs[i]);
	}
	kv_cache_free(x.cache);
	if (r == 0)
		*ret = result;
	return r;
}

struct kv_pull kv_pull_defaults(void)
{
	return (struct kv_pull){ kv_common_defaults(), .handoffs = 10, .checksum = KV_SUM_TRANSFER };
}

static const struct kv_option table[] = {
	{ "model", 'm', KV_OPT_STRING, offsetof(struct kv_pull, common.model), "MODEL",
	  .doc = "whose cache it is (qwen2-7b); kvrail-kv models lists them" },
	{ "tokens", 't', KV_OPT_UINT, offsetof(struct kv_pull, tokens), "N", 1, 1u << 26,
	  .doc = "to pull (all that the prefill holds)" },
	{ "transport", 0, KV_OPT_WORD, offsetof(struct kv_pull, transport), .words = kv_transport_words,
	  .doc = "auto: verbs; tcp, and said so, when RDMA does not work (auto)" },
	{ "require-rdma", 0, KV_OPT_FLAG, offsetof(struct kv_pull, require_rdma), .doc = "fail rather than use TCP" },
	{ "op", 0, KV_OPT_WORD, offsetof(struct kv_pull, op), .words = op_words,
	  .doc = "decode reads, or prefill writes (read)" },
	{ "handoffs", 'n', KV_OPT_UINT, offsetof(struct kv_pull, handoffs), "N", 1, 1000000,
	  .doc = "how many times (10)" },
	{ "checksum", 0, KV_OPT_WORD, offsetof(struct kv_pull, checksum), .words = checksum_words,
	  .doc = "compare with what prefill declares, whole or block by block (transfer)" },
	{ "baseline", 0, KV_OPT_FLAG, offsetof(struct kv_pull, baseline),
	  .doc = "measure the bare path in the same run: ib_read_bw, or TCP send and recv" },
	{ NULL },
};

static void defaults(void *options)
{
	*(struct kv_pull *)options = kv_pull_defaults();
}

static int main_pull(void *options, char **args, size_t n_args, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct kv_pull *p = options;
	struct kv_secret secret;
	struct kv_result result;
	int r;

	signal(SIGPIPE, SIG_IGN);
	r = kv_secret_load(p->common.secret_file, &secret, e);
	if (r == 0)
		r = kv_pull_run(p, &secret, (const char *const *)args, n_args, a, &result, e);
	if (r == 0)
		kv_result_print(&result, p->common.output);
	return r;
}

const struct kv_command kv_cmd_pull = {
	.name = "pull",
	.usage = "[--model MODEL] [--transport auto|verbs|tcp|ucx] [--rails RAIL[,RAIL]...] PREFILL[:PORT]...",
	.summary = "pull a KV cache, as decode does, and report transport, rate and times",
	.about = "Pulls the blocks of one request from a prefill (kvrail-kv serve), or the heads of this rank from several\n"
		 "prefill ranks, again and again, checks their checksums, and reports. The layouts of both sides may differ.\n"
		 "The last line on stderr says why when a transport was passed over.",
	.options = table,
	.common = kv_common_options,
	.options_size = sizeof(struct kv_pull),
	.min_args = 1,
	.max_args = PEERS_MAX,
	.defaults = defaults,
	.run = main_pull,
};
