/* SPDX-License-Identifier: Apache-2.0 */
/* A pull's result, for people and for programs. */
#include <stdio.h>
#include <string.h>

#include "codec/doc.h"
#include "kv/pull.h"

static double rounded(double v)
{
	return (double)(int64_t)(v * 1e6 + 0.5) / 1e6;
}

static void add_text(yyjson_mut_doc *d, yyjson_mut_val *o, const char *key, const char *s)
{
	if (s)
		yyjson_mut_obj_add_str(d, o, key, s);
	else
		yyjson_mut_obj_add_null(d, o, key);
}

static yyjson_mut_val *rail_value(yyjson_mut_doc *d, const struct kv_rail *rail)
{
	yyjson_mut_val *o = yyjson_mut_obj(d);

	add_text(d, o, "device", rail->device);
	if (rail->port)
		yyjson_mut_obj_add_uint(d, o, "port", rail->port);
	add_text(d, o, "address", rail->address);
	add_text(d, o, "gid", rail->gid);
	if (rail->gid_index >= 0)
		yyjson_mut_obj_add_int(d, o, "gidIndex", rail->gid_index);
	if (rail->mtu)
		yyjson_mut_obj_add_uint(d, o, "mtu", rail->mtu);
	add_text(d, o, "peer", rail->peer);
	yyjson_mut_obj_add_uint(d, o, "bytes", rail->bytes);
	return o;
}

static void print_json(const struct kv_result *r)
{
	_cleanup_arena_ struct arena *a = arena_new();
	yyjson_mut_doc *d = doc_new(a);
	yyjson_mut_val *o = yyjson_mut_obj(d), *rails = yyjson_mut_arr(d), *b;

	yyjson_mut_obj_add_str(d, o, "transport", r->transport);
	yyjson_mut_obj_add_bool(d, o, "rdma", r->rdma);
	add_text(d, o, "via", r->via);
	add_text(d, o, "fallback", r->passed_over);
	yyjson_mut_obj_add_str(d, o, "op", r->op);
	yyjson_mut_obj_add_str(d, o, "model", r->model);
	yyjson_mut_obj_add_str(d, o, "memory", r->memory);
	for (size_t i = 0; i < r->n_rails; i++)
		yyjson_mut_arr_append(rails, rail_value(d, &r->rails[i]));
	yyjson_mut_obj_add_val(d, o, "rails", rails);
	yyjson_mut_obj_add_uint(d, o, "tokens", r->tokens);
	yyjson_mut_obj_add_uint(d, o, "bytes", r->bytes);
	yyjson_mut_obj_add_uint(d, o, "blocks", r->blocks);
	yyjson_mut_obj_add_uint(d, o, "descriptors", r->descriptors);
	yyjson_mut_obj_add_uint(d, o, "workRequests", r->requests);
	yyjson_mut_obj_add_uint(d, o, "handoffs", r->handoffs);
	yyjson_mut_obj_add_real(d, o, "seconds", rounded(r->seconds));
	yyjson_mut_obj_add_real(d, o, "GBps", rounded(r->rate / 1e9));
	yyjson_mut_obj_add_real(d, o, "firstMs", rounded(r->first * 1e3));
	yyjson_mut_obj_add_real(d, o, "p50Ms", rounded(r->p50 * 1e3));
	yyjson_mut_obj_add_real(d, o, "p99Ms", rounded(r->p99 * 1e3));
	yyjson_mut_obj_add_real(d, o, "postMs", rounded(r->post * 1e3));
	yyjson_mut_obj_add_real(d, o, "cpuSecondsPerGB", rounded(r->cpu));
	yyjson_mut_obj_add_str(d, o, "checksum", r->checksum);
	if (r->baseline_tool) {
		b = yyjson_mut_obj_add_obj(d, o, "baseline");
		yyjson_mut_obj_add_str(d, b, "tool", r->baseline_tool);
		yyjson_mut_obj_add_real(d, b, "GBps", rounded(r->baseline / 1e9));
		yyjson_mut_obj_add_real(d, b, "share", rounded(r->share));
	}
	puts(doc_mut_to_json(a, o, true));
}

static void line(const char *what, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void line(const char *what, const char *fmt, ...)
{
	va_list ap;

	printf("%-12s ", what);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static void print_rail(const struct kv_rail *rail, uint64_t total)
{
	char where[160], gid[96] = "", share[48] = "";

	if (rail->port)
		snprintf(where, sizeof(where), "%s:%u%s%s", rail->device, rail->port, rail->address ? " " : "",
			 rail->address ? rail->address : "");
	else
		snprintf(where, sizeof(where), "%s", rail->address ? rail->address : rail->device);
	if (rail->gid)
		snprintf(gid, sizeof(gid), ", GID %s (index %d), MTU %u", rail->gid, rail->gid_index, rail->mtu);
	if (rail->bytes) /* a WRITE is counted at the prefill */
		snprintf(share, sizeof(share), ", %.0f %% of the bytes", 100.0 * (double)rail->bytes / (double)total);
	line("rail", "%s%s%s%s%s", where, gid, rail->peer ? " to " : "", rail->peer ? rail->peer : "", share);
}

static void print_table(const struct kv_result *r)
{
	line("transport", "%s by %s (%s), %s", r->transport, r->via, r->rdma ? "RDMA" : "no RDMA", r->op);
	if (r->passed_over)
		line("passed over", "%s", r->passed_over);
	for (size_t i = 0; i < r->n_rails; i++)
		print_rail(&r->rails[i], r->bytes * r->handoffs);
	line("cache", "%s, %u tokens in %ju blocks, %s", r->model, r->tokens, (uintmax_t)r->blocks, r->memory);
	line("handoff", "%.1f MiB, %ju descriptors, %ju work requests", (double)r->bytes / (1 << 20),
	     (uintmax_t)r->descriptors, (uintmax_t)r->requests);
	line("time", "p50 %.3f ms, p99 %.3f ms of %ju handoffs, the first %.3f ms, posting %.3f ms", r->p50 * 1e3, r->p99 * 1e3,
	     (uintmax_t)r->handoffs, r->first * 1e3, r->post * 1e3);
	line("rate", "%.3f GB/s, %.2f CPU seconds for a GB at this side", r->rate / 1e9, r->cpu);
	line("checksum", "%s", r->checksum);
	if (r->baseline_tool)
		line("baseline", "%.3f GB/s (%s): %.0f %% reached", r->baseline / 1e9, r->baseline_tool, r->share * 100);
}

void kv_result_print(const struct kv_result *r, uint32_t output)
{
	if (output == KV_OUT_JSON)
		print_json(r);
	else
		print_table(r);
}
