/* SPDX-License-Identifier: Apache-2.0 */
/* What a kubelet sends and keeps: messages of both services, and the checkpoint. What is read can be paired. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "device/message.h"
#include "device/pairing.h"
#include "device/podres.h"
#include "deviceplugin.pb-c.h"
#include "podresources.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void messages(struct arena *a, const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const kinds[] = {
		&dp__allocate_request__descriptor, &dp__preferred_request__descriptor, &podres__list_response__descriptor,
		&podres__get_response__descriptor,
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		void *m = message_unpack(a, kinds[i], data, size);
		size_t len;

		if (m)
			message_pack(a, m, &len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct pairing_network nets[] = { { "a/b", "openshift.io/p2rdma", NULL }, { "a/c", "openshift.io/p2rdma", NULL } };
	struct pairing_device *devices = NULL;
	struct podres_device *given;
	size_t n, n_devices = 0;
	int chosen[2];
	struct err e;

	messages(a, data, size);
	if (podres_checkpoint_text("checkpoint", (const char *)data, size, "u1", a, &given, &n, &e) < 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		*(struct pairing_device *)arena_push(a, &devices, &n_devices, sizeof(*devices)) = (struct pairing_device){
			.container = given[i].container, .resource = given[i].resource, .id = given[i].id, .pf_pci = i % 3 ? given[i].id : NULL };
	if (pairing_make("a/pod", devices, n_devices, nets, 2, chosen, &e) == 0 && chosen[0] == chosen[1])
		abort();
	return 0;
}
