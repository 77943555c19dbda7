/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of journal files, one an attachment: STATE/attach/CONTAINER-IFNAME.json. */
#ifndef KVRAIL_ATTACH_JOURNAL_H
#define KVRAIL_ATTACH_JOURNAL_H

#include "attach/attachment.h"

/* The folder's descriptor; it is made when @create. -ENOENT when there is none. */
int journal_open(const char *state_dir, bool create, struct err *e);

/* Durable when it returns 0; the old content stays when it fails. */
int journal_write(int dirfd, const struct attachment *at, struct err *e);
int journal_remove(int dirfd, const struct attachment *at, struct err *e);

/*
 * All attachments, by name. A file that cannot be read as one is reported in the log and, when @repair, renamed
 * to NAME.corrupt, so that an administrator finds it and nothing trips over it again; a newer kvrail's stays.
 * *ret is an array in @a; the attachments are the caller's. *ret_bad (may be NULL) counts the refused files.
 */
int journal_load(int dirfd, struct arena *a, bool repair, struct attachment ***ret, size_t *ret_n, size_t *ret_bad,
		 struct err *e);

/* "CONTAINER-IFNAME.json": a "-" or "%" in the interface's name is written %2D, %25, so that the last "-" parts them. */
char *journal_name(struct arena *a, const char *container, const char *ifname);

#endif
