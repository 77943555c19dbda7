/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "kv/check.h"
#include "kv/pull.h"
#include "kv/serve.h"

extern const struct kv_command kv_cmd_bench, kv_cmd_models;

static const struct kv_command *const commands[] = { &kv_cmd_serve, &kv_cmd_pull, &kv_cmd_bench, &kv_cmd_models };

static int run_models(void *options, char **args, size_t n_args, struct err *e)
{
	for (const struct kv_preset *p = kv_presets; p->name; p++)
		printf("%-16s %s, blocks of %u\n", p->name, p->doc, p->block_tokens);
	return 0;
}

static const struct kv_option no_options[] = { { NULL } };

const struct kv_command kv_cmd_models = {
	.name = "models",
	.usage = "",
	.summary = "list the models whose shape is known",
	.about = "Other shapes are written LAYERSxKINDSxHEADSxDIMxBYTES, such as 28x2x4x128x2 for Qwen2-7B.",
	.options = no_options,
	.run = run_models,
};

static void help(void)
{
	puts("usage: kvrail-kv COMMAND [OPTION]...\n\n"
	     "Hands a KV cache from prefill to decode over RDMA or TCP, checks every byte, and measures it.\n"
	     "Needs neither root nor the agent.\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-8s %s\n", commands[i]->name, commands[i]->summary);
	printf("  %-8s %s\n", "check", "prove that the rails here, and the path to a peer, are what they should be");
	puts("\nkvrail-kv COMMAND --help lists a command's options; --version prints the version.");
}

static int usage(const char *name)
{
	const char *names[ARRAY_SIZE(commands) + 2] = { NULL }, *near;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i]->name;
	names[ARRAY_SIZE(commands)] = "check";
	near = parse_nearest(name, names);
	fprintf(stderr, "kvrail-kv: command %s is not known%s%s; see kvrail-kv --help\n", name,
		near ? ", did you mean " : "", near ? near : "");
	return 2;
}

static int run(const struct kv_command *c, int argc, char **argv)
{
	_cleanup_free_ char **args = reallocarray(NULL, (size_t)argc + 1, sizeof(*args));
	_cleanup_free_ void *options = calloc(1, c->options_size + 1);
	struct err e = { 0 };
	size_t n;
	int r;

	if (!args || !options)
		abort();
	if (c->defaults)
		c->defaults(options);
	r = kv_options_parse(c, argc, argv, options, args, &n, &e);
	if (r > 0) {
		kv_options_help(c);
		return 0;
	}
	if (r < 0) {
		fprintf(stderr, "kvrail-kv: %s\n", e.msg);
		return 2;
	}
	r = c->run(options, args, n, &e);
	if (r < 0)
		fprintf(stderr, "kvrail-kv: %s\n", e.msg);
	return r < 0;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		help();
		return 2;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		help();
		return 0;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("kvrail-kv " KVRAIL_VERSION);
		return 0;
	}
	if (!strcmp(argv[1], "check"))
		return check_main(argc - 1, argv + 1);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[1], commands[i]->name))
			return run(commands[i], argc - 2, argv + 2);
	return usage(argv[1]);
}
