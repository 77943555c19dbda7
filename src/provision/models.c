/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "provision/models.h"

/* PCI ids as the kernel's drivers list them (mlx5/core/main.c, ice, i40e, ixgbe, igb, bnxt). */
static const struct model models[] = {
	{ "15b3", "1013", "ConnectX-4", false },
	{ "15b3", "1014", "ConnectX-4 VF", true },
	{ "15b3", "1015", "ConnectX-4 Lx", false },
	{ "15b3", "1016", "ConnectX-4 Lx VF", true },
	{ "15b3", "1017", "ConnectX-5", false },
	{ "15b3", "1018", "ConnectX-5 VF", true },
	{ "15b3", "1019", "ConnectX-5 Ex", false },
	{ "15b3", "101a", "ConnectX-5 Ex VF", true },
	{ "15b3", "101b", "ConnectX-6", false },
	{ "15b3", "101c", "ConnectX-6 VF", true },
	{ "15b3", "101d", "ConnectX-6 Dx", false },
	{ "15b3", "101e", "ConnectX VF", true },
	{ "15b3", "101f", "ConnectX-6 Lx", false },
	{ "15b3", "1021", "ConnectX-7", false },
	{ "15b3", "1023", "ConnectX-8", false },
	{ "15b3", "1025", "ConnectX-9", false },
	{ "15b3", "a2d6", "BlueField-2", false },
	{ "15b3", "a2dc", "BlueField-3", false },
	{ "8086", "10c9", "82576", false },
	{ "8086", "10ca", "82576 VF", true },
	{ "8086", "10fb", "82599", false },
	{ "8086", "10ed", "82599 VF", true },
	{ "8086", "1563", "X550", false },
	{ "8086", "1565", "X550 VF", true },
	{ "8086", "1572", "X710", false },
	{ "8086", "1583", "XL710", false },
	{ "8086", "158b", "XXV710", false },
	{ "8086", "37d2", "X722", false },
	{ "8086", "154c", "700 Series VF", true },
	{ "8086", "37cd", "X722 VF", true },
	{ "8086", "1592", "E810-C", false },
	{ "8086", "1593", "E810-C SFP", false },
	{ "8086", "159b", "E810-XXV", false },
	{ "8086", "1889", "Adaptive VF", true },
	{ "14e4", "1750", "BCM57508", false },
	{ "14e4", "1760", "BCM57608", false },
	{ "14e4", "1806", "BCM575xx VF", true },
	{ "14e4", "1807", "BCM575xx VF", true },
	{ "14e4", "1819", "BCM576xx VF", true },
};

const struct model *model_find(const char *vendor, const char *device)
{
	for (size_t i = 0; i < ARRAY_SIZE(models); i++)
		if (strcmp(models[i].vendor, vendor) == 0 && strcmp(models[i].device, device) == 0)
			return &models[i];
	return NULL;
}
