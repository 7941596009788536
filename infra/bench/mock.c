// A model server that costs next to nothing: OpenAI's chat completions and embeddings over HTTP/1.1, one thread with epoll.
//
//     mock PORT
//
// A whole answer is always the same. A stream ("stream":true) has as many chunks as the body's "max_tokens" says, one each "interval_us";
// all streams that run at one time must have the same interval. A chunk's content is the moment of its making ("t" and the microseconds of
// CLOCK_MONOTONIC), so that whoever reads it on this machine knows how long it was under way. With a "json_schema" they stand in
// {"text":"…"}, with "tools" in such arguments of a call. Embeddings are 64 vectors of 384 numbers, always the same. Any GET is answered as healthy.
// A reader so slow that its socket is full is cut off: the bench then counts an error.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST_REQUEST = 16 << 10 };

#define CHUNK(CHOICES) "{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"mock\",\"choices\":[" CHOICES "]"

/// The chunks of a stream; the moment stands in `said`.
typedef struct {
    const char *first, *before, *said, *after, *reason;
} form;

#define CONTENT(TEXT) CHUNK("{\"index\":0,\"delta\":{\"content\":\"" TEXT "\"},\"finish_reason\":null}") "}"
#define CALL(FUNCTION) CHUNK("{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0," FUNCTION "}]},\"finish_reason\":null}") "}"
#define ARGUMENTS(TEXT) CALL("\"function\":{\"arguments\":\"" TEXT "\"}")
#define OPEN "{\\\"text\\\":\\\""
#define CLOSE "\\\"}"
#define ROLE CHUNK("{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}") "}"

typedef struct connection {
    int descriptor;
    size_t length;
    char bytes[LARGEST_REQUEST];
    // Of the stream under way.
    int chunks, left, interval, wants_usage;
    const form *form;
    int64_t due;
    struct connection *next;
    int is_waiting, is_broken;
} connection;

static connection *first, *last;  // streams in the order in which they are due
static int events;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void send_all(connection *to, const char *bytes, size_t length) {
    if (send(to->descriptor, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) to->is_broken = 1;
}

static void answer(connection *to, const char *json) {
    char text[2048];
    int length = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(json), json);
    send_all(to, text, length);
}

enum { VECTORS = 64, SIZE = 384, LARGEST_LIST = 1 << 20 };
static char in_floats[LARGEST_LIST], in_base64[LARGEST_LIST];

static char *write_base64(char *end, const unsigned char *bytes, size_t count) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t at = 0; at < count; at += 3) {  // a vector has a multiple of three bytes
        unsigned group = bytes[at] << 16 | bytes[at + 1] << 8 | bytes[at + 2];
        for (int shift = 18; shift >= 0; shift -= 6) *end++ = digits[group >> shift & 63];
    }
    return end;
}

/// As llama.cpp writes them: the shortest decimals that are the number again, as a double.
static void write_vectors(char *end, int is_base64) {
    float numbers[SIZE];
    end += sprintf(end, "{\"model\":\"mock\",\"object\":\"list\",\"usage\":{\"prompt_tokens\":640,\"total_tokens\":640},\"data\":[");
    for (int vector = 0; vector < VECTORS; vector++) {
        for (int place = 0; place < SIZE; place++) numbers[place] = ((vector * 31 + place * 17) % 199 - 99) / 1499.0f;
        end += sprintf(end, "%s{\"embedding\":%s", vector ? "," : "", is_base64 ? "\"" : "[");
        if (is_base64) end = write_base64(end, (void *)numbers, sizeof numbers);
        else for (int place = 0; place < SIZE; place++) end += sprintf(end, "%s%.17g", place ? "," : "", (double)numbers[place]);
        end += sprintf(end, "%s,\"index\":%d,\"object\":\"embedding\"}", is_base64 ? "\"" : "]", vector);
    }
    sprintf(end, "]}");
}

