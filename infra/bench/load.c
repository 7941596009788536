// Makes chat completions over HTTP/1.1 on loopback, one thread with epoll, and prints what it saw as one JSON line.
//
//     load requests PORT KEY CONNECTIONS SECONDS        kept connections, each with one request after the other
//     load streams PORT KEY STREAMS TOTAL CHUNKS INTERVAL_US    so many streams at a time, each on a connection of its own
//
// When its time is over it begins nothing more but waits for every answer under way (wrk would cut them off): whoever counts at the other
// end finds exactly as many requests as it reports. An error is any answer that is not 200 and whole; a stream must have every chunk and [DONE].

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST_ANSWER = 32 << 10, LARGEST_SAMPLE = 4 << 20, PATIENCE_US = 60000000 };

typedef struct {
    int descriptor;
    int64_t start;
    size_t length;
    char bytes[LARGEST_ANSWER];
    int chunks, is_done;  // of a stream
} connection;

typedef struct { int64_t *values; size_t count; } sample;

static struct sockaddr_in server;
static char request[4096];
static size_t request_length;
static int events, streams, chunks_wanted;
static long begun, ended, errors, chunks, most;
static int64_t stop_at;
static sample times, firsts, delays;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void add(sample *to, int64_t value) {
    if (to->count < LARGEST_SAMPLE) to->values[to->count++] = value;
}

static int ascending(const void *left, const void *right) {
    int64_t difference = *(const int64_t *)left - *(const int64_t *)right;
    return (difference > 0) - (difference < 0);
}

static double quantile(const sample *of, double part) { return of->count ? of->values[(size_t)((of->count - 1) * part)] / 1000.0 : -1; }

static void print_sample(const char *name, sample *values) {
    qsort(values->values, values->count, sizeof *values->values, ascending);
    printf(",\"%s_p50_ms\":%.3f,\"%s_p99_ms\":%.3f", name, quantile(values, 0.5), name, quantile(values, 0.99));
}

static int may_begin(void) { return begun < most && now() < stop_at; }

static void begin(connection *on) {
    begun++;
    on->start = now();
    on->length = on->chunks = on->is_done = 0;
    if (send(on->descriptor, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) errors++, ended++, on->descriptor = -1;
}

/// The time to connect counts for a stream, as it does for bare nginx.
static void open_connection(connection *on) {
    int one = 1;
    on->descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(on->descriptor, (void *)&server, sizeof server)) exit((perror("load: connect"), 1));
    setsockopt(on->descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event interest = {EPOLLIN, {.ptr = on}};
    epoll_ctl(events, EPOLL_CTL_ADD, on->descriptor, &interest);
    begin(on);
}

static void finish(connection *on, int is_good) {
    ended++;
    if (is_good) add(&times, now() - on->start);
    else errors++;
    int keeps = is_good && !streams;
    if (!keeps) close(on->descriptor);
    if (!may_begin()) return;
    if (keeps) begin(on);
    else open_connection(on);
}

static int is_ok(const connection *on) { return !strncmp(on->bytes, "HTTP/1.1 200", 12); }

static void read_answer(connection *on) {
    on->bytes[on->length] = 0;
    char *end = strstr(on->bytes, "\r\n\r\n"), *length = strcasestr(on->bytes, "\r\ncontent-length:");
    if (!end) return;
    if (!length || length > end) return finish(on, 0);
    size_t whole = end + 4 - on->bytes + strtoul(length + 17, NULL, 10);
    if (on->length >= whole) finish(on, on->length == whole && is_ok(on) && strstr(end, "\"finish_reason\":\"stop\""));
}

/// Takes whole lines; what is left of the last one is kept.
static void read_stream(connection *on) {
    int64_t time = now();
    char *line = on->bytes, *stop = on->bytes + on->length, *end;
    if (!on->chunks && on->length > 12 && !is_ok(on) && !strncmp(line, "HTTP", 4)) return finish(on, 0);
    while ((end = memchr(line, '\n', stop - line))) {
        *end = 0;
        char *made = !strncmp(line, "data: {", 7) ? strstr(line, "\"content\":\"t") : NULL;
        if (made) {
            if (on->chunks++ == 0) add(&firsts, time - on->start);
            add(&delays, time - atoll(made + 12));
            chunks++;
        } else if (!strcmp(line, "data: [DONE]")) {
            on->is_done = 1;
        } else if (on->is_done && !strcmp(line, "0\r")) {
            return finish(on, on->chunks == chunks_wanted);
        }
        line = end + 1;
    }
    on->length = stop - line;
    memmove(on->bytes, line, on->length);
}

static void receive(connection *on) {
    ssize_t got = recv(on->descriptor, on->bytes + on->length, sizeof on->bytes - 1 - on->length, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return finish(on, 0);
    on->length += got;
    if (streams) read_stream(on);
    else read_answer(on);
}

static void write_request(const char *port, const char *key, const char *members) {
    char body[1024];
    int length = snprintf(
        body, sizeof body,
        "{\"model\":\"bench\",\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"},"
        "{\"role\":\"user\",\"content\":\"Hello, how are you today?\"}],\"temperature\":0.7,%s}", members);
    request_length = snprintf(
        request, sizeof request,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
        "Accept: */*\r\nContent-Length: %d\r\n\r\n%s", port, key, length, body);
}

int main(int count, char **arguments) {
    streams = count == 8 && !strcmp(arguments[1], "streams");
    if (!streams && (count != 6 || strcmp(arguments[1], "requests"))) return fprintf(stderr, "see load.c\n"), 2;
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(arguments[2])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int connections = atoi(arguments[4]);
    int64_t start = now();
    char members[128] = "\"max_tokens\":64";
    if (streams) {
        most = atol(arguments[5]);
        chunks_wanted = atoi(arguments[6]);
        snprintf(members, sizeof members, "\"stream\":true,\"max_tokens\":%d,\"interval_us\":%s", chunks_wanted, arguments[7]);
        stop_at = INT64_MAX;
    } else {
        most = INT64_MAX;
        stop_at = start + (int64_t)(atof(arguments[5]) * 1e6);
    }
    write_request(arguments[2], arguments[3], members);
    times.values = malloc(LARGEST_SAMPLE * sizeof(int64_t));
    firsts.values = malloc(LARGEST_SAMPLE * sizeof(int64_t));
    delays.values = malloc(LARGEST_SAMPLE * sizeof(int64_t));
    events = epoll_create1(0);
    connection *all = calloc(connections, sizeof *all);
    for (int index = 0; index < connections && may_begin(); index++) open_connection(&all[index]);
    // A run may last as long as it was asked to and a minute more; what is still open then is an error.
    int64_t give_up = (streams ? start + (int64_t)(most / connections + 1) * chunks_wanted * atoi(arguments[7]) : stop_at) + PATIENCE_US;
    struct epoll_event ready[256];
    while (ended < begun && now() < give_up) {
        int found = epoll_wait(events, ready, 256, 200);
        for (int index = 0; index < found; index++) receive(ready[index].data.ptr);
    }
    double seconds = (now() - start) / 1e6;
    printf("{\"requests\":%ld,\"errors\":%ld,\"chunks\":%ld,\"seconds\":%.3f", begun, errors + begun - ended, chunks, seconds);
    print_sample("time", &times);
    if (streams) {
        print_sample("first", &firsts);
        print_sample("delay", &delays);
    }
    printf("}\n");
    return 0;
}
