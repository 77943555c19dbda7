/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/file.h"
#include "base/strbuf.h"
#include "rpc/httpd-private.h"

#define THREAD_STACK (512u << 10)
#define IDLE_SECONDS 300
#define BODIES_MAX (32u << 20)
#define SMALL_BODY (64u << 10)

/* One request, from its first header to its reply. */
struct call {
	struct strbuf body;
	int refused; /* status of the refusal, 0: none */
	bool replied;
};

const char *httpd_query(const struct httpd_request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, name);
}

void httpd_say(struct httpd_reply *reply, int status, const char *body)
{
	reply->status = status;
	reply->body = body;
}

static enum MHD_Result queue(struct MHD_Connection *c, const struct httpd_reply *reply)
{
	struct MHD_Response *response;
	enum MHD_Result r;

	if (reply->fd >= 0)
		response = MHD_create_response_from_pipe(reply->fd);
	else
		response = MHD_create_response_from_buffer(reply->body ? strlen(reply->body) : 0,
							   (void *)(uintptr_t)reply->body,
							   MHD_RESPMEM_MUST_COPY);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type",
				reply->content_type ? reply->content_type : "application/json");
	r = MHD_queue_response(c, (unsigned)reply->status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result answer(struct httpd *h, struct MHD_Connection *c, const char *url, const char *method,
			      struct call *call)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct httpd_request rq = { .arena = a, .method = method, .path = url, .connection = c };
	struct httpd_reply reply = { .status = 200, .fd = -1 };
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct ucred peer;
	socklen_t len = sizeof(peer);

	call->replied = true;
	if (call->refused) {
		httpd_say(&reply, call->refused,
			  call->refused == 413 ? arena_printf(a, "{\"error\":\"the request is larger than %zu bytes\"}", h->max_body) :
						 "{\"error\":\"too many large requests at once: ask again\"}");
		return queue(c, &reply);
	}
	rq.uid = (uid_t)-1;
	rq.pid = -1;
	if (!h->tcp) {
		if (!info || getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
			return MHD_NO;
		rq.uid = peer.uid;
		rq.pid = peer.pid;
	}
	rq.body_len = call->body.len;
	rq.body = call->body.s ? call->body.s : "";
	h->handler(h->arg, &rq, &reply);
	return queue(c, &reply);
}

static void drop_body(struct httpd *h, struct call *call)
{
	atomic_fetch_sub(&h->bodies, call->body.len);
	strbuf_free(&call->body);
	call->body = (struct strbuf)STRBUF_INIT;
}

/* What is refused is read on and not kept: the peer shall get its answer. */
static void add_to_body(struct httpd *h, struct call *call, const char *data, size_t len)
{
	size_t sum = call->body.len + len;

	if (call->refused)
		return;
	if (sum > h->max_body)
		call->refused = 413;
	else if (sum > SMALL_BODY && atomic_load(&h->bodies) + len > BODIES_MAX)
		call->refused = 503;
	if (call->refused) {
		drop_body(h, call);
		return;
	}
	strbuf_add(&call->body, data, len);
	atomic_fetch_add(&h->bodies, len);
}

/* libmicrohttpd calls this once for the headers, once a piece of the body, once at its end. */
enum MHD_Result httpd_on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *data, size_t *len, void **priv)
{
	struct httpd *h = arg;
	struct call *call = *priv;

	if (!call) {
		if (h->tcp)
			httpd_on_begin(h, c);
		*priv = calloc(1, sizeof(*call));
		return *priv ? MHD_YES : MHD_NO;
	}
	if (*len) {
		add_to_body(h, call, data, *len);
		*len = 0;
		return MHD_YES;
	}
	return call->replied ? MHD_YES : answer(h, c, url, method, call);
}

void httpd_on_done(void *arg, struct MHD_Connection *c, void **priv, enum MHD_RequestTerminationCode code)
{
	struct call *call = *priv;

	if (!call)
		return;
	drop_body(arg, call);
	free(call);
	*priv = NULL;
}

static int address(const char *path, struct sockaddr_un *ret, struct err *e)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(ret->sun_path))
		return err_set(e, -ENAMETOOLONG, "the socket path %s is longer than %zu bytes", path,
			       sizeof(ret->sun_path) - 1);
	strcpy(ret->sun_path, path);
	return 0;
}

static int unix_connect(const struct sockaddr_un *sa)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int unix_listen(const char *path, struct err *e)
{
	_cleanup_close_ int fd = -1, probe = -1;
	char folder[PATH_MAX];
	struct sockaddr_un sa;
	int r;

	r = address(path, &sa, e);
	if (r < 0)
		return r;
	strcpy(folder, path);
	r = file_mkdirs(dirname(folder), 0700);
	if (r < 0)
		return err_errno(e, r, "making the folder of %s", path);
	probe = unix_connect(&sa);
	if (probe >= 0)
		return err_set(e, -EADDRINUSE,
			       "another agent answers on %s: stop it, or name another socket", path);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, -errno, "socket");
	/* nobody can connect before listen(), and a umask would be other threads' too */
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || chmod(path, 0600) < 0 || listen(fd, 128) < 0)
		return err_errno(e, -errno, "listening on %s", path);
	return TAKE_FD(fd);
}

int httpd_start(const char *path, size_t max_body, unsigned max_connections, httpd_handler handler, void *arg,
		struct httpd **ret, struct err *e)
{
	struct httpd *h;
	int fd;

	fd = unix_listen(path, e);
	if (fd < 0)
		return fd;
	h = calloc(1, sizeof(*h));
	if (!h)
		abort();
	h->handler = handler;
	h->arg = arg;
	h->max_body = max_body;
	strcpy(h->path, path);
	h->mhd = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
					  MHD_USE_ITC | MHD_USE_POLL,
				  0, NULL, NULL, httpd_on_request, h, MHD_OPTION_LISTEN_SOCKET, fd,
				  MHD_OPTION_CONNECTION_LIMIT, max_connections,
				  MHD_OPTION_THREAD_STACK_SIZE, (size_t)THREAD_STACK,
				  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
				  MHD_OPTION_NOTIFY_COMPLETED, httpd_on_done, h, MHD_OPTION_END);
	if (!h->mhd) {
		close(fd);
		free(h);
		return err_set(e, -EIO, "starting the server on %s", path);
	}
	*ret = h;
	return 0;
}

struct httpd *httpd_stop(struct httpd *h)
{
	if (!h)
		return NULL;
	if (!h->tcp)
		unlink(h->path);
	MHD_stop_daemon(h->mhd);
	if (h->retired)
		MHD_stop_daemon(h->retired);
	if (h->tcp)
		pthread_mutex_destroy(&h->lock);
	free(h);
	return NULL;
}
