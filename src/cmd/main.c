/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/options.h"

/* In the order of `kvrail --help`: from looking to running. */
const struct cmd *const cmd_commands[] = {
	&cmd_inventory,
	&cmd_plan,
	&cmd_validate,
	&cmd_apply,
	&cmd_delete,
	&cmd_get,
	&cmd_describe,
	&cmd_wait,
	&cmd_render,
	&cmd_explain,
	&cmd_status,
	&cmd_top,
	&cmd_env,
	&cmd_verify,
	&cmd_kv,
	&cmd_attach,
	&cmd_detach,
	&cmd_agent_role,
	&cmd_controller_role,
	&cmd_completion,
	NULL,
};

static int print_version(void)
{
	puts("kvrail " KVRAIL_VERSION);
	return CMD_OK;
}

static const struct cmd *find(const char *name)
{
	for (const struct cmd *const *c = cmd_commands; *c; c++)
		if (!strcmp((*c)->name, name))
			return *c;
	return NULL;
}

static int unknown(const char *name)
{
	const char *names[ARRAY_SIZE(cmd_commands) + 1];
	const char *near;
	size_t n = 0;

	for (const struct cmd *const *c = cmd_commands; *c; c++)
		names[n++] = (*c)->name;
	names[n] = NULL;
	near = parse_nearest(name, names);
	fprintf(stderr, "kvrail: there is no command '%s'%s%s%s; 'kvrail --help' lists them\n", name,
		near ? ", did you mean '" : "", near ? near : "", near ? "'" : "");
	return CMD_USAGE;
}

static int run(const struct cmd *c, int argc, char **argv)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct cmd_run run = { .arena = a };
	struct err e = { 0 };
	int r;

	r = options_parse(c, argc, argv, &run);
	if (r != OPTIONS_GO)
		return r;
	r = c->run(&run, &e);
	if (e.msg[0] && r != CMD_OK)
		fprintf(stderr, "kvrail %s: %s\n", c->name, out_plain(a, e.msg));
	if (fflush(stdout) || ferror(stdout)) {
		perror("kvrail: writing the output");
		return CMD_FAILED;
	}
	if (r == -ENOTCONN)
		return CMD_NO_AGENT;
	return r < 0 ? CMD_FAILED : r;
}

int main(int argc, char **argv)
{
	const struct cmd *c;

	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		help_program(cmd_commands, argc < 2 ? stderr : stdout);
		return argc < 2 ? CMD_USAGE : CMD_OK;
	}
	if (!strcmp(argv[1], "--version"))
		return print_version();
	if (!strcmp(argv[1], "help")) {
		c = argc > 2 ? find(argv[2]) : NULL;
		if (argc > 2 && !c)
			return unknown(argv[2]);
		if (c)
			help_command(c, stdout);
		else
			help_program(cmd_commands, stdout);
		return CMD_OK;
	}
	c = find(argv[1]);
	return c ? run(c, argc - 1, argv + 1) : unknown(argv[1]);
}
