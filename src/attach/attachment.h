/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An attachment as value: what was found, what was set, what came out. Its JSON form is the journal file and,
 * without "undo", what `kvrail status` shows (docs/architecture.md).
 */
#ifndef KVRAIL_ATTACH_ATTACHMENT_H
#define KVRAIL_ATTACH_ATTACHMENT_H

#include "codec/table.h"

#define ATTACHMENT_RAILS_MAX 64
#define ATTACHMENT_SIZE_MAX (16u << 20) /* of a journal file: every delegate keeps a configuration */

struct attachment_pod {
	struct object obj;
	const char *namespace, *name, *uid;
};

struct attachment_gid {
	struct object obj;
	int64_t index;
	const char *type, *gid, *address;
};

/* What a rail's VF was before ADD touched it; NULL pointers: not told by the driver, or no PF. */
struct attachment_found {
	struct object obj;
	const char *netdev, *mac, *rdma; /* on the host */
	int64_t mtu;
	const char *admin_mac, *vlan_proto;
	const char *node_guid, *port_guid; /* InfiniBand: 16 hexadecimal digits */
	int64_t vlan, vlan_qos;
	int64_t *min_rate, *max_rate, *link_state;
	bool *spoofchk, *trust;
};

/* What ADD sets, and undo therefore restores. */
struct attachment_set {
	struct object obj;
	bool mac, vlan, rate, spoofchk, trust, link_state, guid; /* through the PF */
	bool rdma; /* the RDMA device is moved */
	const char *rxe; /* a soft RoCE device of this name is made */
};

struct attachment_rail {
	struct object obj;
	const char *network, *ifname, *resource;
	const char *vf, *pf; /* PCI address ("" for a device that is no PCI function), name of the PF's netdev */
	const char *pf_pci;
	int64_t vf_index;
	const char *mac;
	int64_t mtu;
	const char **addresses; /* "10.0.132.1/24" */
	size_t n_addresses;
	const char *rdma; /* in the pod; NULL: none */
	bool soft;
	int64_t port;
	struct attachment_gid *gid;
	int64_t active_mtu;
	const char *link_layer; /* of the RDMA port: Ethernet, InfiniBand */
	const char *driver;
	struct attachment_found *found; /* never NULL after attachment_decode() */
	struct attachment_set *set;	/* the same */
};

/* What names the rail's device: its PCI address, else its netdev on the host. */
static inline const char *attachment_device(const struct attachment_rail *rec)
{
	return *rec->vf || !rec->found->netdev ? rec->vf : rec->found->netdev;
}

/* An interface that other makers' plugins make: what its DEL needs. */
struct attachment_delegate {
	struct object obj;
	const char *network, *ifname;
	const char *conf;    /* text of its final configuration or list of plugins */
	const char *runtime; /* text of its capability arguments, NULL: none */
	const char *args;    /* CNI_ARGS */
	bool master;	     /* the default network */
	const char **addresses; /* what it answered */
	size_t n_addresses;
};

struct attachment {
	struct object obj;
	struct arena *arena; /* owns all of it; not part of the JSON */
	struct attachment_pod *pod; /* never NULL */
	const char *container, *ifname, *netns, *state; /* ifname: the request's */
	const char *created, *conf_name;
	const char *netns_id; /* "device:inode": a path can be used again */
	int64_t netns_cookie; /* an inode, too; 0: the kernel has none */
	const char **warnings;
	size_t n_warnings;
	struct attachment_rail *rails;
	size_t n_rails;
	/* In a cluster. */
	struct attachment_delegate *delegates; /* in the order they are made; rails come after the first if that is the default network */
	size_t n_delegates;
	const char *plugin_dirs; /* where the delegates' plugins are */
	const char *cni_dir;	 /* and the cached results of theirs */
	const char *cdi_file; /* path of the CDI specification, NULL: none is made */
	const char *late_status; /* network-status that waited for the API server at the end of ADD, else NULL */
	const char *env_dir;  /* where a file ENVDIR/<device>.env is made for each of @devices, NULL: none */
	const char **devices; /* PCI addresses that the pod holds, in rails or not */
	size_t n_devices;
};

extern const struct table attachment_table;

#define ATTACHMENT_ADDING "adding"
#define ATTACHMENT_READY "ready"
#define ATTACHMENT_DELETING "deleting"

/* A new one with an arena of its own. */
struct attachment *attachment_new(void);
struct attachment *attachment_free(struct attachment *at); /* NULL is fine */

/* Note which namespace is behind @fd, and whether it is that one. */
void attachment_set_netns(struct attachment *at, int fd);
bool attachment_is_netns(const struct attachment *at, int fd);

/* The journal file's text: {"version": 1, "attachment": {...}}, in @a. */
char *attachment_encode(struct arena *a, const struct attachment *at);

/*
 * From a journal file's text. -EBADMSG: not JSON, cut short, too large, of another shape (@e says where);
 * -ENOTSUP: of a newer version. @source is for messages.
 */
int attachment_decode(const char *source, const char *text, size_t len, struct attachment **ret, struct err *e);

/* As `kvrail status` shows it. */
yyjson_mut_val *attachment_json(yyjson_mut_doc *doc, const struct attachment *at);

/* Append a warning (in @at's arena). */
void attachment_warn(struct attachment *at, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
