// The least that the way of a request over the mesh can cost: our shape, without any of its decisions.
//
//     mesh-floor FOLDER CONNECTIONS PAUSE SECONDS
//
// Three processes. The gateway has a thread for each of so many connections; each sends a request over a UNIX socket, waits for its answer, pauses for so many
// microseconds, as ours is busy with other things, and sends the next.
// The router waits with epoll(7) for all of them and for libzmq's socket for agents (CURVE, TCP), and passes on what comes. The agent answers each request
// at once with two messages, as ours do. Messages are as long as ours of a short chat; nothing of them is written, read, chosen or counted.
// Prints one line of JSON: requests, seconds, and processor seconds of each process.

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { ROUTE = 600, DISPATCH = 500, CHUNK = 450, DONE = 150, ANSWER = CHUNK + DONE, MOST = 4096 };

static char path[100], endpoint[120], public_key[41], secret_key[41];
static int connections, pause_us;
static volatile int is_over;
static long answered[MOST];

static void check(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "mesh-floor: %s failed: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double used(const struct rusage *usage) {
    return usage->ru_utime.tv_sec + usage->ru_stime.tv_sec + (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static struct sockaddr_un address(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    return address;
}

static void read_all(int socket, char *bytes, int count) {
    for (int got = 0; got < count;) {
        int more = read(socket, bytes + got, count - got);
        check(more > 0, "read");
        got += more;
    }
}

// MARK: the router

static void send_parts(void *agents, const char *name, size_t name_length, int number) {
    static char body[DISPATCH];
    check(zmq_send(agents, name, name_length, ZMQ_SNDMORE) >= 0, "send");
    check(zmq_send(agents, "dispatch", 8, ZMQ_SNDMORE) >= 0, "send");
    check(zmq_send(agents, &number, sizeof number, ZMQ_SNDMORE) >= 0, "send");
    check(zmq_send(agents, body, sizeof body, 0) >= 0, "send");
}

static void route(void) {
    void *context = zmq_ctx_new(), *agents = zmq_socket(context, ZMQ_ROUTER);
    int is_server = 1, descriptor, events;
    size_t length = sizeof descriptor;
    zmq_setsockopt(agents, ZMQ_CURVE_SERVER, &is_server, sizeof is_server);
    zmq_setsockopt(agents, ZMQ_CURVE_SECRETKEY, secret_key, 40);
    check(zmq_bind(agents, endpoint) == 0, "bind");
    zmq_getsockopt(agents, ZMQ_FD, &descriptor, &length);
    char name[64], part[1024], answer[ANSWER];
    zmq_recv(agents, name, sizeof name, 0);
    zmq_recv(agents, part, sizeof part, 0);

    struct sockaddr_un own = address();
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), set = epoll_create1(0);
    check(bind(listener, (struct sockaddr *)&own, sizeof own) == 0 && listen(listener, MOST) == 0, "listen");
    for (int number = 0; number < 2; number++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = number ? descriptor : listener};
        epoll_ctl(set, EPOLL_CTL_ADD, event.data.fd, &event);
    }
    struct epoll_event found[256];
    while (1) {
        length = sizeof events;
        zmq_getsockopt(agents, ZMQ_EVENTS, &events, &length);
        int count = epoll_wait(set, found, 256, events & ZMQ_POLLIN ? 0 : 200);
        for (int number = 0; number < count; number++) {
            int socket = found[number].data.fd;
            if (socket == listener) {
                struct epoll_event event = {.events = EPOLLIN, .data.fd = accept(listener, NULL, NULL)};
                epoll_ctl(set, EPOLL_CTL_ADD, event.data.fd, &event);
            } else if (socket != descriptor) {
                char request[ROUTE];
                int got = recv(socket, request, sizeof request, 0);
                if (got == ROUTE) send_parts(agents, name, 5, socket);
                if (got <= 0) close(socket);
            }
        }
        while (zmq_recv(agents, name, sizeof name, ZMQ_DONTWAIT) >= 0) {
            int socket, is_last;
            is_last = zmq_recv(agents, part, sizeof part, 0) == 4;
            zmq_recv(agents, &socket, sizeof socket, 0);
            zmq_recv(agents, part, sizeof part, 0);
            // Both messages of an answer are one write.
            if (is_last) check(send(socket, answer, sizeof answer, MSG_NOSIGNAL) == ANSWER || errno == EPIPE || errno == EBADF, "answer");
        }
    }
}

