/* SPDX-License-Identifier: MIT */
/* crc32c.h -- the Castagnoli checksum (RFC 3720 B.4), by SSE 4.2 where the CPU has it. */
#ifndef POSTERN_BASE_CRC32C_H
#define POSTERN_BASE_CRC32C_H

#include "base/span.h"

/* Goes on from `crc`, 0 at the beginning: crc32c(crc32c(0, a), b) is that of a and b together. */
uint32_t crc32c(uint32_t crc, struct span bytes);

/* The two ways crc32c() chooses from, for tests. The first may be called only where the CPU has it. */
bool crc32c_hardware_present(void);
uint32_t crc32c_hardware(uint32_t crc, struct span bytes);
uint32_t crc32c_table(uint32_t crc, struct span bytes);

#endif
