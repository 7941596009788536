#pragma once
#include <curl/curl.h>
#include <idn2.h>
#include <openssl/ssl.h>
// Swift's own Glibc module leaves it out.
#include <sys/eventfd.h>

// curl_easy_setopt and curl_easy_getinfo are variadic, which Swift does not import: one typed shim for each shape.
static inline CURLcode curl_shim_set_long(CURL *handle, CURLoption option, long value) { return curl_easy_setopt(handle, option, value); }
static inline CURLcode curl_shim_set_string(CURL *handle, CURLoption option, const char *value) { return curl_easy_setopt(handle, option, value); }
static inline CURLcode curl_shim_set_pointer(CURL *handle, CURLoption option, void *value) { return curl_easy_setopt(handle, option, value); }
static inline CURLcode curl_shim_set_list(CURL *handle, CURLoption option, struct curl_slist *value) { return curl_easy_setopt(handle, option, value); }
static inline CURLcode curl_shim_set_large(CURL *handle, CURLoption option, curl_off_t value) { return curl_easy_setopt(handle, option, value); }

typedef size_t (*curl_shim_bytes_function)(char *bytes, size_t size, size_t count, void *context);
static inline CURLcode curl_shim_set_bytes_function(CURL *handle, CURLoption option, curl_shim_bytes_function value) { return curl_easy_setopt(handle, option, value); }
typedef curl_socket_t (*curl_shim_socket_function)(void *context, curlsocktype purpose, struct curl_sockaddr *address);
static inline CURLcode curl_shim_set_socket_function(CURL *handle, curl_shim_socket_function value) { return curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, value); }

static inline CURLMcode curl_shim_multi_set_long(CURLM *handle, CURLMoption option, long value) { return curl_multi_setopt(handle, option, value); }
typedef int (*curl_shim_watch_function)(CURL *easy, curl_socket_t socket, int what, void *context, void *socket_context);
static inline CURLMcode curl_shim_multi_set_watch_function(CURLM *handle, curl_shim_watch_function value, void *context) {
    curl_multi_setopt(handle, CURLMOPT_SOCKETDATA, context);
    return curl_multi_setopt(handle, CURLMOPT_SOCKETFUNCTION, value);
}
typedef int (*curl_shim_timer_function)(CURLM *handle, long milliseconds, void *context);
static inline CURLMcode curl_shim_multi_set_timer_function(CURLM *handle, curl_shim_timer_function value, void *context) {
    curl_multi_setopt(handle, CURLMOPT_TIMERDATA, context);
    return curl_multi_setopt(handle, CURLMOPT_TIMERFUNCTION, value);
}
static inline curl_socket_t curl_shim_socket(CURL *handle) {
    curl_socket_t socket = CURL_SOCKET_BAD;
    curl_easy_getinfo(handle, CURLINFO_ACTIVESOCKET, &socket);
    return socket;
}
// The result of the finished transfer, if one has finished: the message holds a union, which Swift reads poorly.
static inline int curl_shim_multi_result(CURLM *handle, CURLcode *result) {
    int left;
    CURLMsg *message = curl_multi_info_read(handle, &left);
    if (message == NULL || message->msg != CURLMSG_DONE) return 0;
    *result = message->data.result;
    return 1;
}

static inline curl_off_t curl_shim_received_bytes(CURL *handle) {
    curl_off_t bytes = 0;
    curl_easy_getinfo(handle, CURLINFO_SIZE_DOWNLOAD_T, &bytes);
    return bytes;
}

// The last answer of the server: a status of HTTP, or a reply code of SMTP.
static inline long curl_shim_response_code(CURL *handle) {
    long code = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &code);
    return code;
}

typedef CURLcode (*curl_shim_tls_function)(CURL *handle, void *tls, void *context);
static inline CURLcode curl_shim_set_tls_function(CURL *handle, curl_shim_tls_function value) { return curl_easy_setopt(handle, CURLOPT_SSL_CTX_FUNCTION, value); }
