/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVRAIL_BASE_BASE64_H
#define KVRAIL_BASE_BASE64_H

#include "base/arena.h"

/* RFC 4648 section 4, padding required, no white space. -EINVAL for anything else. *ret is NUL-terminated. */
int base64_decode(struct arena *a, const char *text, char **ret, size_t *ret_len);

/* NUL-terminated. */
char *base64_encode(struct arena *a, const void *data, size_t len);

#endif
