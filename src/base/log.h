/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging, for the long-running roles: one line a message on stderr, "TIME LEVEL text", without the
 * time when stderr is systemd's journal, which notes it itself. Library code logs at debug only; what went wrong travels as struct err.
 */
#ifndef KVRAIL_BASE_LOG_H
#define KVRAIL_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
/* "error", "warn", "info", "debug"; -EINVAL for another word. */
int log_level_parse(const char *word, enum log_level *ret);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
