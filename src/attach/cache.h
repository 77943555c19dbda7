/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others keep about an attachment, in their own forms: libcni's result cache (read and written) and Multus' scratch file (read, so that
 * pods which Multus started can be torn down).
 */
#ifndef KVRAIL_ATTACH_CACHE_H
#define KVRAIL_ATTACH_CACHE_H

#include "attach/netconf.h"

#define CACHE_SIZE_MAX (4u << 20)

/* CNIDIR/results/NETWORK-CONTAINER-IFNAME, "cniCacheV1". */
struct cache_entry {
	const char *network, *container, *ifname, *netns;
	const char *config; /* the configuration's or list's text */
	const char *args;   /* "K=V;K=V" */
	yyjson_val *runtime; /* capability arguments, object or NULL */
	yyjson_val *result;
};

/* Text of the file, as libcni writes it. */
char *cache_text(struct arena *a, const struct cache_entry *entry);
/* The result in a file's text; NULL when the text is none (which libcni tolerates too). */
yyjson_val *cache_parse(struct arena *a, const char *text, size_t len);

int cache_write(const char *cni_dir, const struct cache_entry *entry, struct err *e);
/* NULL: there is none. */
yyjson_val *cache_read(struct arena *a, const char *cni_dir, const char *network, const char *container, const char *ifname);
int cache_remove(const char *cni_dir, const char *network, const char *container, const char *ifname, struct err *e);

/* One delegate of Multus' scratch file CNIDIR/CONTAINER. */
struct scratch_delegate {
	const char *ifname; /* requested; NULL: by its number */
	const char *mac, *guid, *device_id;
	const char **ips;
	size_t n_ips;
	const char *conf; /* text of the configuration or list */
	size_t conf_len;
};

/* -EBADMSG: no scratch file. An empty one (Multus would crash on it) has no delegates. */
int scratch_parse(struct arena *a, const char *text, size_t len, struct scratch_delegate **ret, size_t *ret_n, struct err *e);
bool scratch_is_there(struct arena *a, const char *cni_dir, const char *container);
/* -ENOENT: there is none. */
int scratch_read(struct arena *a, const char *cni_dir, const char *container, struct scratch_delegate **ret, size_t *ret_n, struct err *e);
int scratch_remove(const char *cni_dir, const char *container, struct err *e);

#endif
