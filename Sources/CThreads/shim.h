#pragma once
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// pthread_setname_np hides behind _GNU_SOURCE, which a module cannot define for its importers; see pthread_setname_np(3).
extern int pthread_setname_np(pthread_t, const char *);
// The same with syscall(2).
extern long syscall(long number, ...);

// PR_FUTEX_HASH with PR_FUTEX_HASH_SET_SLOTS, of Linux 6.16; older kernels refuse it. prctl is variadic, which Swift does not import.
static inline int threads_shim_set_futex_slots(unsigned long slots) { return prctl(78, 1, slots, 0UL, 0UL); }

// A thread sleeps on a word of its own until another one sets it. The word may lie on the sleeper's stack: a wake that comes when it is gone
// reaches nobody, or somebody who looks again, as everybody who sleeps on a futex must; see futex(2).
static inline void threads_shim_sleep(uint32_t *word) {
    while (!__atomic_load_n(word, __ATOMIC_ACQUIRE)) syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, (void *)0);
}
static inline void threads_shim_wake(uint32_t *word) {
    __atomic_store_n(word, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1);
}
