// The least that a gateway of our shape can cost: what our gateway does for a chat completion, without any of its decisions.
//
//     floor SOCKET MOCK_PORT STEP [REDIS_SOCKET [POSTGRES]]
//
// A request comes by FastCGI over the socket (libfcgi), goes to the model server by a kept connection (libcurl), and its answer goes back. STEP adds to that:
//     relay    nothing
//     limits   one command to Redis before (hiredis)
//     usage    and after it one row in Postgres (libpq), committed before the answer, together with those of all requests that wait
//     ledger   and with it the three rows of a settlement
// Each thread serves one request at a time, as ours do. Nothing is checked, parsed, counted, logged or kept for later; on any failure it exits.

#include <curl/curl.h>
#include <fcgiapp.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 256, LARGEST = 64 << 10, MOST_ROWS = 500 };

static int listener;
static char url[128];
static const char *redis_socket, *postgres;
static int has_ledger;

static void check(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "floor: %s failed\n", what);
    exit(1);
}

/// Requests that one transaction commits; who waits for it holds it in common.
typedef struct {
    pthread_cond_t done;
    char ids[MOST_ROWS * 37 + 3];
    int rows, is_committed;
} batch;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER, room = PTHREAD_COND_INITIALIZER;
static batch batches[2], *filling = &batches[0];
static int waiting[2];

static void settle(const char *id) {
    pthread_mutex_lock(&lock);
    while (filling->rows == MOST_ROWS) pthread_cond_wait(&room, &lock);
    batch *mine = filling;
    sprintf(mine->ids + strlen(mine->ids), "%s%s", mine->rows ? "," : "{", id);
    if (mine->rows++ == 0) pthread_cond_signal(&work);
    waiting[mine - batches]++;
    while (!mine->is_committed) pthread_cond_wait(&mine->done, &lock);
    if (--waiting[mine - batches] == 0) pthread_cond_signal(&room);
    pthread_mutex_unlock(&lock);
}

static const char *const usage_rows =
    "INSERT INTO floor_usage SELECT 'ue_' || i, 'prj_0123456789abcdef', 'ep_0123456789abcdef', 'bench', 'mock', 'key_0123456789abcdef', i, 'chat', 'default',"
    " 'demo', false, 12, 20, 0, 0, 1000, 100, 10000, 200, 'none', 'stop', 5, 5, now() FROM unnest($1::text[]) i";
static const char *const ledger_rows =
    "WITH ids AS (SELECT i FROM unnest($1::text[]) i), usage AS (%s), booked AS (INSERT INTO floor_transactions SELECT 'le_' || i, 'settle:' || i, 'settle',"
    " 'prj_0123456789abcdef', i, now() FROM ids) INSERT INTO floor_entries SELECT 'le_' || i, seq, seq, 1000, 1000 FROM ids, generate_series(1, 2) seq";

static void *commit(void *unused) {
    char text[4096];
    snprintf(text, sizeof text, has_ledger ? ledger_rows : "%s", usage_rows);
    PGconn *connection = PQconnectdb(postgres);
    check(PQstatus(connection) == CONNECTION_OK, PQerrorMessage(connection));
    PQclear(PQprepare(connection, "rows", text, 1, NULL));
    pthread_mutex_lock(&lock);
    for (;;) {
        while (filling->rows == 0) pthread_cond_wait(&work, &lock);
        batch *full = filling, *next = &batches[filling == batches];
        while (waiting[next - batches]) pthread_cond_wait(&room, &lock);
        next->rows = next->is_committed = next->ids[0] = 0;
        filling = next;
        pthread_cond_broadcast(&room);
        pthread_mutex_unlock(&lock);
        strcat(full->ids, "}");
        const char *values[] = {full->ids};
        PGresult *result = PQexecPrepared(connection, "rows", 1, values, NULL, NULL, 0);
        check(PQresultStatus(result) == PGRES_COMMAND_OK, PQerrorMessage(connection));
        PQclear(result);
        pthread_mutex_lock(&lock);
        full->is_committed = 1;
        pthread_cond_broadcast(&full->done);
    }
    return unused;
}

typedef struct {
    size_t size;
    char bytes[LARGEST];
} body;

static size_t collect(char *bytes, size_t size, size_t count, void *into) {
    body *answer = into;
    check(answer->size + size * count <= LARGEST, "an answer of 64 KiB");
    memcpy(answer->bytes + answer->size, bytes, size * count);
    answer->size += size * count;
    return size * count;
}

static void *serve(void *unused) {
    FCGX_Request request;
    body *asked = malloc(sizeof *asked), *answer = malloc(sizeof *answer);
    check(FCGX_InitRequest(&request, listener, 0) == 0, "FCGX_InitRequest");
    redisContext *redis = redis_socket ? redisConnectUnix(redis_socket) : NULL;
    check(!redis_socket || (redis && !redis->err), "the connection to Redis");
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    while (FCGX_Accept_r(&request) == 0) {
        asked->size = FCGX_GetStr(asked->bytes, LARGEST, request.in);
        const char *id = FCGX_GetParam("XEROTIER_REQUEST_ID", request.envp);
        if (redis) {
            redisReply *reply = redisCommand(redis, "INCR floor:requests");
            check(reply && reply->type == REDIS_REPLY_INTEGER, "INCR");
            freeReplyObject(reply);
        }
        answer->size = 0;
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)asked->size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, asked->bytes);
        check(curl_easy_perform(curl) == CURLE_OK, "the request to the model server");
        if (postgres) settle(id);
        FCGX_FPrintF(request.out, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", (int)answer->size);
        FCGX_PutStr(answer->bytes, (int)answer->size, request.out);
        FCGX_Finish_r(&request);
    }
    return unused;
}

int main(int count, char **arguments) {
    check(count >= 4, "floor SOCKET MOCK_PORT STEP [REDIS_SOCKET [POSTGRES]]: reading that");
    snprintf(url, sizeof url, "http://127.0.0.1:%s/v1/chat/completions", arguments[2]);
    has_ledger = strcmp(arguments[3], "ledger") == 0;
    if (count > 4) redis_socket = arguments[4];
    if (count > 5) postgres = arguments[5];
    for (int i = 0; i < 2; i++) pthread_cond_init(&batches[i].done, NULL);
    check(FCGX_Init() == 0 && curl_global_init(CURL_GLOBAL_DEFAULT) == 0, "starting the libraries");
    listener = FCGX_OpenSocket(arguments[1], 1024);
    check(listener >= 0, "listening");
    pthread_t thread;
    if (postgres) check(pthread_create(&thread, NULL, commit, NULL) == 0, "a thread");
    for (int i = 0; i < THREADS; i++) check(pthread_create(&thread, NULL, serve, NULL) == 0, "a thread");
    for (;;) pause();
}
