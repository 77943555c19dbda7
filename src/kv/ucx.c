/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transport ucx: one get or put for each range through libucp, with the settings that NIXL's UCX back end uses. For
 * comparison, and for fabrics that only UCX knows. The library is loaded when this transport is asked for. UCX chooses
 * the device; which one it chose is read from what it prints about its endpoint.
 */
#include <dlfcn.h>
#include <endian.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <ucp/api/ucp.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "kv/transport.h"

#define UNDER_WAY_MAX 4096

/* The functions of libucp.so.0 that are used, by their own names. */
struct lib {
	__typeof__(ucp_get_version) *get_version;
	__typeof__(ucp_config_read) *config_read;
	__typeof__(ucp_config_modify) *config_modify;
	__typeof__(ucp_config_release) *config_release;
	__typeof__(ucp_init_version) *init_version;
	__typeof__(ucp_cleanup) *cleanup;
	__typeof__(ucp_worker_create) *worker_create;
	__typeof__(ucp_worker_destroy) *worker_destroy;
	__typeof__(ucp_worker_get_address) *worker_get_address;
	__typeof__(ucp_worker_release_address) *worker_release_address;
	__typeof__(ucp_worker_progress) *worker_progress;
	__typeof__(ucp_worker_get_efd) *worker_get_efd;
	__typeof__(ucp_worker_arm) *worker_arm;
	__typeof__(ucp_mem_map) *mem_map;
	__typeof__(ucp_mem_unmap) *mem_unmap;
	__typeof__(ucp_rkey_pack) *rkey_pack;
	__typeof__(ucp_rkey_buffer_release) *rkey_buffer_release;
	__typeof__(ucp_ep_rkey_unpack) *ep_rkey_unpack;
	__typeof__(ucp_rkey_destroy) *rkey_destroy;
	__typeof__(ucp_ep_create) *ep_create;
	__typeof__(ucp_ep_close_nbx) *ep_close_nbx;
	__typeof__(ucp_ep_flush_nbx) *ep_flush_nbx;
	__typeof__(ucp_ep_print_info) *ep_print_info;
	__typeof__(ucp_get_nbx) *get_nbx;
	__typeof__(ucp_put_nbx) *put_nbx;
	__typeof__(ucp_request_check_status) *request_check_status;
	__typeof__(ucp_request_free) *request_free;
	__typeof__(ucs_status_string) *status_string;
};

static const struct {
	const char *name;
	size_t offset;
} symbols[] = {
#define SYMBOL(f) { "ucp_" #f, offsetof(struct lib, f) }
	SYMBOL(get_version), SYMBOL(config_read), SYMBOL(config_modify), SYMBOL(config_release), SYMBOL(init_version),
	SYMBOL(cleanup), SYMBOL(worker_create), SYMBOL(worker_destroy), SYMBOL(worker_get_address),
	SYMBOL(worker_release_address), SYMBOL(worker_progress), SYMBOL(worker_get_efd), SYMBOL(worker_arm),
	SYMBOL(mem_map), SYMBOL(mem_unmap), SYMBOL(rkey_pack), SYMBOL(rkey_buffer_release), SYMBOL(ep_rkey_unpack),
	SYMBOL(rkey_destroy), SYMBOL(ep_create), SYMBOL(ep_close_nbx), SYMBOL(ep_flush_nbx), SYMBOL(ep_print_info),
	SYMBOL(get_nbx), SYMBOL(put_nbx), SYMBOL(request_check_status), SYMBOL(request_free),
#undef SYMBOL
	{ "ucs_status_string", offsetof(struct lib, status_string) },
};

struct ucx {
	struct kv_endpoint ep;
	struct lib lib;
	void *handle;
	ucp_context_h context;
	ucp_worker_h worker;
	ucp_mem_h mem;
	ucp_ep_h peer;
	ucp_rkey_h key;
	uint64_t peer_base, peer_size, bytes;
	/* passive: a thread answers what the device does not */
	pthread_t thread;
	bool running;
	int stop_fd, worker_fd;
	/* of one operation */
	size_t under_way;
	ucs_status_t status;
	atomic_int peer_failed;
};

