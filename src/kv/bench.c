/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark: shapes of known models and a sweep of block sizes, each pulled from a server and set against the bare
 * path in the same run. The server is one of its own on the loopback, or `kvrail-kv serve --model any` elsewhere.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "codec/doc.h"
#include "kv/pull.h"
#include "kv/serve.h"

struct shape {
	const char *name, *model, *doc;
	uint32_t block_tokens, tp, prefill_tp, tokens;
};

/* The first are what serving engines move; the sweep changes the size of a block of one layer and kind only. */
static const struct shape shapes[] = {
	{ "A", "qwen2-7b", "Qwen2.5-7B, blocks of 16", 16, 1, 1, 4096 },
	{ "B", "llama-3-70b", "Llama-3-70B, blocks of 16, rank of 8", 16, 8, 8, 8192 },
	{ "C", "llama-3-70b", "Llama-3-70B, blocks of 64, rank of 4", 64, 4, 4, 8192 },
	{ "D", "deepseek-r1", "DeepSeek-R1, blocks of 64", 64, 1, 1, 8192 },
	{ "E", "llama-3-70b", "B from a prefill of 4 ranks", 16, 8, 4, 8192 },
	{ "F", "qwen2-7b", "128 tokens of A", 16, 1, 1, 128 },
	{ "4K", "16x2x1x128x2", "sweep", 16, 1, 1, 131072 / 4 },
	{ "16K", "16x2x4x128x2", "sweep", 16, 1, 1, 131072 / 16 },
	{ "64K", "16x2x16x128x2", "sweep", 16, 1, 1, 131072 / 64 },
	{ "256K", "16x2x64x128x2", "sweep", 16, 1, 1, 131072 / 256 },
	{ "1M", "16x2x256x128x2", "sweep", 16, 1, 1, 131072 / 1024 },
	{ NULL },
};

struct options {
	struct kv_pull pull;
	const char *peer, *only;
	uint64_t scale;
};

struct own_server {
	struct kv_server server;
	union kv_addr addr;
	pthread_t thread;
	bool running;
};

static void *serve(void *arg)
{
	struct own_server *o = arg;
	struct err e;

	if (kv_serve(&o->server, 0, &e) < 0)
		fprintf(stderr, "kvrail-kv: %s\n", e.msg);
	return NULL;
}

static int start_server(struct own_server *o, const struct options *opt, const struct kv_secret *secret, struct err *e)
{
	int r = kv_addr_parse("127.0.0.1", 0, &o->addr, e);

	o->server = (struct kv_server){ .options = opt->pull.common, .secret = *secret, .max_bytes = UINT64_C(8) << 30,
					.listen_fd = -1, .stop_fd = eventfd(0, EFD_CLOEXEC), .quiet = true, .ucx = true };
	if (r == 0)
		r = kv_net_listen(&o->addr, &o->server.listen_fd, &o->addr, e);
	if (r == 0) {
		o->running = pthread_create(&o->thread, NULL, serve, o) == 0;
		r = o->running ? 0 : err_set(e, -EAGAIN, "no thread for the server");
	}
	return r;
}

