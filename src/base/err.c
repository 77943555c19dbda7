/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

static void cut(char *msg, int len)
{
	if (len >= ERR_MSG_MAX)
		memcpy(msg + ERR_MSG_MAX - 4, "...", 4);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	e->code = code;
	va_start(ap, fmt);
	cut(e->msg, vsnprintf(e->msg, sizeof(e->msg), fmt, ap));
	va_end(ap);
	return code;
}

int err_errno(struct err *e, int code, const char *fmt, ...)
{
	char text[ERR_MSG_MAX];
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(e, code, "%s: %s", text, strerror(-code));
}

int err_wrap(struct err *e, int code, const char *fmt, ...)
{
	char prefix[ERR_MSG_MAX], old[ERR_MSG_MAX];
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	vsnprintf(prefix, sizeof(prefix), fmt, ap);
	va_end(ap);
	memcpy(old, e->msg, sizeof(old));
	return err_set(e, code, "%s: %s", prefix, old);
}

int err_append(struct err *e, int code, const char *fmt, ...)
{
	size_t n;
	va_list ap;

	if (!e)
		return code;
	e->code = code;
	n = strlen(e->msg);
	va_start(ap, fmt);
	cut(e->msg, (int)n + vsnprintf(e->msg + n, sizeof(e->msg) - n, fmt, ap));
	va_end(ap);
	return code;
}
