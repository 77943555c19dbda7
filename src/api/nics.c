/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI ids of the ports that the SR-IOV operator has in its ConfigMap supported-nic-ids (1.6.0): its webhook refuses a policy for
 * another one, unless it runs in DEV_MODE. kvrail sets up any port that has VFs, so that here it is a warning: most often the id is a mistake.
 */
#include <string.h>

#include "api/fields.h"
#include "api/policy.h"

static const struct {
	const char *vendor;
	const char *const *devices;
} nics[] = {
	{ "8086", (const char *const[]){ "0d58", "10c9", "1249", "124a", "124c", "124d", "12d2", "12d3", "1563", "1572", "1581", "1583",
		"1589", "158a", "158b", "1591", "1592", "1593", "1599", "159b", "15ff", "188a", "579c", "579d",
		"579e", NULL } }, /* Intel */
	{ "15b3", (const char *const[]){ "1013", "1015", "1017", "1019", "101b", "101d", "101f", "1021", "1023", "1025", "a2d6", "a2dc",
		NULL } }, /* NVIDIA (Mellanox) */
	{ "14e4", (const char *const[]){ "16d7", "1750", NULL } }, /* Broadcom */
	{ "1077", (const char *const[]){ "1654", NULL } }, /* QLogic */
	{ "1af4", (const char *const[]){ "1000", "1041", NULL } }, /* virtio */
	{ "177d", (const char *const[]){ "b100", "b200", "b600", "b900", "ba00", NULL } }, /* Marvell */
	{ "1d0f", (const char *const[]){ "ec20", NULL } }, /* Amazon */
};

static bool is_device(const char *const *devices, const char *id)
{
	for (; *devices; devices++)
		if (!strcmp(*devices, id))
			return true;
	return false;
}

void api_nic_check(const char *vendor, const char *device, struct complaints *c)
{
	bool vendor_known = false, device_known = false;

	vendor = vendor && *vendor ? vendor : NULL;
	device = device && *device ? device : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(nics); i++) {
		if (vendor && strcmp(vendor, nics[i].vendor))
			continue;
		vendor_known = true;
		device_known |= device && is_device(nics[i].devices, device);
	}
	if (vendor && !vendor_known)
		complain(c, true, "spec.nicSelector.vendor", "vendor %.20s is not supported by the SR-IOV operator: is it right?", vendor);
	else if (vendor && device && !device_known)
		complain(c, true, "spec.nicSelector.deviceID", "vendor/device %s/%.20s is not supported by the SR-IOV operator: is it right?", vendor,
			 device);
	else if (device && !device_known)
		complain(c, true, "spec.nicSelector.deviceID", "device %.20s is not supported by the SR-IOV operator: is it right?", device);
}
