// A C face of simdjson's DOM (https://github.com/simdjson/simdjson/blob/v3.0.1/doc/dom.md), and byte ranges beside it:
// the DOM validates and gives typed access, the ranges let a caller copy or replace parts of the text without writing them anew.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xj_parser xj_parser;

typedef enum { XJ_OK, XJ_SYNTAX, XJ_TOO_DEEP, XJ_TOO_MANY_MEMBERS, XJ_TOO_MANY_ELEMENTS, XJ_MEMORY } xj_status;

// A value of a parsed document: valid until the parser parses again or is freed.
typedef struct { const void *document; size_t index; } xj_element;

typedef struct { const char *bytes; size_t count; } xj_text;

// One step through an object or array: the value, its text, and in objects the name (escapes resolved) and where its text begins.
typedef struct { xj_text key; size_t key_begin; xj_element value; size_t begin, end; } xj_member;

typedef struct { xj_element next; size_t end; const char *source; size_t offset; bool is_object; } xj_cursor;

xj_parser *xj_parser_new(size_t max_depth);
void xj_parser_free(xj_parser *);

// Parses and checks all of a document: RFC 8259, UTF-8, int64 or finite numbers, the given sizes, and, unless any text is allowed, no lone
// surrogates and no NUL in strings.
xj_status xj_parse(
    xj_parser *, const char *bytes, size_t count, size_t max_members, size_t max_elements, bool allows_any_text, xj_element *root);

// One of { [ " l (int64) d (double) t f n
char xj_type(xj_element);
xj_text xj_string(xj_element);
int64_t xj_int64(xj_element);
double xj_double(xj_element);

// Whether an object has a member of that name. Looks at names alone, not at the text, so it is much quicker than a walk.
bool xj_has(xj_element object, const char *name, size_t count);

// How many elements an array or members an object has.
size_t xj_count(xj_element);

// Begins a walk over an object or array. With source (the text that was parsed) and the value's begin there, members carry their ranges.
xj_cursor xj_walk(xj_element, const char *source, size_t begin);
bool xj_next(xj_cursor *, xj_member *);

// Where the value begins in a text that was parsed: the first byte that is not white space.
size_t xj_root_begin(const char *source, size_t count);

#ifdef __cplusplus
}
#endif
