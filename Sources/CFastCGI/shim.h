#pragma once
#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

// accept4 hides behind _GNU_SOURCE, which a module cannot define for its importers.
static inline int fastcgi_shim_accept(int listener) {
    int connection = accept(listener, 0, 0);
    if (connection >= 0) fcntl(connection, F_SETFD, FD_CLOEXEC);
    return connection;
}

static inline int fastcgi_shim_eventfd(void) { return eventfd(0, EFD_CLOEXEC); }

// Sends one record of a request's output (FCGI_STDOUT, at most 65,535 bytes); 0 = it went out, -1 = errno says why not.
static inline int fastcgi_shim_send_output(int connection, int request, const void *content, size_t length) {
    unsigned char header[8] = {1, 6, request >> 8, request, length >> 8, length, 0, 0};
    struct iovec pieces[2] = {{header, sizeof header}, {(void *)content, length}};
    while (pieces[0].iov_len + pieces[1].iov_len > 0) {
        ssize_t sent = writev(connection, pieces, 2);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return -1;
        for (int i = 0; i < 2; i++) {
            size_t done = (size_t)sent < pieces[i].iov_len ? (size_t)sent : pieces[i].iov_len;
            pieces[i].iov_base = (char *)pieces[i].iov_base + done;
            pieces[i].iov_len -= done;
            sent -= done;
        }
    }
    return 0;
}