static void stop_server(struct own_server *o)
{
	uint64_t one = 1;

	if (o->running && write(o->server.stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(o->thread, NULL);
	if (o->server.listen_fd >= 0)
		close(o->server.listen_fd);
	if (o->server.stop_fd >= 0)
		close(o->server.stop_fd);
}

static int one(const struct options *o, const struct shape *s, const struct kv_secret *secret, const char *peer,
	       struct arena *a, struct kv_result *ret, struct err *e)
{
	struct kv_pull p = o->pull;
	int r;

	p.common.model = s->model;
	p.common.block_tokens = s->block_tokens;
	p.common.tp = s->tp;
	p.tokens = s->tokens / o->scale ? s->tokens / o->scale : 1;
	p.baseline = p.op == KV_READ && p.transport != 3; /* ucx has no bare path */
	p.prefill_tp = s->prefill_tp;
	r = kv_pull_run(&p, secret, &peer, 1, a, ret, e);
	return r < 0 ? err_wrap(e, r, "shape %s", s->name) : 0;
}

static void print_head(void)
{
	printf("%-5s %-38s %8s %9s %8s %9s %9s %8s %8s %6s\n", "SHAPE", "WHAT", "MIB", "RANGE", "RANGES", "P50 MS", "P99 MS",
	       "GB/S", "BARE", "SHARE");
}

static void print_row(const struct shape *s, const struct kv_result *r)
{
	printf("%-5s %-38s %8.1f %8.1fK %8ju %9.3f %9.3f %8.3f ", s->name, s->doc, (double)r->bytes / (1 << 20),
	       (double)r->bytes / (double)r->descriptors / 1024, (uintmax_t)r->descriptors, r->p50 * 1e3, r->p99 * 1e3,
	       r->rate / 1e9);
	if (r->baseline_tool)
		printf("%8.3f %4.0f %%\n", r->baseline / 1e9, r->share * 100);
	else
		printf("%8s %6s\n", "-", "-");
	fflush(stdout);
}

static void add_row(yyjson_mut_doc *d, yyjson_mut_val *rows, const struct shape *s, const struct kv_result *r)
{
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(d, rows);

	yyjson_mut_obj_add_str(d, o, "shape", s->name);
	yyjson_mut_obj_add_str(d, o, "model", s->model);
	yyjson_mut_obj_add_strcpy(d, o, "transport", r->transport);
	yyjson_mut_obj_add_bool(d, o, "rdma", r->rdma);
	yyjson_mut_obj_add_uint(d, o, "bytes", r->bytes);
	yyjson_mut_obj_add_uint(d, o, "descriptors", r->descriptors);
	yyjson_mut_obj_add_real(d, o, "p50Ms", r->p50 * 1e3);
	yyjson_mut_obj_add_real(d, o, "p99Ms", r->p99 * 1e3);
	yyjson_mut_obj_add_real(d, o, "GBps", r->rate / 1e9);
	if (r->baseline_tool) {
		yyjson_mut_obj_add_real(d, o, "baselineGBps", r->baseline / 1e9);
		yyjson_mut_obj_add_strcpy(d, o, "baselineTool", r->baseline_tool);
		yyjson_mut_obj_add_real(d, o, "share", r->share);
	}
}

static bool wanted(const char *only, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = only; p && *p; p += strcspn(p, ","), p += *p == ',')
		if (strcspn(p, ",") == len && !strncmp(p, name, len))
			return true;
	return !only;
}

static int all(const struct options *o, const struct kv_secret *secret, const char *peer, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	bool json = o->pull.common.output == KV_OUT_JSON;
	yyjson_mut_doc *d = doc_new(a);
	yyjson_mut_val *rows = yyjson_mut_arr(d);
	size_t n = 0;

	if (!json)
		print_head();
	for (const struct shape *s = shapes; s->name; s++) {
		struct kv_result res;
		int r;

		if (!wanted(o->only, s->name))
			continue;
		r = one(o, s, secret, peer, a, &res, e);
		if (r < 0)
			return r;
		n++;
		if (json)
			add_row(d, rows, s, &res);
		else
			print_row(s, &res);
	}
	if (!n)
		return err_set(e, -EINVAL, "--shapes %s names none of A B C D E F 4K 16K 64K 256K 1M", o->only);
	if (json)
		puts(doc_mut_to_json(a, rows, true));
	return 0;
}

static void defaults(void *options)
{
	*(struct options *)options = (struct options){ kv_pull_defaults(), .scale = 1 };
}

static int main_bench(void *options, char **args, size_t n_args, struct err *e)
{
	struct options *o = options;
	struct own_server own = { .server = { .listen_fd = -1, .stop_fd = -1 } };
	struct kv_secret secret;
	char text[KV_ADDR_MAX];
	int r = 0;

	signal(SIGPIPE, SIG_IGN);
	if (o->peer) {
		r = kv_secret_load(o->pull.common.secret_file, &secret, e);
	} else {
		secret.n = 32;
		if (getrandom(secret.p, secret.n, 0) != (ssize_t)secret.n)
			return err_errno(e, -errno, "getrandom");
		r = start_server(&own, o, &secret, e);
		kv_addr_text(&own.addr, text);
	}
	if (r == 0)
		r = all(o, &secret, o->peer ? o->peer : text, e);
	stop_server(&own);
	return r;
}

static const struct kv_option table[] = {
	{ "peer", 0, KV_OPT_STRING, offsetof(struct options, peer), "ADDRESS[:PORT]",
	  .doc = "a `kvrail-kv serve --model any` (a server of its own on the loopback)" },
	{ "shapes", 0, KV_OPT_STRING, offsetof(struct options, only), "LIST",
	  .doc = "of A,B,C,D,E,F (models) and 4K,16K,64K,256K,1M (sweep); all" },
	{ "scale", 0, KV_OPT_UINT, offsetof(struct options, scale), "N", 1, 1024, .doc = "divide the tokens by N (1)" },
	{ "transport", 0, KV_OPT_WORD, offsetof(struct options, pull.transport), .words = kv_transport_words,
	  .doc = "(auto)" },
	{ "handoffs", 'n', KV_OPT_UINT, offsetof(struct options, pull.handoffs), "N", 1, 1000000,
	  .doc = "of each shape (10)" },
	{ NULL },
};

const struct kv_command kv_cmd_bench = {
	.name = "bench",
	.usage = "[--peer ADDRESS[:PORT]] [--transport TRANSPORT] [--shapes LIST]",
	.summary = "measure shapes of known models and a sweep of block sizes against the bare path",
	.about = "Each row is one shape: the bytes of a handoff, the mean length and number of its ranges, the time of a\n"
		 "handoff, its rate, the rate of the bare path in the same run (ib_read_bw or TCP send and recv), and the share\n"
		 "of it that was reached.",
	.options = table,
	.common = kv_common_options,
	.options_size = sizeof(struct options),
	.defaults = defaults,
	.run = main_bench,
};
