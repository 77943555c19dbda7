/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "codec/doc.h"
#include "device/message.h"
#include "device/podres.h"
#include "podresources.pb-c.h"
#include "rpc/grpc.h"

#define TIMEOUT_MS 10000
#define CHECKPOINT_MAX (16u << 20)

static void take_pod(struct arena *a, const Podres__PodResources *p, struct podres_device **ret, size_t *ret_n)
{
	*ret = NULL;
	*ret_n = 0;
	for (size_t c = 0; c < p->n_containers; c++)
		for (size_t d = 0; d < p->containers[c]->n_devices; d++) {
			const Podres__ContainerDevices *of = p->containers[c]->devices[d];

			for (size_t i = 0; i < of->n_device_ids; i++) {
				struct podres_device *out = arena_push(a, ret, ret_n, sizeof(*out));

				*out = (struct podres_device){ p->containers[c]->name, of->resource_name, of->device_ids[i] };
			}
		}
}

static int list(const char *socket, unsigned timeout_ms, struct arena *a, Podres__ListResponse **ret, struct err *e)
{
	size_t len;
	void *got;
	int r;

	r = grpc_unary(socket, "/v1.PodResourcesLister/List", "", 0, timeout_ms ? timeout_ms : TIMEOUT_MS, GRPC_MESSAGE_MAX, a, &got,
		       &len, NULL, e);
	if (r < 0)
		return r;
	*ret = message_unpack(a, &podres__list_response__descriptor, got, len);
	return *ret ? 0 : err_set(e, -EPROTO, "%s: the list of pod resources cannot be read", socket);
}

int podres_list(const char *socket, unsigned timeout_ms, struct arena *a, struct podres_pod **ret, size_t *ret_n, struct err *e)
{
	Podres__ListResponse *all;
	int r;

	r = list(socket, timeout_ms, a, &all, e);
	if (r < 0)
		return r;
	*ret = NULL;
	*ret_n = 0;
	for (size_t i = 0; i < all->n_pod_resources; i++) {
		struct podres_pod pod = { all->pod_resources[i]->namespace_, all->pod_resources[i]->name };

		take_pod(a, all->pod_resources[i], &pod.devices, &pod.n);
		if (pod.n)
			*(struct podres_pod *)arena_push(a, ret, ret_n, sizeof(pod)) = pod;
	}
	return 0;
}

/* By List, as kubelets without Get want it. */
static int find(const char *socket, const char *ns, const char *name, unsigned timeout_ms, struct arena *a, struct podres_device **ret,
		size_t *ret_n, struct err *e)
{
	Podres__ListResponse *all;
	int r;

	r = list(socket, timeout_ms, a, &all, e);
	for (size_t i = 0; r == 0 && i < all->n_pod_resources; i++)
		if (!strcmp(all->pod_resources[i]->name, name) && !strcmp(all->pod_resources[i]->namespace_, ns)) {
			take_pod(a, all->pod_resources[i], ret, ret_n);
			return 0;
		}
	return r < 0 ? r : err_set(e, -ENOENT, "the kubelet knows no pod %s/%s (asked at %s)", ns, name, socket);
}

int podres_get(const char *socket, const char *ns, const char *name, unsigned timeout_ms, struct arena *a,
	       struct podres_device **ret, size_t *ret_n, struct err *e)
{
	Podres__GetRequest ask = PODRES__GET_REQUEST__INIT;
	Podres__GetResponse *pod;
	size_t len;
	void *got;
	int r;

	ask.pod_name = arena_strdup(a, name);
	ask.pod_namespace = arena_strdup(a, ns);
	got = message_pack(a, &ask, &len);
	r = grpc_unary(socket, "/v1.PodResourcesLister/Get", got, len, timeout_ms ? timeout_ms : TIMEOUT_MS, GRPC_MESSAGE_MAX, a, &got,
		       &len, NULL, e);
	if (r == -EREMOTEIO) /* "Get method disabled", "not found": the kubelet gives all of them one code */
		return find(socket, ns, name, timeout_ms, a, ret, ret_n, e);
	if (r < 0)
		return r;
	pod = message_unpack(a, &podres__get_response__descriptor, got, len);
	if (!pod || !pod->pod_resources)
		return err_set(e, -EPROTO, "%s: the pod resources of %s/%s cannot be read", socket, ns, name);
	take_pod(a, pod->pod_resources, ret, ret_n);
	return 0;
}

static void take_id(struct arena *a, yyjson_val *id, const char *container, const char *resource, struct podres_device **all, size_t *n)
{
	if (yyjson_is_str(id))
		*(struct podres_device *)arena_push(a, all, n, sizeof(**all)) =
			(struct podres_device){ container, resource, yyjson_get_str(id) };
}

/* {"PodUID", "ContainerName", "ResourceName", "DeviceIDs": {"NUMA node": [ids]}}; before 1.20 DeviceIDs was the list itself. */
static void take_entry(struct arena *a, yyjson_val *entry, struct podres_device **all, size_t *n)
{
	const char *container = doc_str(entry, "ContainerName"), *resource = doc_str(entry, "ResourceName");
	yyjson_val *ids = yyjson_obj_get(entry, "DeviceIDs"), *key, *id;
	yyjson_obj_iter of_node;
	yyjson_arr_iter i;

	if (!container || !resource)
		return;
	yyjson_arr_iter_init(ids, &i);
	while ((id = yyjson_arr_iter_next(&i)))
		take_id(a, id, container, resource, all, n);
	yyjson_obj_iter_init(ids, &of_node);
	while ((key = yyjson_obj_iter_next(&of_node))) {
		yyjson_arr_iter_init(yyjson_obj_iter_get_val(key), &i);
		while ((id = yyjson_arr_iter_next(&i)))
			take_id(a, id, container, resource, all, n);
	}
}

static int by_container(const void *x, const void *y)
{
	const struct podres_device *a = x, *b = y;
	int r = strcmp(a->container, b->container);

	if (r == 0)
		r = strcmp(a->resource, b->resource);
	return r ? r : strcmp(a->id, b->id);
}

int podres_checkpoint(const char *path, const char *uid, struct arena *a, struct podres_device **ret, size_t *ret_n,
		      struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = file_read(AT_FDCWD, path, CHECKPOINT_MAX, &text, &len);
	if (r < 0)
		return err_errno(e, r, "%s", path);
	return podres_checkpoint_text(path, text, len, uid, a, ret, ret_n, e);
}

int podres_checkpoint_text(const char *path, const char *text, size_t len, const char *uid, struct arena *a, struct podres_device **ret,
			   size_t *ret_n, struct err *e)
{
	struct podres_device *all = NULL;
	yyjson_val *root, *entries, *entry;
	yyjson_arr_iter i;
	size_t n = 0;
	int r;

	r = doc_parse_json(a, path, text, len, CHECKPOINT_MAX, &root, e);
	if (r < 0)
		return r;
	entries = yyjson_obj_get(yyjson_obj_get(root, "Data"), "PodDeviceEntries");
	if (!yyjson_is_arr(entries) && !yyjson_is_null(entries))
		return err_set(e, -EINVAL, "%s: there is no Data.PodDeviceEntries: this is not the checkpoint of a kubelet's device manager", path);
	yyjson_arr_iter_init(entries, &i);
	while ((entry = yyjson_arr_iter_next(&i))) {
		const char *of = doc_str(entry, "PodUID");

		if (of && !strcmp(of, uid))
			take_entry(a, entry, &all, &n);
	}
	if (n)
		qsort(all, n, sizeof(*all), by_container);
	*ret = all;
	*ret_n = n;
	return 0;
}
