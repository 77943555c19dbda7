/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "attach/sysctl.h"
#include "base/file.h"
#include "base/strbuf.h"

#define KEY_MAX 200
#define VALUE_MAX 1024

/* @s is one part of the key; the other separator in it is a dot of a name, such as that of a VLAN interface. */
static int add_part(struct strbuf *b, const char *s, size_t n, const char *ifname)
{
	if (strspn(s, "./") >= n) /* nothing, or what would be a way out */
		return -EINVAL;
	if (b->len)
		strbuf_addch(b, '/');
	if (n == 6 && !memcmp(s, "IFNAME", n)) {
		strbuf_addstr(b, ifname);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)s[i] <= ' ' || s[i] == '\x7f')
			return -EINVAL;
		strbuf_addch(b, s[i] == '/' ? '.' : s[i]);
	}
	return 0;
}

int sysctl_path(struct arena *a, const char *key, const char *ifname, const char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	size_t first = strcspn(key, "./");
	char separators[2] = { key[first], '\0' };
	int r = strlen(key) > KEY_MAX || !key[first] ? -EINVAL : 0;

	for (const char *s = key; r == 0;) {
		size_t n = strcspn(s, separators);

		r = add_part(&path, s, n, ifname);
		s += n;
		if (!*s)
			break;
		s++;
	}
	if (r < 0 || strncmp(path.s, "net/", 4))
		return err_set(e, -EINVAL, "sysctl: \"%.*s\" is none of the network: write it like net.ipv4.conf.IFNAME.arp_filter", KEY_MAX, key);
	*ret = arena_strdup(a, path.s);
	return 0;
}

int sysctl_apply(struct arena *a, const struct pair *sysctls, size_t n, const char *ifname, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const char *key = sysctls[i].key, *value = sysctls[i].value, *path;
		int r = sysctl_path(a, key, ifname, &path, e);

		if (r < 0)
			return r;
		if (strlen(value) > VALUE_MAX)
			return err_set(e, -EINVAL, "sysctl %s: its value has %zu bytes, more than %d", key, strlen(value), VALUE_MAX);
		r = file_write_once(AT_FDCWD, arena_printf(a, "/proc/sys/%s", path), value, strlen(value));
		if (r == -ENOENT)
			return err_set(e, r, "sysctl %s: this kernel has none of that name in a pod's network namespace", key);
		if (r < 0)
			return err_errno(e, r, "sysctl %s: setting \"%s\"", key, value);
	}
	return 0;
}
