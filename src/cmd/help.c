/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cmd/options.h"

static void option_line(const struct cmd_option *o, FILE *f)
{
	char left[64];

	snprintf(left, sizeof(left), "%c%c%s --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ', o->letter ? "," : " ",
		 o->name, o->value ? " " : "", o->value ? o->value : "");
	fprintf(f, "  %-26s %s\n", left, o->doc);
}

void help_command(const struct cmd *c, FILE *f)
{
	const struct cmd_option *o;

	fprintf(f, "kvrail %s: %s\n\nusage: kvrail %s %s\n", c->name, c->summary, c->name, c->usage);
	if (c->about)
		fprintf(f, "\n%s\n", c->about);
	fputs("\noptions:\n", f);
	for (size_t i = 0; (o = options_nth(c, i)); i++)
		option_line(o, f);
}

void help_program(const struct cmd *const *commands, FILE *f)
{
	fputs("kvrail " KVRAIL_VERSION ": RDMA rails for the pods of a disaggregated LLM\n\n"
	      "usage: kvrail COMMAND [OPTION...]\n\n", f);
	for (; *commands; commands++)
		fprintf(f, "  %-12s %s\n", (*commands)->name, (*commands)->summary);
	fputs("\n'kvrail COMMAND --help' tells more. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 found something wrong, "
	      "4 no agent.\n", f);
}
