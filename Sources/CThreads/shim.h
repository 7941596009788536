#pragma once
#include <pthread.h>

// pthread_setname_np hides behind _GNU_SOURCE, which a module cannot define for its importers; see pthread_setname_np(3).
extern int pthread_setname_np(pthread_t, const char *);
