/* base/memory.h: what this process has of memory, in bytes; 0 when the system does not say. */
#pragma once
#include <stddef.h>

/* Resident now (/proc/self/statm). */
size_t memory_resident(void);
/* The most that was resident at any time since this program began (VmHWM of /proc/self/status). */
size_t memory_peak(void);
/* Allocated from the heap and not freed, of all threads. */
size_t memory_heap(void);
