/* SPDX-License-Identifier: Apache-2.0 */
/* Options of kvrail-kv's commands: tables from which come parsing, --help and the words for a misspelt option. */
#ifndef KVRAIL_KV_OPTIONS_H
#define KVRAIL_KV_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define KV_STRINGS_MAX 16

enum kv_option_type {
	KV_OPT_FLAG,	/* bool */
	KV_OPT_UINT,	/* uint64_t within .min and .max */
	KV_OPT_STRING,	/* const char * */
	KV_OPT_STRINGS, /* struct kv_strings: with commas, or several times */
	KV_OPT_WORD,	/* uint32_t: index into .words */
};

struct kv_strings {
	const char *v[KV_STRINGS_MAX];
	size_t n;
};

struct kv_option {
	const char *name;
	char letter; /* 0 none */
	enum kv_option_type type;
	size_t offset; /* into the options' struct */
	const char *value; /* "FILE" */
	uint64_t min, max;
	const char *const *words;
	const char *doc;
};

struct kv_command {
	const char *name, *usage, *summary, *about;
	const struct kv_option *options; /* ended by a NULL name */
	const struct kv_option *common;	 /* a second such table, or NULL */
	size_t options_size; /* of its struct, which begins with .common's when that is set */
	void (*defaults)(void *options); /* fills the zeroed struct, or NULL */
	size_t min_args, max_args;
	int (*run)(void *options, char **args, size_t n_args, struct err *e);
};

/*
 * Take the options out of @argv (which begins after the command's name) into the struct at @options; what is left are
 * the arguments. -EINVAL names what is wrong; 1: --help was asked for.
 */
int kv_options_parse(const struct kv_command *c, int argc, char **argv, void *options, char **ret_args, size_t *ret_n,
		     struct err *e);
void kv_options_help(const struct kv_command *c);

#endif
