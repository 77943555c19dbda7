/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for three shells, from the same tables as parsing and --help. */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/options.h"

/* @text inside single quotes, and with a backslash before each character of @special. */
static void quoted(const char *text, const char *special, const char *quote)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs(quote, stdout);
		else if (strchr(special, *text))
			printf("\\%c", *text);
		else
			putchar(*text);
	}
}

static void words(const struct cmd_option *o)
{
	for (const char *const *w = o->words; *w; w++)
		printf("%s%s", w == o->words ? "" : " ", *w);
}

static void bash_options(const struct cmd *c)
{
	const struct cmd_option *o;

	printf("\t%s) options='", c->name);
	for (size_t i = 0; (o = options_nth(c, i)); i++)
		printf("%s--%s", i ? " " : "", o->name);
	puts("' ;;");
}

/* What may follow an option that takes one of a few words. */
static void bash_values(const struct cmd *c)
{
	const struct cmd_option *o;

	for (size_t i = 0; (o = options_nth(c, i)); i++) {
		if (!o->words)
			continue;
		printf("\t%s:--%s", c->name, o->name);
		if (o->letter)
			printf(" | %s:-%c", c->name, o->letter);
		fputs(") COMPREPLY=($(compgen -W '", stdout);
		words(o);
		puts("' -- \"$cur\")); return ;;");
	}
}

static void bash(void)
{
	fputs("# bash completion for kvrail\n_kvrail() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} "
	      "cmd=${COMP_WORDS[1]} options=\n\tCOMPREPLY=()\n\tif [ \"$COMP_CWORD\" = 1 ]; then\n\t\tCOMPREPLY=($(compgen -W '",
	      stdout);
	for (const struct cmd *const *c = cmd_commands; *c; c++)
		printf("%s ", (*c)->name);
	fputs("help --help --version' -- \"$cur\"))\n\t\treturn\n\tfi\n\tcase $cmd:$prev in\n", stdout);
	for (const struct cmd *const *c = cmd_commands; *c; c++)
		bash_values(*c);
	fputs("\tesac\n\t[[ $cur == -* ]] || return\n\tcase $cmd in\n", stdout);
	for (const struct cmd *const *c = cmd_commands; *c; c++)
		bash_options(*c);
	fputs("\tesac\n\tCOMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n}\ncomplete -o default -F _kvrail kvrail\n", stdout);
}

/* '(-f --format)'{-f,--format}'[doc]:FORMAT:(sh docker)' */
static void zsh_option(const struct cmd_option *o)
{
	if (o->letter)
		printf(" \\\n\t\t\t'(-%c --%s)'{-%c,--%s}'[", o->letter, o->name, o->letter, o->name);
	else
		printf(" \\\n\t\t\t'--%s[", o->name);
	quoted(o->doc, "[]:\\", "'\\''");
	putchar(']');
	if (o->type != CMD_FLAG) {
		putchar(':');
		quoted(o->value, "[]:\\", "'\\''");
		if (o->words) {
			fputs(":(", stdout);
			words(o);
			putchar(')');
		} else {
			fputs(":_files", stdout);
		}
	}
	putchar('\'');
}

static void zsh(void)
{
	fputs("#compdef kvrail\n_kvrail() {\n\tlocal -a commands=(\n", stdout);
	for (const struct cmd *const *c = cmd_commands; *c; c++) {
		printf("\t\t'%s:", (*c)->name);
		quoted((*c)->summary, ":\\", "'\\''");
		puts("'");
	}
	fputs("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tlocal cmd=$words[2]\n"
	      "\tshift words; (( CURRENT-- ))\n\tcase $cmd in\n", stdout);
	for (const struct cmd *const *c = cmd_commands; *c; c++) {
		const struct cmd_option *o;

		printf("\t%s)\n\t\t_arguments -s", (*c)->name);
		for (size_t i = 0; (o = options_nth(*c, i)); i++)
			zsh_option(o);
		fputs(" \\\n\t\t\t'*:argument:_files' ;;\n", stdout);
	}
	fputs("\tesac\n}\ncompdef _kvrail kvrail\n", stdout);
}

static void fish_option(const struct cmd *c, const struct cmd_option *o)
{
	printf("complete -c kvrail -n '__fish_seen_subcommand_from %s' -l %s", c->name, o->name);
	if (o->letter)
		printf(" -s %c", o->letter);
	if (o->words) {
		fputs(" -x -a '", stdout);
		words(o);
		putchar('\'');
	} else if (o->type != CMD_FLAG) {
		fputs(" -r", stdout);
	}
	fputs(" -d '", stdout);
	quoted(o->doc, "\\", "\\'");
	puts("'");
}

static void fish(void)
{
	puts("# fish completion for kvrail");
	for (const struct cmd *const *c = cmd_commands; *c; c++) {
		const struct cmd_option *o;

		printf("complete -c kvrail -n __fish_use_subcommand -f -a %s -d '", (*c)->name);
		quoted((*c)->summary, "\\", "\\'");
		puts("'");
		for (size_t i = 0; (o = options_nth(*c, i)); i++)
			fish_option(*c, o);
	}
}

static const struct {
	const char *name;
	void (*print)(void);
} shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };

static int run_completion(struct cmd_run *run, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
		if (!strcmp(run->args[0], shells[i].name)) {
			shells[i].print();
			return CMD_OK;
		}
	err_set(e, -EINVAL, "'%s' is not one of bash, zsh, fish", run->args[0]);
	return CMD_USAGE;
}

const struct cmd cmd_completion = {
	.name = "completion",
	.summary = "completion of this command line for a shell",
	.usage = "bash|zsh|fish",
	.about = "For one session: source <(kvrail completion bash)",
	.min_args = 1,
	.max_args = 1,
	.run = run_completion,
};