/// Waits for a reader whose socket is full: such an answer is larger than that.
static void answer_all(connection *to, const char *json) {
    char head[256];
    size_t length = strlen(json), sent = 0;
    send_all(to, head, sprintf(head, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", length));
    while (sent < length && !to->is_broken) {
        ssize_t count = send(to->descriptor, json + sent, length - sent, MSG_NOSIGNAL);
        if (count > 0) sent += count;
        else if (errno != EAGAIN || poll(&(struct pollfd){to->descriptor, POLLOUT, 0}, 1, 10000) != 1) to->is_broken = 1;
    }
}

/// Appends one event as a chunk of the body.
static char *event(char *end, const char *json) {
    return end + sprintf(end, "%zx\r\ndata: %s\n\n\r\n", strlen(json) + 8, json);
}

static const form plain = {.first = ROLE, .said = CONTENT("t%lld "), .reason = "stop"};
static const form schema = {.first = ROLE, .before = CONTENT(OPEN), .said = CONTENT("t%lld "), .after = CONTENT(CLOSE), .reason = "stop"};
static const form call = {
    .first = CALL("\"id\":\"call_mock\",\"type\":\"function\",\"function\":{\"name\":\"say\",\"arguments\":\"\"}"),
    .before = ARGUMENTS(OPEN), .said = ARGUMENTS("t%lld "), .after = ARGUMENTS(CLOSE), .reason = "tool_calls"};

static void step(connection *stream) {
    char text[4096], json[1024], *end = text;
    const form *form = stream->form;
    if (stream->left == stream->chunks) {
        end += sprintf(end, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
        end = event(end, form->first);
        if (form->before) end = event(end, form->before);
    }
    sprintf(json, form->said, (long long)now());
    end = event(end, json);
    if (--stream->left == 0) {
        if (form->after) end = event(end, form->after);
        sprintf(json, CHUNK("{\"index\":0,\"delta\":{},\"finish_reason\":\"%s\"}") "}", form->reason);
        end = event(end, json);
        if (stream->wants_usage) {
            sprintf(json, CHUNK("") ",\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":%d,\"total_tokens\":%d}}", stream->chunks, stream->chunks + 12);
            end = event(end, json);
        }
        end += sprintf(end, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    }
    send_all(stream, text, end - text);
}

static void wait_for_turn(connection *stream) {
    stream->is_waiting = 1;
    stream->next = NULL;
    if (last) last->next = stream; else first = stream;
    last = stream;
}

static int number(const char *body, size_t length, const char *name, int otherwise) {
    const char *found = memmem(body, length, name, strlen(name));
    return found ? atoi(found + strlen(name)) : otherwise;
}

static int holds(const char *body, size_t length, const char *text) { return memmem(body, length, text, strlen(text)) != NULL; }

static void take_request(connection *from, const char *body, size_t length) {
    static const char whole[] =
        "{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"mock\",\"choices\":[{\"index\":0,\"message\":"
        "{\"role\":\"assistant\",\"content\":\"The quick brown fox jumps over the lazy dog. This is a canned answer from the mock upstream, long "
        "enough to look like a short reply.\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12,"
        "\"completion_tokens\":30,\"total_tokens\":42},\"system_fingerprint\":\"fp_mock\"}";
    if (strncmp(from->bytes, "POST ", 5)) return answer(from, "{\"object\":\"list\",\"data\":[{\"id\":\"mock\",\"object\":\"model\"}]}");
    if (!strncmp(from->bytes, "POST /v1/embeddings", 19)) return answer_all(from, holds(body, length, "\"base64\"") ? in_base64 : in_floats);
    if (!holds(body, length, "\"stream\":true")) return answer(from, whole);
    from->chunks = from->left = number(body, length, "\"max_tokens\":", 200);
    from->interval = number(body, length, "\"interval_us\":", 10000);
    from->wants_usage = holds(body, length, "\"include_usage\":true");
    from->form = holds(body, length, "\"json_schema\"") ? &schema : holds(body, length, "\"tools\"") ? &call : &plain;
    from->due = now() + from->interval;
    step(from);
    if (from->left > 0) wait_for_turn(from);
}

static size_t content_length(const char *head, const char *end) {
    static const char name[] = "\r\ncontent-length:";
    for (const char *line = head; line < end; line++)
        if (*line == '\r' && !strncasecmp(line, name, sizeof name - 1)) return strtoul(line + sizeof name - 1, NULL, 10);
    return 0;
}

static void take_requests(connection *from) {
    while (!from->is_broken && !from->is_waiting) {
        char *end = memmem(from->bytes, from->length, "\r\n\r\n", 4);
        if (!end) return;
        size_t head = end + 4 - from->bytes, body = content_length(from->bytes, end);
        if (head + body > from->length) return;
        take_request(from, from->bytes + head, body);
        from->length -= head + body;
        memmove(from->bytes, from->bytes + head + body, from->length);
    }
}

static void forget(connection *gone) {
    close(gone->descriptor);
    gone->descriptor = -1;
    gone->is_broken = 1;
    if (!gone->is_waiting) free(gone);  // otherwise when its turn comes
}

static void receive(connection *from) {
    ssize_t got = recv(from->descriptor, from->bytes + from->length, sizeof from->bytes - from->length, 0);
    if (got <= 0) return forget(from);
    from->length += got;
    take_requests(from);
    if (from->is_broken) forget(from);
}

static void take_connections(int listener) {
    int descriptor, one = 1;
    while ((descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connection *made = calloc(1, sizeof *made);
        made->descriptor = descriptor;
        struct epoll_event interest = {EPOLLIN, {.ptr = made}};
        epoll_ctl(events, EPOLL_CTL_ADD, descriptor, &interest);
    }
}

static void step_streams(void) {
    int64_t time = now();
    while (first && first->due <= time) {
        connection *stream = first;
        first = stream->next;
        if (!first) last = NULL;
        stream->is_waiting = 0;
        if (stream->descriptor < 0) {
            free(stream);
            continue;
        }
        step(stream);
        stream->due += stream->interval;
        if (stream->is_broken) forget(stream);
        else if (stream->left > 0) wait_for_turn(stream);
        else take_requests(stream);
    }
}

int main(int count, char **arguments) {
    if (count != 2) return fprintf(stderr, "mock PORT\n"), 2;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) return perror("mock"), 1;
    write_vectors(in_floats, 0);
    write_vectors(in_base64, 1);
    events = epoll_create1(0);
    struct epoll_event interest = {EPOLLIN, {.ptr = NULL}}, ready[256];
    epoll_ctl(events, EPOLL_CTL_ADD, listener, &interest);
    while (1) {
        int64_t wait = first ? first->due - now() : -1;
        int found = epoll_wait(events, ready, 256, !first ? -1 : wait <= 0 ? 0 : (int)((wait + 999) / 1000));
        for (int index = 0; index < found; index++) {
            if (ready[index].data.ptr) receive(ready[index].data.ptr);
            else take_connections(listener);
        }
        step_streams();
    }
}
