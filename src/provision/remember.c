/* SPDX-License-Identifier: Apache-2.0 */
/* STATE_DIR/ports/PCI.json: a port as it was before kvrail first changed it. */
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/file.h"
#include "codec/doc.h"
#include "provision/facts.h"
#include "provision/remember.h"

#define RECORD_MAX 4096

static char *record_path(struct arena *a, const char *state_dir, const char *pci)
{
	return arena_printf(a, "%s/ports/%s.json", state_dir, pci);
}

static bool differs(yyjson_val *record, const char *key, const char *now)
{
	const char *then = doc_str(record, key);

	return then && *then && now && *now && strcmp(then, now) != 0;
}

/* Another card in the slot, or bus numbers that have shifted. A record that does not say is believed. */
static bool is_of_another(yyjson_val *record, const struct inventory_pf *pf)
{
	return differs(record, "vendor", pf->vendor) || differs(record, "device", pf->device) || differs(record, "permMac", pf->perm_mac);
}

static int load(struct inventory *i, const char *state_dir, struct inventory_pf *pf, struct err *e)
{
	const char *path = record_path(i->arena, state_dir, pf->pci);
	_cleanup_free_ char *text = NULL;
	struct inventory_before *before;
	yyjson_val *v;
	size_t len;
	int x = file_read(AT_FDCWD, path, RECORD_MAX, &text, &len);

	if (x == -ENOENT)
		return 0;
	if (x < 0)
		return err_errno(e, x, "%s", path);
	x = doc_parse_json(i->arena, path, text, len, RECORD_MAX, &v, e);
	if (x < 0)
		return x;
	if (!yyjson_is_int(yyjson_obj_get(v, "numVfs")))
		return err_set(e, -EINVAL, "%s: numVfs is missing", path);
	if (is_of_another(v, pf))
		return err_set(e, -ESTALE, "%s is of another card, which was at %s before: it is not used", path, pf->pci);
	before = arena_alloc(i->arena, sizeof(*before));
	before->num_vfs = doc_int(v, "numVfs", 0);
	before->mtu = doc_int(v, "mtu", 0);
	before->eswitch = doc_str(v, "eSwitchMode");
	before->autoprobe = doc_bool(v, "autoprobe", true);
	if (before->num_vfs < 0 || before->num_vfs > pf->total_vfs || before->mtu < 0 || before->mtu > INT_MAX)
		return err_set(e, -EINVAL, "%s: numVfs %lld or mtu %lld is out of bounds", path,
			       (long long)before->num_vfs, (long long)before->mtu);
	pf->before = before;
	return 0;
}

int inventory_remember(struct inventory *i, const char *state_dir, struct err *e)
{
	int x = file_mkdirs(arena_printf(i->arena, "%s/ports", state_dir), 0700);

	if (x < 0)
		return err_errno(e, x, "%s/ports", state_dir);
	i->state_dir = arena_strdup(i->arena, state_dir);
	for (size_t k = 0; k < i->n_pfs; k++) {
		struct err why;

		if (load(i, state_dir, &i->pfs[k], &why) < 0)
			inventory_warn(i, why.msg);
	}
	return 0;
}

int remember_port(const char *state_dir, const char *pci, const char *text, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *path = record_path(a, state_dir, pci);
	int x = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);

	return x < 0 ? err_errno(e, x, "%s", path) : 0;
}

int forget_port(const char *state_dir, const char *pci, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *path = record_path(a, state_dir, pci);
	int x = file_unlink(AT_FDCWD, path);

	return x < 0 ? err_errno(e, x, "%s", path) : 0;
}
