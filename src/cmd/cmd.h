/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. A subcommand is one file with one struct cmd: its options are a table from which come parsing,
 * --help, completion and the words for a misspelt option. It is listed in main.c.
 */
#ifndef KVRAIL_CMD_CMD_H
#define KVRAIL_CMD_CMD_H

#include "codec/doc.h"

/* Exit codes, documented in kvrail(1). */
enum cmd_exit {
	CMD_OK = 0,
	CMD_FAILED = 1,	 /* it was tried and failed, or the input is invalid: the message says what */
	CMD_USAGE = 2,	 /* the command line is wrong */
	CMD_FOUND = 3,	 /* it ran and found something wrong (verify, plan with errors) */
	CMD_NO_AGENT = 4, /* the agent does not answer */
};

enum cmd_option_type { CMD_FLAG /* bool */, CMD_STRING /* const char * */, CMD_STRINGS /* struct cmd_strings */, CMD_UINT /* uint64_t */ };

struct cmd_strings {
	const char **v;
	size_t n;
};

struct cmd_option {
	const char *name; /* "output": --output */
	char letter;	  /* 'o' or 0 */
	enum cmd_option_type type;
	size_t offset;	   /* into the command's options struct */
	const char *value; /* "FILE", "table|json|yaml"; NULL for a flag */
	const char *const *words; /* allowed values, NULL-terminated, or NULL */
	const char *doc;   /* one line, no full stop */
};

enum cmd_output { OUT_TABLE, OUT_JSON, OUT_YAML };

struct cmd_run {
	struct arena *arena;
	const void *options; /* the command's struct */
	const char **args;   /* positional */
	size_t n_args;
	enum cmd_output output; /* --output, for commands that have .output */
};

struct cmd {
	const char *name;
	const char *summary; /* one line for `kvrail --help` */
	const char *usage;   /* "[--root TREE] [-f FILE]": what follows the name */
	const char *about;   /* a paragraph or two for --help; may be NULL */
	const struct cmd_option *options;
	size_t n_options, options_size;
	size_t min_args, max_args;
	bool output; /* takes -o/--output table|json|yaml */
	bool passes_on; /* options that it does not know are arguments, for another program */
	int (*run)(struct cmd_run *run, struct err *e); /* an enum cmd_exit, or negative errno: e is printed, exit 1 */
};

/* Every subcommand, in the order of --help, NULL-terminated. */
extern const struct cmd *const cmd_commands[];
extern const struct cmd cmd_inventory, cmd_plan, cmd_apply, cmd_get, cmd_describe, cmd_wait, cmd_delete, cmd_status, cmd_top,
	cmd_env, cmd_verify, cmd_kv, cmd_attach, cmd_detach, cmd_validate, cmd_render, cmd_explain, cmd_agent_role,
	cmd_controller_role, cmd_completion;

/* A table on stdout: columns are as wide as their widest cell, the last is not padded; head in bold on a terminal. */
struct out_table;
/* @text with what a terminal would obey (control characters) as '?'; NULL gives NULL. */
const char *out_plain(struct arena *a, const char *text);

struct out_table *out_table_new(struct arena *a, const char *const *heads); /* NULL-terminated */
void out_row(struct out_table *t, const char *const *cells, size_t n);	    /* NULL cell: "-"; copied, plain */
void out_table_print(struct out_table *t);
/* A value as JSON (pretty) or YAML, with a newline. */
void out_value(struct cmd_run *run, yyjson_mut_val *v);
enum out_color { OUT_PLAIN, OUT_GOOD, OUT_WARN, OUT_BAD, OUT_DIM };
/* The escape sequence on a terminal (and NO_COLOR unset), else "". @out_reset ends it. */
const char *out_color(enum out_color c);

/* The agent's socket: $KVRAIL_SOCKET, else /run/kvrail/agent.sock. */
const char *cmd_socket(void);
/* One request to the agent; -ENOTCONN with words when it does not answer (exit CMD_NO_AGENT). JSON of the reply, or its error text as @e. */
int cmd_agent(struct cmd_run *run, const char *method, const char *target, const char *body, yyjson_val **ret, struct err *e);

#endif
