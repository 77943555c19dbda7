/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/strbuf.h"
#include "kv/options.h"

#define OPTIONS_MAX 64

static const char *values_of(const struct kv_option *o, struct strbuf *b)
{
	if (o->value || !o->words)
		return o->value;
	for (size_t i = 0; o->words[i]; i++)
		strbuf_addf(b, "%s%s", i ? "|" : "", o->words[i]);
	return b->s;
}

static void help_table(const struct kv_option *table)
{
	for (const struct kv_option *o = table; o && o->name; o++) {
		_cleanup_strbuf_ struct strbuf words = STRBUF_INIT, left = STRBUF_INIT;
		const char *value = values_of(o, &words);

		strbuf_addf(&left, "%c%c%s--%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ', o->letter ? ", " : "  ",
			    o->name);
		if (value)
			strbuf_addf(&left, " %s", value);
		printf("  %-36s %s\n", left.s, o->doc);
	}
}

void kv_options_help(const struct kv_command *c)
{
	printf("usage: kvrail-kv %s %s\n\n%s\n\n", c->name, c->usage, c->about);
	help_table(c->options);
	help_table(c->common);
	printf("  %-36s %s\n", "-h, --help", "this text");
}

static const struct kv_option *find(const struct kv_command *c, const char *name, size_t len, char letter)
{
	const struct kv_option *const tables[] = { c->options, c->common };

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct kv_option *o = tables[i]; o && o->name; o++)
			if (letter ? o->letter == letter : strlen(o->name) == len && !memcmp(o->name, name, len))
				return o;
	return NULL;
}

static int unknown(const struct kv_command *c, const char *text, struct err *e)
{
	const struct kv_option *const tables[] = { c->options, c->common };
	const char *words[OPTIONS_MAX + 1] = { NULL }, *near;
	char name[64];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct kv_option *o = tables[i]; o && o->name && n < OPTIONS_MAX; o++)
			words[n++] = o->name;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(text + strspn(text, "-"), "="), text + strspn(text, "-"));
	near = parse_nearest(name, words);
	return err_set(e, -EINVAL, "option %s is not known%s%s; see kvrail-kv %s --help", text,
		       near ? ", did you mean --" : "", near ? near : "", c->name);
}

static int set_word(const struct kv_option *o, const char *value, uint32_t *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf words = STRBUF_INIT;

	for (uint32_t i = 0; o->words[i]; i++)
		if (!strcmp(o->words[i], value)) {
			*ret = i;
			return 0;
		}
	for (uint32_t i = 0; o->words[i]; i++)
		strbuf_addf(&words, "%s%s", i ? ", " : "", o->words[i]);
	return err_set(e, -EINVAL, "--%s %s: must be one of %s", o->name, value, words.s);
}

static int set(const struct kv_option *o, char *value, void *options, struct err *e)
{
	void *p = (char *)options + o->offset;
	struct kv_strings *list = p;

	switch (o->type) {
	case KV_OPT_FLAG:
		*(bool *)p = true;
		return 0;
	case KV_OPT_UINT:
		if (parse_u64(value, 10, o->min, o->max, p) < 0)
			return err_set(e, -EINVAL, "--%s %s: must be a number from %ju to %ju", o->name, value,
				       (uintmax_t)o->min, (uintmax_t)o->max);
		return 0;
	case KV_OPT_STRING:
		*(const char **)p = value;
		return 0;
	case KV_OPT_STRINGS:
		for (char *save, *part = strtok_r(value, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
			if (list->n == KV_STRINGS_MAX)
				return err_set(e, -EINVAL, "--%s has more than %u values", o->name, KV_STRINGS_MAX);
			list->v[list->n++] = part;
		}
		return 0;
	case KV_OPT_WORD:
		return set_word(o, value, p, e);
	}
	return -EINVAL;
}

int kv_options_parse(const struct kv_command *c, int argc, char **argv, void *options, char **ret_args, size_t *ret_n,
		     struct err *e)
{
	bool only_args = false;
	size_t n = 0;
	int r;

	for (int i = 0; i < argc; i++) {
		char *text = argv[i], *value = NULL;
		const struct kv_option *o;

		if (only_args || *text != '-' || !text[1]) {
			ret_args[n++] = text;
			continue;
		}
		if (!strcmp(text, "--")) {
			only_args = true;
			continue;
		}
		if (!strcmp(text, "--help") || !strcmp(text, "-h"))
			return 1;
		if (text[1] == '-') {
			size_t len = strcspn(text + 2, "=");

			o = find(c, text + 2, len, 0);
			value = text[2 + len] ? text + 3 + len : NULL;
		} else {
			o = find(c, NULL, 0, text[1]);
			value = text[2] ? text + 2 : NULL;
		}
		if (!o)
			return unknown(c, text, e);
		if (o->type == KV_OPT_FLAG && value)
			return err_set(e, -EINVAL, "--%s takes no value", o->name);
		if (o->type != KV_OPT_FLAG && !value) {
			if (i + 1 == argc)
				return err_set(e, -EINVAL, "--%s needs a value", o->name);
			value = argv[++i];
		}
		r = set(o, value, options, e);
		if (r < 0)
			return r;
	}
	if (n < c->min_args || n > c->max_args)
		return err_set(e, -EINVAL, "%s takes %s; usage: kvrail-kv %s %s", c->name,
			       c->max_args ? "at least one argument" : "no argument", c->name, c->usage);
	*ret_n = n;
	return 0;
}
