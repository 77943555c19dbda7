/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a tar (POSIX ustar, with GNU's long names where 100 bytes are too few). */
#ifndef KVRAIL_PROVISION_TAR_H
#define KVRAIL_PROVISION_TAR_H

#include <stdio.h>

/* Errors stick to @f: the caller looks at ferror() once. */
void tar_file(FILE *f, const char *path, const void *data, size_t len);
void tar_link(FILE *f, const char *path, const char *target);
void tar_folder(FILE *f, const char *path);
void tar_end(FILE *f);

#endif
