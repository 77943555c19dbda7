/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVRAIL_BASE_MEMORY_H
#define KVRAIL_BASE_MEMORY_H

#include <stddef.h>

/* For a role with many threads, at its start: they share two heaps instead of having one each. */
void memory_few_heaps(void);

/*
 * Give back what only the start needed: free heap, and pages of programs and libraries that hold nothing of our own (never written, never
 * relocated). A library that is linked brings all that its initialization touched, some megabytes in all; what is used again is mapped again, from the
 * page cache. To be called when things have calmed down. Returns how many bytes of mappings were let go, resident or not.
 */
size_t memory_give_back(void);

#endif
