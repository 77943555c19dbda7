/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"

struct row {
	const char **cells;
};

struct out_table {
	struct arena *arena;
	size_t columns, n;
	struct row *rows; /* the first is the head */
};

static bool on_terminal(void)
{
	const char *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && !(no && *no);
}

const char *out_color(enum out_color c)
{
	static const char *const codes[] = { "\033[0m", "\033[32m", "\033[33m", "\033[31m", "\033[2m" };

	return on_terminal() ? codes[c] : "";
}

const char *out_plain(struct arena *a, const char *text)
{
	char *s = arena_strdup(a, text);

	for (char *c = s; c && *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return s;
}

struct out_table *out_table_new(struct arena *a, const char *const *heads)
{
	struct out_table *t = arena_alloc(a, sizeof(*t));

	t->arena = a;
	while (heads[t->columns])
		t->columns++;
	out_row(t, heads, t->columns);
	return t;
}

void out_row(struct out_table *t, const char *const *cells, size_t n)
{
	struct row *r = arena_push(t->arena, &t->rows, &t->n, sizeof(*r));

	r->cells = arena_alloc(t->arena, t->columns * sizeof(*r->cells));
	for (size_t i = 0; i < t->columns; i++)
		r->cells[i] = i < n && cells[i] && *cells[i] ? out_plain(t->arena, cells[i]) : "-";
}

/* Columns on the screen: bytes that begin a UTF-8 character. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

void out_table_print(struct out_table *t)
{
	bool bold = on_terminal();

	for (size_t r = 0; r < t->n; r++) {
		if (r == 0 && bold)
			fputs("\033[1m", stdout);
		for (size_t c = 0; c < t->columns; c++) {
			size_t widest = 0, own = width(t->rows[r].cells[c]);

			for (size_t i = 0; i < t->n && c + 1 < t->columns; i++)
				if (width(t->rows[i].cells[c]) > widest)
					widest = width(t->rows[i].cells[c]);
			fputs(t->rows[r].cells[c], stdout);
			if (c + 1 < t->columns)
				printf("%*s", (int)(widest - own + 2), "");
		}
		puts(r == 0 && bold ? "\033[0m" : "");
	}
}

void out_value(struct cmd_run *run, yyjson_mut_val *v)
{
	char *s;

	if (run->output == OUT_YAML) {
		s = doc_mut_to_yaml(run->arena, v);
		fputs(s, stdout);
		if (!*s || s[strlen(s) - 1] != '\n')
			putchar('\n');
		return;
	}
	puts(doc_mut_to_json(run->arena, v, true));
}
