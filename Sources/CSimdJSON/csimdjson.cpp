#include "csimdjson.h"
#include <simdjson.h>
#include <cstring>
#include <new>

using namespace simdjson;

struct xj_parser {
    dom::parser parser;
};

// dom::element holds exactly a document and an index into its tape, but keeps them private: the tape is read through tape_ref instead.
static inline internal::tape_ref at(xj_element element) {
    return internal::tape_ref(static_cast<const dom::document *>(element.document), element.index);
}

static inline char type_of(internal::tape_ref tape) { return static_cast<char>(tape.tape_ref_type()); }

xj_parser *xj_parser_new(size_t max_depth) {
    auto *parser = new (std::nothrow) xj_parser;
    if (parser && parser->parser.allocate(4096, max_depth)) { delete parser; return nullptr; }
    return parser;
}

void xj_parser_free(xj_parser *parser) { delete parser; }

namespace {

struct Limits { size_t members, elements; bool check_strings; };

// Escapes are the only way to smuggle NUL or half a surrogate pair into valid UTF-8 text.
bool text_is_clean(std::string_view text) {
    if (memchr(text.data(), 0, text.size())) return false;
    const char *at = text.data(), *end = at + text.size();
    while ((at = static_cast<const char *>(memchr(at, 0xED, size_t(end - at))))) {
        if (end - at > 1 && static_cast<unsigned char>(at[1]) >= 0xA0) return false;
        at++;
    }
    return true;
}

xj_status check(internal::tape_ref tape, const Limits &limits) {
    switch (type_of(tape)) {
    case '"':
        return limits.check_strings && !text_is_clean(tape.get_string_view()) ? XJ_SYNTAX : XJ_OK;
    case 'u':
        return XJ_SYNTAX;
    case '{': {
        if (tape.scope_count() > limits.members) return XJ_TOO_MANY_MEMBERS;
        const size_t end = tape.after_element() - 1;
        for (internal::tape_ref next(tape.doc, tape.json_index + 1); next.json_index < end;) {
            if (auto status = check(next, limits)) return status;
            next.json_index++;
            if (auto status = check(next, limits)) return status;
            next.json_index = next.after_element();
        }
        return XJ_OK;
    }
    case '[': {
        if (tape.scope_count() > limits.elements) return XJ_TOO_MANY_ELEMENTS;
        const size_t end = tape.after_element() - 1;
        for (internal::tape_ref next(tape.doc, tape.json_index + 1); next.json_index < end; next.json_index = next.after_element())
            if (auto status = check(next, limits)) return status;
        return XJ_OK;
    }
    default:
        return XJ_OK;
    }
}

inline bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

// The text is known to be valid JSON, so a string ends at the first quote that is not escaped …
size_t after_string(const char *source, size_t at) {
    for (at++;; at++) {
        const char *quote = static_cast<const char *>(rawmemchr(source + at, '"'));
        at = size_t(quote - source);
        size_t backslashes = 0;
        while (source[at - 1 - backslashes] == '\\') backslashes++;
        if (backslashes % 2 == 0) return at + 1;
    }
}

// … and every other value ends where its brackets balance, or before the next structural character. A value at the top of the text is never skipped.
size_t after_value(const char *source, size_t at) {
    size_t depth = 0;
    for (;;) {
        switch (source[at]) {
        case '"': at = after_string(source, at); break;
        case '{': case '[': depth++; at++; break;
        case '}': case ']': depth--; at++; break;
        default:
            if (depth == 0) {
                while (!is_space(source[at]) && source[at] != ',' && source[at] != '}' && source[at] != ']') at++;
                return at;
            }
            at++;
        }
        if (depth == 0) return at;
    }
}

} // namespace

xj_status xj_parse(
    xj_parser *parser, const char *bytes, size_t count, size_t max_members, size_t max_elements, bool allows_any_text, xj_element *root) {
    dom::element element;
    switch (parser->parser.parse(reinterpret_cast<const uint8_t *>(bytes), count, true).get(element)) {
    case SUCCESS: break;
    case DEPTH_ERROR: return XJ_TOO_DEEP;
    case MEMALLOC: case CAPACITY: return XJ_MEMORY;
    default: return XJ_SYNTAX;
    }
    // The document's tape begins with a root word; the root value is the next one.
    *root = {&parser->parser.doc, 1};
    const bool check_strings = !allows_any_text && memchr(bytes, '\\', count) && memmem(bytes, count, "\\u", 2);
    return check(at(*root), Limits{max_members, max_elements, check_strings});
}

char xj_type(xj_element element) { return type_of(at(element)); }

xj_text xj_string(xj_element element) {
    auto text = at(element).get_string_view();
    return {text.data(), text.size()};
}

int64_t xj_int64(xj_element element) { return at(element).next_tape_value<int64_t>(); }

double xj_double(xj_element element) { return at(element).next_tape_value<double>(); }

bool xj_has(xj_element object, const char *name, size_t count) {
    const auto tape = at(object);
    if (type_of(tape) != '{') return false;
    const size_t end = tape.after_element() - 1;
    for (internal::tape_ref next(tape.doc, tape.json_index + 1); next.json_index < end; next.json_index = next.after_element()) {
        if (next.get_string_view() == std::string_view(name, count)) return true;
        next.json_index++;
    }
    return false;
}

size_t xj_count(xj_element element) {
    const auto tape = at(element);
    // The tape's own count ends at 24 bits, far beyond the limits that were checked.
    return tape.scope_count();
}

xj_cursor xj_walk(xj_element element, const char *source, size_t begin) {
    auto tape = at(element);
    xj_cursor cursor;
    cursor.next = {element.document, element.index + 1};
    cursor.end = tape.after_element() - 1;
    cursor.source = source;
    cursor.offset = begin + 1;
    cursor.is_object = type_of(tape) == '{';
    return cursor;
}

bool xj_next(xj_cursor *cursor, xj_member *member) {
    if (cursor->next.index >= cursor->end) return false;
    const char *source = cursor->source;
    size_t offset = cursor->offset;
    auto skip = [&] { while (is_space(source[offset]) || source[offset] == ',' || source[offset] == ':') offset++; };
    if (source) { skip(); member->key_begin = offset; }
    if (cursor->is_object) {
        member->key = xj_string(cursor->next);
        cursor->next.index++;
        if (source) { offset = after_string(source, offset); skip(); }
    }
    member->value = cursor->next;
    if (source) {
        member->begin = offset;
        member->end = offset = after_value(source, offset);
    }
    cursor->next.index = at(cursor->next).after_element();
    cursor->offset = offset;
    return true;
}

size_t xj_root_begin(const char *source, size_t count) {
    size_t at = 0;
    while (at < count && is_space(source[at])) at++;
    return at;
}
