/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of an apply as they come, for a person: what all VFs of a port go through is one line, not one a VF. */
#ifndef KVRAIL_CMD_PROGRESS_H
#define KVRAIL_CMD_PROGRESS_H

#include "cmd/cmd.h"

struct progress;

struct progress *progress_new(struct arena *a);
double progress_seconds(const struct progress *p); /* since progress_new() */
void progress_step(struct progress *p, yyjson_val *step);
void progress_end(struct progress *p); /* prints what is still held back */

#endif
