/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "linux/pci.h"

#define DEV "bus/pci/devices/%s"

/* @n to @max hex digits at *p and the @end after them. */
static int hex_field(const char **p, size_t min, size_t max, char end, uint32_t *ret)
{
	uint32_t v = 0;
	size_t n = 0;

	while (n < max && isxdigit((unsigned char)**p)) {
		char c = (char)tolower((unsigned char)*(*p)++);

		v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
		n++;
	}
	if (n < min || **p != end)
		return -EINVAL;
	if (end)
		(*p)++;
	*ret = v;
	return 0;
}

int pci_parse(const char *text, struct pci_addr *ret)
{
	uint32_t domain, bus, device, function;

	if (hex_field(&text, 4, 8, ':', &domain) < 0 || hex_field(&text, 2, 2, ':', &bus) < 0 ||
	    hex_field(&text, 2, 2, '.', &device) < 0 || hex_field(&text, 1, 1, '\0', &function) < 0)
		return -EINVAL;
	if (device > 0x1f || function > 7)
		return -EINVAL;
	*ret = (struct pci_addr){ domain, (uint8_t)bus, (uint8_t)device, (uint8_t)function };
	return 0;
}

int pci_driver(const struct sysroot *r, struct arena *a, const char *addr, const char **ret)
{
	struct pci_addr p;
	int x;

	if (pci_parse(addr, &p) < 0)
		return -EINVAL;
	x = sysfs_link(r, a, ret, DEV "/driver", addr);
	if (x != -ENOENT)
		return x;
	if (!sysfs_exists(r, DEV, addr))
		return -ENODEV;
	*ret = NULL;
	return 0;
}

bool pci_is_user_space_driver(const char *driver)
{
	static const char *const drivers[] = { "vfio-pci", "uio_pci_generic", "igb_uio" };

	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (driver && !strcmp(driver, drivers[i]))
			return true;
	return false;
}

static int driver_of(const struct sysroot *r, struct arena *a, const char *addr, const char **ret, struct err *e)
{
	int x = pci_driver(r, a, addr, ret);

	if (x == -EINVAL)
		return err_set(e, x, "\"%s\" is no PCI address (such as 0000:18:00.2)", addr);
	return x < 0 ? err_errno(e, x, "%s", addr) : 0;
}

int pci_unbind(const struct sysroot *r, const char *addr, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *driver;
	int x = driver_of(r, a, addr, &driver, e);

	if (x < 0 || !driver)
		return x;
	x = sysfs_write(r, addr, e, "bus/pci/drivers/%s/unbind", driver);
	if (x == -ENODEV && pci_driver(r, a, addr, &driver) == 0 && !driver)
		return 0; /* somebody else was faster */
	return x;
}

/* The driver that driver_override names, or NULL; the kernel prints "(null)" for none. */
static const char *override_of(const struct sysroot *r, struct arena *a, const char *addr)
{
	const char *text;

	if (sysfs_read(r, a, &text, DEV "/driver_override", addr) < 0 || !*text || strcmp(text, "(null)") == 0)
		return NULL;
	return text;
}

static int bind_matching(const struct sysroot *r, struct arena *a, const char *addr, const char *now, struct err *e)
{
	uint64_t autoprobe;
	int x;

	if (override_of(r, a, addr)) {
		x = sysfs_write(r, "\n", e, DEV "/driver_override", addr);
		if (x == 0)
			x = pci_unbind(r, addr, e);
		if (x < 0)
			return x;
	} else if (now) {
		return 0;
	}
	x = sysfs_write(r, addr, e, "bus/pci/drivers_probe");
	if (x < 0)
		return x;
	x = driver_of(r, a, addr, &now, e);
	if (x < 0 || now)
		return x;
	/* drivers/pci/pci-driver.c, pci_device_can_probe() */
	if (sysfs_read_u64(r, 10, &autoprobe, DEV "/physfn/sriov_drivers_autoprobe", addr) == 0 && !autoprobe)
		return err_set(e, -ENODEV, "%s: no driver was bound because sriov_drivers_autoprobe of its PF is 0", addr);
	return err_set(e, -ENODEV, "%s: no driver was bound: load the module that drives it, or see dmesg why its probe failed",
		       addr);
}

static int bind_to(const struct sysroot *r, struct arena *a, const char *addr, const char *driver, const char *now,
		   struct err *e)
{
	int x;

	if (now && strcmp(now, driver) == 0)
		return 0;
	if (!*driver || strchr(driver, '/') || driver[0] == '.')
		return err_set(e, -EINVAL, "\"%s\" is no name of a driver", driver);
	if (!sysfs_exists(r, "bus/pci/drivers/%s", driver))
		return err_set(e, -ENOENT, "%s: the driver %s is not loaded: run modprobe %s", addr, driver, driver);
	x = sysfs_write(r, driver, e, DEV "/driver_override", addr);
	if (x < 0)
		return x;
	x = pci_unbind(r, addr, e);
	if (x == 0) {
		x = sysfs_write(r, addr, e, "bus/pci/drivers/%s/bind", driver);
		/* udev may have been faster: what counts is who drives it now */
		if (pci_driver(r, a, addr, &now) == 0 && now && strcmp(now, driver) == 0)
			return 0;
		if (x == 0)
			x = err_set(e, -EIO, "%s: %s took the device and let it go again: see dmesg", addr, driver);
	}
	sysfs_write(r, "\n", NULL, DEV "/driver_override", addr);
	return x;
}

int pci_bind(const struct sysroot *r, const char *addr, const char *driver, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *now;
	int x = driver_of(r, a, addr, &now, e);

	if (x < 0)
		return x;
	return driver ? bind_to(r, a, addr, driver, now, e) : bind_matching(r, a, addr, now, e);
}
