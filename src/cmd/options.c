/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "cmd/options.h"

static const char *const output_words[] = { "table", "json", "yaml", NULL };

static const struct cmd_option help_option = { "help", 'h', CMD_FLAG, 0, NULL, NULL, "this text" };
static const struct cmd_option output_option = {
	"output", 'o', CMD_STRING, 0, "FORMAT", output_words, "table (default), json or yaml",
};

const struct cmd_option *options_nth(const struct cmd *c, size_t n)
{
	if (n < c->n_options)
		return &c->options[n];
	n -= c->n_options;
	if (c->output && n-- == 0)
		return &output_option;
	return n == 0 ? &help_option : NULL;
}

/* "--name", "--name=value" or "-x": which option, and where its value begins (NULL: in the next word). */
static const struct cmd_option *find(const struct cmd *c, const char *word, const char **value)
{
	const struct cmd_option *o;
	size_t len;

	*value = NULL;
	if (word[1] == '-') {
		word += 2;
		len = strcspn(word, "=");
		if (word[len] == '=')
			*value = word + len + 1;
		for (size_t i = 0; (o = options_nth(c, i)); i++)
			if (strlen(o->name) == len && !strncmp(o->name, word, len))
				return o;
		return NULL;
	}
	if (word[2])
		*value = word + 2;
	for (size_t i = 0; (o = options_nth(c, i)); i++)
		if (o->letter && o->letter == word[1])
			return o;
	return NULL;
}

static int mistake(const struct cmd *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int mistake(const struct cmd *c, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "kvrail %s: ", c->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; 'kvrail %s --help' lists the options\n", c->name);
	return CMD_USAGE;
}

static int unknown(const struct cmd *c, struct arena *a, const char *word)
{
	const char **names = NULL, *near;
	const struct cmd_option *o;
	size_t n = 0;

	for (size_t i = 0; (o = options_nth(c, i)); i++)
		*(const char **)arena_push(a, &names, &n, sizeof(*names)) = o->name;
	*(const char **)arena_push(a, &names, &n, sizeof(*names)) = NULL;
	near = word[1] == '-' ? parse_nearest(arena_strndup(a, word + 2, strcspn(word + 2, "=")), names) : NULL;
	if (near)
		return mistake(c, "there is no option '%s', did you mean '--%s'?", word, near);
	return mistake(c, "there is no option '%s'", word);
}

static int bad_word(const struct cmd *c, struct arena *a, const struct cmd_option *o, const char *value)
{
	const char *near = parse_nearest(value, o->words);
	char *all = arena_strdup(a, o->words[0]);

	for (const char *const *w = o->words + 1; *w; w++)
		all = arena_printf(a, "%s, %s", all, *w);
	if (near)
		return mistake(c, "--%s: '%s' is not one of %s; did you mean '%s'?", o->name, value, all, near);
	return mistake(c, "--%s: '%s' is not one of %s", o->name, value, all);
}

static int store(const struct cmd *c, struct cmd_run *run, char *options, const struct cmd_option *o, const char *value)
{
	void *at = options + o->offset;
	struct cmd_strings *list;

	if (o->words) {
		const char *const *w = o->words;

		while (*w && strcmp(*w, value))
			w++;
		if (!*w)
			return bad_word(c, run->arena, o, value);
		if (o == &output_option) {
			run->output = (enum cmd_output)(w - o->words);
			return OPTIONS_GO;
		}
	}
	switch (o->type) {
	case CMD_FLAG:
		*(bool *)at = true;
		break;
	case CMD_STRING:
		*(const char **)at = value;
		break;
	case CMD_STRINGS:
		list = at;
		*(const char **)arena_push(run->arena, &list->v, &list->n, sizeof(*list->v)) = value;
		break;
	case CMD_UINT:
		if (parse_u64(value, 10, 0, UINT64_MAX, at) < 0)
			return mistake(c, "--%s: '%s' is not a whole number", o->name, value);
		break;
	}
	return OPTIONS_GO;
}

int options_parse(const struct cmd *c, int argc, char **argv, struct cmd_run *run)
{
	char *options = arena_alloc(run->arena, c->options_size);
	bool ended = false;
	int r;

	run->options = options;
	for (int i = 1; i < argc; i++) {
		const struct cmd_option *o;
		const char *value;

		if (ended || argv[i][0] != '-' || !argv[i][1]) {
			*(const char **)arena_push(run->arena, &run->args, &run->n_args, sizeof(*run->args)) = argv[i];
			continue;
		}
		if (!strcmp(argv[i], "--")) {
			ended = true;
			continue;
		}
		o = find(c, argv[i], &value);
		if (!o && c->passes_on) {
			*(const char **)arena_push(run->arena, &run->args, &run->n_args, sizeof(*run->args)) = argv[i];
			continue;
		}
		if (!o)
			return unknown(c, run->arena, argv[i]);
		if (o == &help_option) {
			help_command(c, stdout);
			return CMD_OK;
		}
		if (o->type == CMD_FLAG && value)
			return mistake(c, "--%s takes no value", o->name);
		if (o->type != CMD_FLAG && !value) {
			if (i + 1 == argc)
				return mistake(c, "--%s wants a value: %s", o->name, o->value);
			value = argv[++i];
		}
		if (o->type != CMD_FLAG && !*value)
			return mistake(c, "--%s is given an empty value, %s is wanted", o->name, o->value);
		r = store(c, run, options, o, value);
		if (r != OPTIONS_GO)
			return r;
	}
	if (run->n_args < c->min_args)
		return mistake(c, "something is missing: kvrail %s %s", c->name, c->usage);
	if (run->n_args > c->max_args)
		return mistake(c, "'%s' is one argument too many", run->args[c->max_args]);
	return OPTIONS_GO;
}
