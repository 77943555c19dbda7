/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVRAIL_PROVISION_REMEMBER_H
#define KVRAIL_PROVISION_REMEMBER_H

#include "base/err.h"

/* Write and remove the record of a port; inventory_remember() reads it. */
int remember_port(const char *state_dir, const char *pci, const char *text, struct err *e);
int forget_port(const char *state_dir, const char *pci, struct err *e);

#endif
