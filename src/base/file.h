/* SPDX-License-Identifier: Apache-2.0 */
/* Files: bounded reads, writes that are whole or not there, and paths that cannot climb out. */
#ifndef KVRAIL_BASE_FILE_H
#define KVRAIL_BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * Read all of @path (relative to @dirfd, or AT_FDCWD). At most @max bytes: a longer file is -EFBIG.
 * *ret is NUL-terminated and freed by the caller; *ret_len may be NULL.
 */
int file_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len);

/*
 * Put @data at @path by writing a temporary file beside it, fsync, rename, fsync of the folder:
 * after a crash the old or the new content is there, never part of one.
 */
int file_write_atomic(int dirfd, const char *path, const void *data, size_t len, mode_t mode);

/* Write @data to an existing file in ONE write(2), as sysfs and procfs want it. */
int file_write_once(int dirfd, const char *path, const void *data, size_t len);

/* Unlink and fsync the folder; a file that is not there is success. */
int file_unlink(int dirfd, const char *path);

/* mkdir -p; folders that are there stay as they are. */
int file_mkdirs(const char *path, mode_t mode);
/*
 * The same; a folder on the way that is our user's, and that it may not read, write or enter, gets @mode. For folders that others make
 * with mode 0, as the Go device plugin does (network-attachment-definition-client's os.MkdirAll(dir, os.ModeDir)): root with CAP_DAC_OVERRIDE
 * never notices, and the agent has no such capability.
 */
int file_mkdirs_open(const char *path, mode_t mode);

/*
 * Open @path beneath @dirfd with openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS): neither "..",
 * nor an absolute path, nor a symbolic link leads out of the folder. Flags as for open(2), O_CLOEXEC is added.
 */
int file_open_beneath(int dirfd, const char *path, int flags, mode_t mode);

/* An exclusive lock on the file, made if need be: the fd holds it. -EWOULDBLOCK when it is taken. */
int file_lock(const char *path);

#endif