// MARK: the agent

static void serve(void) {
    void *context = zmq_ctx_new(), *router = zmq_socket(context, ZMQ_DEALER);
    char own_public[41], own_secret[41], part[1024];
    static char body[CHUNK];
    zmq_curve_keypair(own_public, own_secret);
    zmq_setsockopt(router, ZMQ_CURVE_SERVERKEY, public_key, 40);
    zmq_setsockopt(router, ZMQ_CURVE_PUBLICKEY, own_public, 40);
    zmq_setsockopt(router, ZMQ_CURVE_SECRETKEY, own_secret, 40);
    zmq_setsockopt(router, ZMQ_ROUTING_ID, "agent", 5);
    check(zmq_connect(router, endpoint) == 0, "connect");
    zmq_send(router, "hello", 5, 0);
    while (1) {
        int number;
        zmq_recv(router, part, sizeof part, 0);
        zmq_recv(router, &number, sizeof number, 0);
        zmq_recv(router, part, sizeof part, 0);
        for (int is_last = 0; is_last < 2; is_last++) {
            zmq_send(router, is_last ? "done" : "chunk", is_last ? 4 : 5, ZMQ_SNDMORE);
            zmq_send(router, &number, sizeof number, ZMQ_SNDMORE);
            zmq_send(router, body, is_last ? DONE : CHUNK, 0);
        }
    }
}

// MARK: the gateway

static void *ask(void *place) {
    struct sockaddr_un other = address();
    int router = socket(AF_UNIX, SOCK_STREAM, 0);
    unsigned dice = (unsigned)(long)place;
    char request[ROUTE] = {0}, answer[ANSWER];
    check(connect(router, (struct sockaddr *)&other, sizeof other) == 0, "connect");
    while (!is_over) {
        check(send(router, request, sizeof request, MSG_NOSIGNAL) == ROUTE, "request");
        read_all(router, answer, sizeof answer);
        answered[(long)place]++;
        if (pause_us > 0) usleep(pause_us / 2 + rand_r(&dice) % pause_us);
    }
    close(router);
    return NULL;
}

/// A process that ends with this one at the latest.
static pid_t begin(void (*work)(void)) {
    pid_t process = fork();
    check(process >= 0, "fork");
    if (process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work();
    }
    return process;
}

static double ended(pid_t process) {
    struct rusage usage;
    kill(process, SIGKILL);
    wait4(process, NULL, 0, &usage);
    return used(&usage);
}

int main(int count, char **words) {
    check(count == 5, "usage: mesh-floor FOLDER CONNECTIONS PAUSE SECONDS:");
    snprintf(path, sizeof path, "%s/floor.sock", words[1]);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%d", 20000 + getpid() % 10000);
    connections = atoi(words[2]);
    pause_us = atoi(words[3]);
    check(connections > 0 && connections <= MOST, "connections");
    unlink(path);
    zmq_curve_keypair(public_key, secret_key);
    pid_t router = begin(route), agent = begin(serve);
    // The router listens when its agent is there.
    for (int tries = 0; access(path, F_OK) != 0; tries++) {
        check(tries < 100, "the router");
        usleep(100000);
    }
    usleep(100000);
    pthread_t threads[MOST];
    double start = now();
    for (long place = 0; place < connections; place++) check(pthread_create(&threads[place], NULL, ask, (void *)place) == 0, "thread");
    usleep(atof(words[4]) * 1e6);
    is_over = 1;
    long requests = 0;
    for (int place = 0; place < connections; place++) {
        pthread_join(threads[place], NULL);
        requests += answered[place];
    }
    double seconds = now() - start;
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    printf("{\"requests\": %ld, \"seconds\": %.3f, \"cpu\": {\"router\": %.3f, \"gateway\": %.3f, \"agent\": %.3f}}\n", requests, seconds,
        ended(router), used(&own), ended(agent));
    unlink(path);
}
