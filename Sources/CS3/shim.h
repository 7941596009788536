#pragma once
// Swift's own Glibc module leaves select's sets out.
#include <sys/select.h>
#include <libs3.h>

static inline void s3_shim_clear(fd_set *set) { FD_ZERO(set); }
