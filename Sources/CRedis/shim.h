#pragma once
#include <hiredis/hiredis.h>
// Swift's own Glibc module leaves it out.
#include <sys/eventfd.h>
