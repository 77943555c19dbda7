/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors. A fallible function returns 0 (or a count) or a negative errno, and takes a
 * struct err * last when a person will read the failure. The one that detects it calls
 * err_set(), callers add context with err_wrap(), main prints err.msg once.
 */
#ifndef KVRAIL_BASE_ERR_H
#define KVRAIL_BASE_ERR_H

#define ERR_MSG_MAX 2048

struct err {
	int code;		/* negative errno, 0 when nothing failed */
	char msg[ERR_MSG_MAX];	/* one line, no newline; cut with "..." when longer */
};

/* Set @e (may be NULL) and return @code, which must be negative. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set(), with ": <text of -code>" appended. */
int err_errno(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Prefix the message with "<text>: " and return @code unchanged. */
int err_wrap(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Append the text, such as a way out, and return @code unchanged. */
int err_append(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
