/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the processor's instruction where it has one. */
#ifndef KVRAIL_KV_CRC32C_H
#define KVRAIL_KV_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue @crc (0 at the start) over @len bytes. */
uint32_t kv_crc32c(uint32_t crc, const void *data, size_t len);
/* The same, bit by bit tables only: what the instruction is tested against. */
uint32_t kv_crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