/* Followed by the worker's address and the packed key. */
struct ucx_hello {
	uint64_t base, size;
	uint32_t address_len, key_len;
};

static int load(struct ucx *u, struct err *e)
{
	u->handle = dlopen("libucp.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!u->handle)
		return err_set(e, -ENOENT, "libucp.so.0 cannot be loaded (%s): install UCX (libucx0), or use another transport",
			       dlerror());
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		void *f = dlsym(u->handle, symbols[i].name);

		if (!f)
			return err_set(e, -ENOSYS, "libucp.so.0 has no %s: it is too old", symbols[i].name);
		memcpy((char *)&u->lib + symbols[i].offset, &f, sizeof(f));
	}
	return 0;
}

static int ucx_failed(const struct ucx *u, ucs_status_t status, const char *doing, struct err *e)
{
	int code = status == UCS_ERR_ENDPOINT_TIMEOUT || status == UCS_ERR_TIMED_OUT ? -ETIMEDOUT
		   : status == UCS_ERR_CONNECTION_RESET ? -ECONNRESET : -EIO;

	return err_set(e, code, "%s: %s%s", doing, u->lib.status_string(status),
		       status == UCS_ERR_NO_MEMORY ? " (is locked memory limited? see ulimit -l)" : "");
}

/* The devices of the rails, as UCX names them, unless the environment has its say. */
static void choose_devices(struct ucx *u, const struct kv_config *c, ucp_config_t *config)
{
	_cleanup_strbuf_ struct strbuf list = STRBUF_INIT;

	for (size_t i = 0; i < c->n_rails; i++) {
		size_t n = strcspn(c->rails[i], "@");

		if (kv_addr_is(c->rails[i]))
			continue; /* UCX knows devices only */
		strbuf_addf(&list, "%s%.*s%s", list.len ? "," : "", (int)n, c->rails[i],
			    memchr(c->rails[i], ':', n) ? "" : ":1");
	}
	if (list.len && !getenv("UCX_NET_DEVICES"))
		u->lib.config_modify(config, "NET_DEVICES", list.s);
}

static int make_context(struct ucx *u, const struct kv_config *c, struct err *e)
{
	const ucp_params_t params = {
		.field_mask = UCP_PARAM_FIELD_FEATURES,
		.features = UCP_FEATURE_RMA | (c->passive ? UCP_FEATURE_WAKEUP : 0),
	};
	bool rdma = access("/sys/class/infiniband", F_OK) == 0;
	unsigned major, minor, release;
	ucp_config_t *config;
	ucs_status_t s;

	u->lib.get_version(&major, &minor, &release);
	/* before openucx PR 10209 (1.19) UD over RoCE takes the address family from the completion's SL, which only mlx5
	 * encodes: on other devices wire-up stalls */
	if (rdma && major == 1 && minor < 19)
		setenv("UCX_UD_VERBS_ETH_DGID_CHECK", "n", 0);
	s = u->lib.config_read(NULL, NULL, &config);
	if (s != UCS_OK)
		return ucx_failed(u, s, "UCX configuration", e);
	if (!getenv("UCX_RNDV_THRESH"))
		u->lib.config_modify(config, "RNDV_THRESH", "inf");
	if (rdma && !getenv("UCX_MAX_RMA_RAILS"))
		u->lib.config_modify(config, "MAX_RMA_RAILS", "2");
	choose_devices(u, c, config);
	s = u->lib.init_version(UCP_API_MAJOR, UCP_API_MINOR, &params, config, &u->context);
	u->lib.config_release(config);
	return s == UCS_OK ? 0 : ucx_failed(u, s, "UCX context", e);
}

