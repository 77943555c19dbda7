/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel: drivers/infiniband/core/uverbs_main.c, user_mad.c, ucma.c. */
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "fabric/chardev.h"

struct list {
	const struct sysroot *root;
	struct arena *a;
	struct chardev *v;
	size_t n;
};

/* sysfs' "dev": "231:192". */
static void add(struct list *l, const char *folder, const char *path)
{
	struct chardev dev = { .path = path };
	const char *text;
	const char *colon;

	if (sysfs_read(l->root, l->a, &text, "%s/dev", folder) < 0 || !(colon = strchr(text, ':')))
		return;
	if (parse_u64(arena_strndup(l->a, text, (size_t)(colon - text)), 10, 0, UINT32_MAX, &dev.major) == 0 && parse_u64(colon + 1, 10, 0, UINT32_MAX, &dev.minor) == 0)
		*(struct chardev *)arena_push(l->a, &l->v, &l->n, sizeof(dev)) = dev;
}

static void add_class(struct list *l, const char *class, const char *rdma)
{
	const char **names, *of;
	size_t n;

	if (sysfs_list(l->root, l->a, &names, &n, "class/%s", class) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (sysfs_read(l->root, l->a, &of, "class/%s/%s/ibdev", class, names[i]) == 0 && !strcmp(of, rdma))
			add(l, arena_printf(l->a, "class/%s/%s", class, names[i]), arena_printf(l->a, "/dev/infiniband/%s", names[i]));
}

void chardev_list(const struct sysroot *root, struct arena *a, const char *rdma, struct chardev **ret, size_t *ret_n)
{
	struct list l = { .root = root, .a = a };

	add_class(&l, "infiniband_verbs", rdma);
	add_class(&l, "infiniband_mad", rdma);
	if (l.n)
		add(&l, "class/misc/rdma_cm", "/dev/infiniband/rdma_cm");
	*ret = l.v;
	*ret_n = l.n;
}
