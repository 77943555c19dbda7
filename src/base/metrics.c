/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/metrics.h"

static const double bounds[METRICS_BUCKETS] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
						1, 2.5, 5, 10, 20, 30, 60, 120 };

/* In HELP a quote stays as it is, in a label it is escaped; both escape backslash and line feed. */
static void add_escaped(struct strbuf *b, const char *s, bool quoted)
{
	for (; *s; s++) {
		if (*s == '\n') {
			strbuf_addstr(b, "\\n");
			continue;
		}
		if (*s == '\\' || (quoted && *s == '"'))
			strbuf_addch(b, '\\');
		strbuf_addch(b, *s);
	}
}

void metrics_family(struct strbuf *b, const char *name, enum metrics_type type, const char *help)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };

	strbuf_addf(b, "# HELP %s ", name);
	add_escaped(b, help, false);
	strbuf_addf(b, "\n# TYPE %s %s\n", name, types[type]);
}

/* "{a="1",b="2"" without the closing brace; nothing when there is no label. */
static bool add_labels(struct strbuf *b, va_list ap)
{
	const char *label;
	bool any = false;

	while ((label = va_arg(ap, const char *))) {
		const char *value = va_arg(ap, const char *);

		if (!value)
			continue;
		strbuf_addf(b, "%c%s=\"", any ? ',' : '{', label);
		add_escaped(b, value, true);
		strbuf_addch(b, '"');
		any = true;
	}
	return any;
}

static void add_value(struct strbuf *b, double value)
{
	if (isnan(value) || isinf(value))
		strbuf_addf(b, " %s\n", isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
	else if (value > -1e15 && value < 1e15 && value == (double)(int64_t)value)
		strbuf_addf(b, " %.0f\n", value);
	else
		strbuf_addf(b, " %.9g\n", value);
}

void metrics_add(struct strbuf *b, const char *name, double value, ...)
{
	va_list ap;

	strbuf_addstr(b, name);
	va_start(ap, value);
	if (add_labels(b, ap))
		strbuf_addch(b, '}');
	va_end(ap);
	add_value(b, value);
}

void metrics_observe(struct metrics_histogram *h, uint64_t ns)
{
	size_t i = 0;

	while (i < METRICS_BUCKETS && (double)ns > bounds[i] * 1e9)
		i++;
	h->bucket[i]++;
	h->sum_us += ns / 1000;
}

void metrics_add_histogram(struct strbuf *b, const char *name, struct metrics_histogram *h, ...)
{
	_cleanup_strbuf_ struct strbuf labels = STRBUF_INIT;
	uint64_t total = 0, sum = h->sum_us;
	const char *open, *end;
	va_list ap;

	va_start(ap, h);
	open = add_labels(&labels, ap) ? labels.s : "{";
	va_end(ap);
	end = labels.s ? "}" : "";
	for (size_t i = 0; i <= METRICS_BUCKETS; i++) {
		total += h->bucket[i];
		strbuf_addf(b, "%s_bucket%s%s", name, open, labels.s ? "," : "");
		if (i < METRICS_BUCKETS)
			strbuf_addf(b, "le=\"%g\"}", bounds[i]);
		else
			strbuf_addstr(b, "le=\"+Inf\"}");
		add_value(b, (double)total);
	}
	strbuf_addf(b, "%s_sum%s%s", name, labels.s ? labels.s : "", end);
	add_value(b, (double)sum / 1e6);
	strbuf_addf(b, "%s_count%s%s", name, labels.s ? labels.s : "", end);
	add_value(b, (double)total);
}

/* Field 22 of /proc/self/stat, ticks after boot, as seconds of the epoch; 0 when unknown. */
static double start_time(void)
{
	_cleanup_free_ char *stat = NULL;
	unsigned long long ticks = 0;
	struct timespec now, up;
	const char *p;

	if (file_read(AT_FDCWD, "/proc/self/stat", 4096, &stat, NULL) < 0 || !(p = strrchr(stat, ')')))
		return 0;
	for (int field = 2; field < 22 && p; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return 0;
	ticks = strtoull(p, NULL, 10);
	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_BOOTTIME, &up);
	return (double)(now.tv_sec - up.tv_sec) + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double resident(void)
{
	_cleanup_free_ char *statm = NULL;
	const char *p;

	if (file_read(AT_FDCWD, "/proc/self/statm", 4096, &statm, NULL) < 0 || !(p = strchr(statm, ' ')))
		return 0;
	return (double)strtoull(p, NULL, 10) * (double)sysconf(_SC_PAGESIZE);
}

static double open_files(void)
{
	_cleanup_closedir_ DIR *d = opendir("/proc/self/fd");
	double n = -1; /* the folder's own */

	while (d && readdir(d))
		n++;
	return n < 2 ? 0 : n - 2;
}

void metrics_add_process(struct strbuf *b)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	metrics_family(b, "process_resident_memory_bytes", METRICS_GAUGE, "Resident memory.");
	metrics_add(b, "process_resident_memory_bytes", resident(), NULL);
	metrics_family(b, "process_cpu_seconds_total", METRICS_COUNTER, "CPU time, user and system.");
	metrics_add(b, "process_cpu_seconds_total",
		    (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
			    (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6, NULL);
	metrics_family(b, "process_open_fds", METRICS_GAUGE, "Open file descriptors.");
	metrics_add(b, "process_open_fds", open_files(), NULL);
	metrics_family(b, "process_start_time_seconds", METRICS_GAUGE, "When the process started, seconds of the epoch.");
	metrics_add(b, "process_start_time_seconds", start_time(), NULL);
}
