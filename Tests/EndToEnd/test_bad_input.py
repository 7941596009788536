"""The bad input that the platform must survive: documented answers, nothing dispatched, no process gone."""

import time

import pytest

from harness.calls import expect_error
from harness.raw import RawCall

CHAT = "/v1/chat/completions"
GOOD = b'{"model":"talk","messages":[{"role":"user","content":"hi"}]}'


def inside(fragment: bytes) -> bytes:
    return b'{"model":"talk","messages":[{"role":"user","content":"hi"}],"extra":%s}' % fragment


PARSE_ERRORS = {
    "empty": b"", "blank": b"  \n", "truncated": GOOD[:-1], "truncated in a string": GOOD[:20], "truncated in an escape": inside(b'"\\u12"')[:-4],
    "NaN": inside(b"NaN"), "Infinity": inside(b"Infinity"), "minus Infinity": inside(b"-Infinity"), "lone high surrogate": inside(b'"\\ud800"'),
    "lone low surrogate": inside(b'"\\udc00"'), "reversed surrogates": inside(b'"\\udc00\\ud800"'), "lone surrogate in a name": inside(b'{"\\ud800":1}'),
    "duplicate at the top": b'{"model":"talk","model":"other",' + GOOD[1:], "duplicate by escape": b'{"mod\\u0065l":"other",' + GOOD[1:],
    "invalid UTF-8": inside(b'"\xff"'), "overlong UTF-8": inside(b'"\xc0\xaf"'), "surrogate as UTF-8": inside(b'"\xed\xa0\x80"'),
    "NUL as escape": inside(b'"a\\u0000b"'), "NUL as byte": inside(b'"a\x00b"'), "NUL after": GOOD + b"\x00", "BOM": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"), "two values": GOOD + GOOD, "trailing text": GOOD + b"x", "comment": inside(b"1/*x*/"), "single quotes": inside(b"'x'"),
    "control in a string": inside(b'"a\nb"'), "bad escape": inside(b'"\\x41"'), "leading zero": inside(b"01"), "plus": inside(b"+1"), "bare dot": inside(b"1."),
    "huge exponent": inside(b"1e999999"), "huge integer": inside(b"123456789012345678901234567890"), "trailing comma": inside(b"[1,]"),
}


@pytest.mark.parametrize("name", PARSE_ERRORS)
def test_broken_json_is_a_parse_error(tenant, engine, usage, name):
    answer = tenant.chat_raw(PARSE_ERRORS[name])
    expect_error(answer, 400, "json_parse_error")
    assert engine.records(answer.headers["x-request-id"]) == []
    usage.none(answer.headers["x-request-id"])


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"5", b"null", b"true", b"[{}]"])
def test_json_that_is_no_object_is_refused(tenant, engine, body):
    expect_error(tenant.chat_raw(body), 400, "invalid_request", "json_parse_error", "invalid_value")


@pytest.mark.parametrize("opening,closing", [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
@pytest.mark.parametrize("closed", [True, False])
def test_a_hundred_thousand_levels_are_refused_at_once(tenant, engine, opening, closing, closed):
    body = opening * 100_000 + ((b"1" + closing * 100_000) if closed else b"")
    times = []
    for sent in (body, inside(body)):
        started = time.perf_counter()
        answer = tenant.chat_raw(sent)
        times.append(time.perf_counter() - started)
        expect_error(answer, 400, "json_too_deep", "json_parse_error")
    assert min(times) < 0.05, times


@pytest.mark.parametrize("depth,passes", [(60, True), (64, False), (100, False)])
def test_the_depth_of_json_has_a_limit(tenant, engine, depth, passes):
    answer = tenant.chat_raw(inside(b"[" * depth + b"]" * depth))
    if passes:
        assert answer.status_code == 200
    else:
        expect_error(answer, 400, "json_too_deep")


def test_the_members_of_an_object_have_a_limit(tenant, engine):
    members = b",".join(b'"k%d":1' % number for number in range(10_001))
    expect_error(tenant.chat_raw(inside(b"{" + members + b"}")), 400, "invalid_request")


def test_the_length_of_an_array_has_a_limit(tenant, engine):
    expect_error(tenant.chat_raw(inside(b"[" + b"1," * 100_000 + b"1]")), 400, "invalid_request")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models"])
@pytest.mark.parametrize("query", ["?", "?a=%zz", "?%00", "?a=" + "%ff" * 50, "?limit=9" + "9" * 400, "?[]=&&==&"])
def test_strange_queries_do_no_harm(tenant, engine, path, query):
    answer = tenant.caller.get(path + query)
    assert answer.status_code in (200, 400, 405)


@pytest.mark.patient
@pytest.mark.limit(60)
def test_a_body_shorter_than_announced_gets_the_close_and_no_answer(stack, tenant, engine):
    """nginx waits 10 s for the rest of the body, then closes; nothing reaches a gateway."""
    before = engine.sequence
    call = RawCall(stack.http_address, timeout=30)
    started = time.monotonic()
    call.post(CHAT, GOOD, tenant.key.key, len(GOOD) + 50)
    received = call.read_to_end()
    seconds = time.monotonic() - started
    assert received == b"" or call.status == 408, received[:200]
    assert 5 < seconds < 20
    assert engine.sequence == before


def test_a_body_longer_than_announced_is_cut_there(stack, tenant, engine):
    call = RawCall(stack.http_address)
    call.post(CHAT, GOOD, tenant.key.key, len(GOOD) - 5, more="Connection: close\r\n")
    call.read_to_end()
    assert call.status == 400
    assert b"json_parse_error" in call.received


@pytest.mark.parametrize("value", ["-1", "abc", "99999999999999999999", "1, 2", "0x10"])
def test_a_content_length_that_is_no_number_is_refused(stack, tenant, engine, value):
    before = engine.sequence
    call = RawCall(stack.http_address)
    call.send(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant.key.key}\r\nContent-Type: application/json\r\nContent-Length: {value}\r\nConnection: close\r\n\r\n".encode() + GOOD)
    call.read_to_end()
    assert call.received == b"" or call.status in (400, 411, 413)
    assert engine.sequence == before


@pytest.mark.parametrize("more", ["Transfer-Encoding: chunked\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: gzip\r\n"])
def test_two_lengths_of_one_body_are_refused(stack, tenant, engine, more):
    before = engine.sequence
    call = RawCall(stack.http_address)
    call.post(CHAT, GOOD, tenant.key.key, len(GOOD), more + "Connection: close\r\n")
    call.read_to_end()
    assert call.received == b"" or call.status in (400, 411, 501)
    assert engine.sequence == before


def test_a_compressed_body_is_not_read_as_json(tenant, engine):
    import gzip

    answer = tenant.chat_raw(gzip.compress(GOOD), headers={"Content-Encoding": "gzip"})
    assert answer.status_code in (400, 415)


def test_after_all_that_the_platform_still_answers(tenant, engine):
    assert tenant.chat(script={"text": "alive"}).json()["choices"][0]["message"]["content"] == "alive"
