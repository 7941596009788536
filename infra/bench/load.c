// Makes chat completions or embeddings over HTTP/1.1 on loopback, one thread with epoll, and prints what it saw as one JSON line.
//
//     load requests PORT KEY CONNECTIONS SECONDS        kept connections, each with one request after the other
//     load float PORT KEY CONNECTIONS SECONDS           the same with embeddings of 64 texts as lists of numbers,
//     load base64 PORT KEY CONNECTIONS SECONDS          or in base64
//     load streams PORT KEY STREAMS TOTAL CHUNKS INTERVAL_US    so many streams at a time, each on a connection of its own
//     load schema PORT KEY STREAMS TOTAL CHUNKS INTERVAL_US     the same with an answer by a strict JSON Schema,
//     load tools PORT KEY STREAMS TOTAL CHUNKS INTERVAL_US      with a call of a strict tool,
//     load guided PORT KEY STREAMS TOTAL CHUNKS INTERVAL_US     with one that must be made, by a model that has to be guided to it
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

enum { LARGEST_ANSWER = 1 << 20, LARGEST_REQUEST = 16 << 10, LARGEST_SAMPLE = 4 << 20, PATIENCE_US = 60000000 };

typedef struct {
    int descriptor;
    int64_t start, last;
    size_t length, whole;
    int chunks, is_done;  // of a stream
    char bytes[LARGEST_ANSWER];
} connection;

typedef struct { int64_t *values; size_t count; } sample;

static struct sockaddr_in server;
static char request[LARGEST_REQUEST];
static size_t request_length;
static int events, streams, chunks_wanted;
static long begun, ended, errors, chunks, most;
static int64_t stop_at;
static sample times, firsts, delays, gaps;
// What a whole answer must hold, and what stands before a chunk's moment.
static const char *proof, *mark;

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
    on->length = on->whole = on->chunks = on->is_done = 0;
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
    if (!on->whole) {
        char *end = strstr(on->bytes, "\r\n\r\n"), *length = strcasestr(on->bytes, "\r\ncontent-length:");
        if (!end) return;
        if (!length || length > end) return finish(on, 0);
        on->whole = end + 4 - on->bytes + strtoul(length + 17, NULL, 10);
        if (on->whole > sizeof on->bytes - 1) return finish(on, 0);
    }
    if (on->length >= on->whole) finish(on, on->length == on->whole && is_ok(on) && strstr(on->bytes, proof));
}

/// Takes whole lines; what is left of the last one is kept.
static void read_stream(connection *on) {
    int64_t time = now();
    char *line = on->bytes, *stop = on->bytes + on->length, *end;
    if (!on->chunks && on->length > 12 && !is_ok(on) && !strncmp(line, "HTTP", 4)) return finish(on, 0);
    while ((end = memchr(line, '\n', stop - line))) {
        *end = 0;
        char *made = !strncmp(line, "data: {", 7) ? strstr(line, mark) : NULL;
        if (made) {
            if (on->chunks++ == 0) add(&firsts, time - on->start);
            else add(&gaps, time - on->last);
            on->last = time;
            add(&delays, time - atoll(made + strlen(mark)));
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

static void write_request(const char *port, const char *key, const char *path, const char *body) {
    request_length = snprintf(
        request, sizeof request,
        "POST /v1/%s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
        "Accept: */*\r\nContent-Length: %zu\r\n\r\n%s", path, port, key, strlen(body), body);
}

static void write_chat(const char *port, const char *key, const char *model, const char *members) {
    char body[2048];
    snprintf(
        body, sizeof body,
        "{\"model\":\"%s\",\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"},"
        "{\"role\":\"user\",\"content\":\"Hello, how are you today?\"}],\"temperature\":0.7,%s}", model, members);
    write_request(port, key, "chat/completions", body);
}

static void write_embeddings(const char *port, const char *key, const char *format) {
    char body[LARGEST_REQUEST / 2], *end = body;
    end += sprintf(end, "{\"model\":\"vectors\",\"encoding_format\":\"%s\",\"input\":[", format);
    for (int number = 0; number < 64; number++) end += sprintf(end, "%s\"short text number %d about the sea\"", number ? "," : "", number);
    sprintf(end, "]}");
    write_request(port, key, "embeddings", body);
}

#define SCHEMA \
    "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},\"required\":[\"text\"],\"additionalProperties\":false}"
#define TOOLS ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"say\",\"strict\":true,\"parameters\":" SCHEMA "}}]"
#define FORMAT \
    ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"said\",\"strict\":true,\"schema\":" SCHEMA "}}"

static const char *demanded(const char *kind) {
    if (!strcmp(kind, "schema")) return FORMAT;
    if (!strcmp(kind, "tools")) return TOOLS;
    if (!strcmp(kind, "guided")) return TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"say\"}}";
    return "";
}

int main(int count, char **arguments) {
    const char *kind = count > 1 ? arguments[1] : "";
    int is_vectors = !strcmp(kind, "float") || !strcmp(kind, "base64"), is_call = !strcmp(kind, "tools") || !strcmp(kind, "guided");
    streams = !strcmp(kind, "streams") || !strcmp(kind, "schema") || is_call;
    if (count != (streams ? 8 : 6) || (!streams && !is_vectors && strcmp(kind, "requests"))) return fprintf(stderr, "see load.c\n"), 2;
    mark = is_call ? "\"arguments\":\"t" : "\"content\":\"t";
    proof = is_vectors ? "\"index\":63" : "\"finish_reason\":\"stop\"";
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(arguments[2])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int connections = atoi(arguments[4]);
    int64_t start = now();
    if (streams) {
        char members[1024];
        most = atol(arguments[5]);
        chunks_wanted = atoi(arguments[6]);
        snprintf(members, sizeof members, "\"stream\":true,\"max_tokens\":%d,\"interval_us\":%s%s", chunks_wanted, arguments[7], demanded(kind));
        write_chat(arguments[2], arguments[3], strcmp(kind, "guided") ? "bench" : "guided", members);
        stop_at = INT64_MAX;
    } else {
        if (is_vectors) write_embeddings(arguments[2], arguments[3], kind);
        else write_chat(arguments[2], arguments[3], "bench", "\"max_tokens\":64");
        most = INT64_MAX;
        stop_at = start + (int64_t)(atof(arguments[5]) * 1e6);
    }
    times.values = malloc(LARGEST_SAMPLE * sizeof(int64_t));
    firsts.values = malloc(LARGEST_SAMPLE * sizeof(int64_t));
    delays.values = malloc(LARGEST_SAMPLE * sizeof(int64_t));
    gaps.values = malloc(LARGEST_SAMPLE * sizeof(int64_t));
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
        print_sample("gap", &gaps);
    }
    printf("}\n");
    return 0;
}
