/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that the agent was not there to take, one file each, for its next start. */
#ifndef KVRAIL_CNI_SPOOL_H
#define KVRAIL_CNI_SPOOL_H

#include <stddef.h>

/*
 * Keep @body in @dir (made if need be), named so that names sort by time. Durable when it returns 0; else a
 * negative errno and nothing is left behind.
 */
int spool_write(const char *dir, const char *body, size_t len);

#endif
