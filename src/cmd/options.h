/* SPDX-License-Identifier: Apache-2.0 */
/* Options of a subcommand from its table: parsing and --help. */
#ifndef KVRAIL_CMD_OPTIONS_H
#define KVRAIL_CMD_OPTIONS_H

#include <stdio.h>

#include "base/parse.h"
#include "cmd/cmd.h"

#define OPTIONS_GO (-1)

/*
 * Fill run->options, ->args, ->output from argv (argv[0] is the command's name). Returns OPTIONS_GO, or the exit code after --help or a
 * mistake, which was explained on stderr. Options and arguments may be mixed; "--" ends the options.
 */
int options_parse(const struct cmd *c, int argc, char **argv, struct cmd_run *run);

/* The n-th option of a command, the common ones (--output, --help) after its own; NULL at the end. */
const struct cmd_option *options_nth(const struct cmd *c, size_t n);

void help_command(const struct cmd *c, FILE *f);
void help_program(const struct cmd *const *commands, FILE *f);

#endif
