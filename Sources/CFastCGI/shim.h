#pragma once
#include <fcgiapp.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

// accept4 hides behind _GNU_SOURCE, which a module cannot define for its importers.
static inline int fastcgi_shim_accept(int listener) {
    int connection = accept(listener, 0, 0);
    if (connection >= 0) fcntl(connection, F_SETFD, FD_CLOEXEC);
    return connection;
}

static inline int fastcgi_shim_eventfd(void) { return eventfd(0, EFD_CLOEXEC); }