static void ucx_close(struct kv_endpoint *ep)
{
	struct ucx *u = (struct ucx *)ep;
	uint64_t one = 1;

	if (u->running && write(u->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(u->thread, NULL);
	if (u->key)
		u->lib.rkey_destroy(u->key);
	if (u->peer) {
		const ucp_request_param_t force = { .op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS, .flags = UCP_EP_CLOSE_FLAG_FORCE };
		void *request = u->lib.ep_close_nbx(u->peer, &force);

		for (unsigned i = 0; UCS_PTR_IS_PTR(request) && u->lib.request_check_status(request) == UCS_INPROGRESS &&
				     i < 1000000; i++)
			u->lib.worker_progress(u->worker);
		if (UCS_PTR_IS_PTR(request))
			u->lib.request_free(request);
	}
	if (u->mem)
		u->lib.mem_unmap(u->context, u->mem);
	if (u->worker)
		u->lib.worker_destroy(u->worker);
	if (u->context)
		u->lib.cleanup(u->context);
	if (u->stop_fd >= 0)
		close(u->stop_fd);
	/* libucp stays loaded: its own threads and atexit handlers may still run */
	free(u);
}

static int make_worker(struct ucx *u, const struct kv_config *c, struct err *e)
{
	const ucp_worker_params_t worker = {
		.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
		.thread_mode = UCS_THREAD_MODE_SERIALIZED,
	};
	const ucp_mem_map_params_t map = {
		.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH,
		.address = c->mem->base,
		.length = c->mem->size,
	};
	ucs_status_t s = u->lib.worker_create(u->context, &worker, &u->worker);

	if (s != UCS_OK)
		return ucx_failed(u, s, "UCX worker", e);
	s = u->lib.mem_map(u->context, &map, &u->mem);
	if (s != UCS_OK)
		return ucx_failed(u, s, "registering the cache with UCX", e);
	if (c->passive && u->lib.worker_get_efd(u->worker, &u->worker_fd) != UCS_OK)
		u->worker_fd = -1;
	return 0;
}

static int ucx_open(const struct kv_config *c, struct kv_endpoint **ret, struct err *e)
{
	struct ucx *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		abort();
	u->stop_fd = eventfd(0, EFD_CLOEXEC);
	r = load(u, e);
	if (r == 0)
		r = make_context(u, c, e);
	if (r == 0)
		r = make_worker(u, c, e);
	if (r < 0) {
		ucx_close(&u->ep);
		return r;
	}
	*ret = &u->ep;
	return 0;
}

static int ucx_describe(struct kv_endpoint *ep, struct arena *a, struct kv_bytes *ret, struct err *e)
{
	struct ucx *u = (struct ucx *)ep;
	struct ucx_hello h = { .base = htole64((uintptr_t)ep->config.mem->base), .size = htole64(ep->config.mem->size) };
	ucp_address_t *address;
	size_t address_len, key_len;
	ucs_status_t s;
	uint8_t *p;
	void *key;

	s = u->lib.worker_get_address(u->worker, &address, &address_len);
	if (s != UCS_OK)
		return ucx_failed(u, s, "UCX address", e);
	s = u->lib.rkey_pack(u->context, u->mem, &key, &key_len);
	if (s != UCS_OK) {
		u->lib.worker_release_address(u->worker, address);
		return ucx_failed(u, s, "UCX remote key", e);
	}
	h.address_len = htole32((uint32_t)address_len);
	h.key_len = htole32((uint32_t)key_len);
	p = arena_alloc(a, sizeof(h) + address_len + key_len);
	memcpy(p, &h, sizeof(h));
	memcpy(p + sizeof(h), address, address_len);
	memcpy(p + sizeof(h) + address_len, key, key_len);
	u->lib.rkey_buffer_release(key);
	u->lib.worker_release_address(u->worker, address);
	if (sizeof(h) + address_len + key_len > KV_ENDPOINT_MAX)
		return err_set(e, -E2BIG, "UCX's address is %zu bytes: name fewer devices in UCX_NET_DEVICES", address_len);
	*ret = (struct kv_bytes){ p, (uint32_t)(sizeof(h) + address_len + key_len) };
	return 0;
}

static void *answer(void *arg)
{
	struct ucx *u = arg;
	struct pollfd p[2] = { { .fd = u->stop_fd, .events = POLLIN }, { .fd = u->worker_fd, .events = POLLIN } };

	while (poll(p, 1, 0) == 0) {
		if (u->lib.worker_progress(u->worker))
			continue;
		if (u->worker_fd >= 0 && u->lib.worker_arm(u->worker) == UCS_OK)
			poll(p, 2, -1);
	}
	return NULL;
}

/* Called in progress: the peer's end is only noted. */
static void peer_failed(void *arg, ucp_ep_h peer, ucs_status_t status)
{
	struct ucx *u = arg;

	u->peer_failed = status;
}

static int ucx_connect(struct kv_endpoint *ep, const struct kv_bytes *peer, struct err *e)
{
	struct ucx *u = (struct ucx *)ep;
	ucp_ep_params_t params = {
		.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
			      UCP_EP_PARAM_FIELD_ERR_HANDLER,
		.err_mode = UCP_ERR_HANDLING_MODE_PEER,
		.err_handler = { .cb = peer_failed, .arg = u },
	};
	struct ucx_hello h;
	ucs_status_t s;

	if (peer->n >= sizeof(h))
		memcpy(&h, peer->p, sizeof(h));
	if (peer->n < sizeof(h) ||
	    peer->n != sizeof(h) + (uint64_t)le32toh(h.address_len) + le32toh(h.key_len))
		return err_set(e, -EBADMSG, "the peer's description of its UCX worker is malformed");
	u->peer_base = le64toh(h.base);
	u->peer_size = le64toh(h.size);
	if (ep->config.passive) { /* its worker answers; an endpoint of its own would only be one more to fail */
		u->running = pthread_create(&u->thread, NULL, answer, u) == 0;
		return u->running ? 0 : err_set(e, -EAGAIN, "no thread for UCX");
	}
	params.address = (const ucp_address_t *)(peer->p + sizeof(h));
	s = u->lib.ep_create(u->worker, &params, &u->peer);
	if (s == UCS_OK)
		s = u->lib.ep_rkey_unpack(u->peer, peer->p + sizeof(h) + le32toh(h.address_len), &u->key);
	if (s != UCS_OK)
		return ucx_failed(u, s, "UCX endpoint (are UCX_TLS and UCX_NET_DEVICES right, and UCX the same on both sides?)",
				  e);
	return 0;
}

static void completed(void *request, ucs_status_t status, void *arg)
{
	struct ucx *u = arg;

	u->under_way--;
	if (status != UCS_OK && u->status == UCS_OK)
		u->status = status;
	u->lib.request_free(request);
}

/* Progress until at most @most requests are under way. */
static int drain(struct ucx *u, size_t most, struct err *e)
{
	uint64_t last = clock_ns();
	size_t before = u->under_way;

	for (unsigned spins = 0; u->under_way > most; spins++) {
		u->lib.worker_progress(u->worker);
		if (u->under_way != before) {
			before = u->under_way;
			last = clock_ns();
		}
		if (u->status != UCS_OK)
			return ucx_failed(u, u->status, "UCX transfer", e);
		if (u->peer_failed)
			return ucx_failed(u, (ucs_status_t)u->peer_failed, "the peer's UCX endpoint failed", e);
		if (spins % 4096 != 4095)
			continue;
		if (kv_net_gone(u->ep.config.peer_fd))
			return err_set(e, -ECONNRESET, "the peer ended during the transfer");
		if (clock_ns() - last > (uint64_t)u->ep.config.timeout_ms * 1000000)
			return err_set(e, -ETIMEDOUT, "no UCX request completed for %u s", u->ep.config.timeout_ms / 1000);
	}
	return 0;
}

/* Count a started operation; what is done at once has no request. */
static int started(struct ucx *u, ucs_status_ptr_t request, struct err *e)
{
	if (UCS_PTR_IS_ERR(request))
		return ucx_failed(u, UCS_PTR_STATUS(request), "UCX transfer", e);
	u->under_way += UCS_PTR_IS_PTR(request);
	return 0;
}

static int run(struct ucx *u, const struct kv_plan *p, bool write, struct kv_done *ret, struct err *e)
{
	const ucp_request_param_t param = {
		.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FLAG_MULTI_SEND,
		.cb.send = completed,
		.user_data = u,
	};
	uint64_t start = clock_ns(), posted;
	int r = 0;

	u->status = UCS_OK;
	for (size_t i = 0; r == 0 && i < p->n; i++) {
		const struct kv_desc *d = &p->v[i];
		char *local = (char *)u->ep.config.mem->base + d->local;

		if (d->remote > u->peer_size || d->len > u->peer_size - d->remote)
			return err_set(e, -ERANGE, "range %zu ends beyond the peer's region of %ju bytes", i,
				       (uintmax_t)u->peer_size);
		if (write)
			r = started(u, u->lib.put_nbx(u->peer, local, d->len, u->peer_base + d->remote, u->key, &param), e);
		else
			r = started(u, u->lib.get_nbx(u->peer, local, d->len, u->peer_base + d->remote, u->key, &param), e);
		if (r == 0 && u->under_way >= UNDER_WAY_MAX)
			r = drain(u, UNDER_WAY_MAX / 2, e);
	}
	posted = clock_ns();
	if (r == 0)
		r = started(u, u->lib.ep_flush_nbx(u->peer, &(ucp_request_param_t){
			.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
			.cb.send = completed, .user_data = u }), e);
	if (r == 0)
		r = drain(u, 0, e);
	if (r < 0)
		return r;
	u->bytes += p->bytes;
	*ret = (struct kv_done){ .ns = clock_ns() - start, .post_ns = posted - start, .requests = p->n };
	return 0;
}

static int ucx_read(struct kv_endpoint *ep, const struct kv_plan *p, struct kv_done *ret, struct err *e)
{
	return run((struct ucx *)ep, p, false, ret, e);
}

static int ucx_write(struct kv_endpoint *ep, const struct kv_plan *p, struct kv_done *ret, struct err *e)
{
	return run((struct ucx *)ep, p, true, ret, e);
}

/* "lane[0]: 3:rc_verbs/rxe_x:1.0 md[1] ... rma_bw#0": the transports and devices of lanes that carry RMA or AM. */
static const char *lanes_of(struct arena *a, char *text, bool *ret_rdma)
{
	_cleanup_strbuf_ struct strbuf via = STRBUF_INIT;
	bool rdma = true;

	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char *name = strstr(line, "lane["), *end;

		if (!name || (!strstr(line, "rma") && !strstr(line, " am")) || !(name = strstr(name, "]:")))
			continue;
		name += strspn(name, "]: 0123456789");
		end = name + strcspn(name, " ");
		*end = '\0';
		if (!strchr(name, '/') || (via.s && strstr(via.s, name)))
			continue;
		strbuf_addf(&via, "%s%s", via.len ? ", " : "", name);
		rdma = rdma && (!strncmp(name, "rc", 2) || !strncmp(name, "dc", 2) || !strncmp(name, "ud", 2));
	}
	*ret_rdma = rdma && via.len;
	return via.len ? arena_strdup(a, via.s) : "unknown";
}

static int ucx_path(struct kv_endpoint *ep, struct arena *a, struct kv_path *ret, struct err *e)
{
	struct ucx *u = (struct ucx *)ep;
	_cleanup_free_ char *text = NULL;
	struct kv_path path = { .n_rails = 1, .rails = arena_alloc(a, sizeof(*path.rails)) };
	size_t len;
	FILE *f;

	if (u->peer) {
		f = open_memstream(&text, &len);
		if (!f)
			abort();
		u->lib.ep_print_info(u->peer, f);
		fclose(f);
	}
	path.via = text ? lanes_of(a, text, &path.rdma) : "UCX";
	path.rails[0] = (struct kv_rail){ .device = path.via, .gid_index = -1, .bytes = u->bytes };
	*ret = path;
	return 0;
}

const struct kv_transport kv_ucx = {
	.name = "ucx",
	.doc = "UCX get and put (libucp), as NIXL uses it; UCX_* variables apply",
	.open = ucx_open,
	.describe = ucx_describe,
	.connect = ucx_connect,
	.read = ucx_read,
	.write = ucx_write,
	.path = ucx_path,
	.close = ucx_close,
};
