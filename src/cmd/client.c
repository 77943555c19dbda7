/* SPDX-License-Identifier: Apache-2.0 */
/* The command line's side of the agent's socket. */
#include <string.h>

#include "cmd/cmd.h"
#include "rpc/httpd.h"

#define REPLY_MAX (64u << 20)

const char *cmd_socket(void)
{
	const char *s = secure_getenv("KVRAIL_SOCKET");

	return s && *s ? s : "/run/kvrail/agent.sock";
}

int cmd_agent(struct cmd_run *run, const char *method, const char *target, const char *body, yyjson_val **ret,
	      struct err *e)
{
	yyjson_val *v = NULL;
	const char *text;
	char *reply;
	int status, r;

	r = http_unix(cmd_socket(), method, target, body, body ? strlen(body) : 0, REPLY_MAX, NULL, NULL, run->arena,
		      &status, &reply, e);
	if (r < 0)
		return r;
	if (*reply) {
		r = doc_parse_json(run->arena, "the agent's reply", reply, strlen(reply), REPLY_MAX, &v, e);
		if (r < 0)
			return r;
	}
	if (status / 100 != 2) {
		text = doc_str(v, "error") ? doc_str(v, "error") : doc_str(v, "msg"); /* a CNI error says msg */
		if (text && doc_str(v, "details") && *doc_str(v, "details"))
			text = arena_printf(run->arena, "%s: %s", text, doc_str(v, "details"));
		return err_set(e, status == 404 ? -ENOENT : -EREMOTEIO, "%s",
			       text ? text : "the agent refused the request without a reason");
	}
	if (ret)
		*ret = v;
	return 0;
}
