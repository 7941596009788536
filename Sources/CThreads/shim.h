#pragma once
#include <pthread.h>
#include <sys/prctl.h>

// pthread_setname_np hides behind _GNU_SOURCE, which a module cannot define for its importers; see pthread_setname_np(3).
extern int pthread_setname_np(pthread_t, const char *);

// PR_FUTEX_HASH with PR_FUTEX_HASH_SET_SLOTS, of Linux 6.16; older kernels refuse it. prctl is variadic, which Swift does not import.
static inline int threads_shim_set_futex_slots(unsigned long slots) { return prctl(78, 1, slots, 0UL, 0UL); }
