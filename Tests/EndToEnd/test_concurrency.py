"""Concurrent requests per endpoint, over all gateways (spec 04 §6)."""

import time

from harness.calls import expect_error
from harness.raw import RawCall
from harness.together import eventually, together


def slow(milliseconds):
    return {"text": "a", "first_delay_ms": milliseconds}


def test_five_run_and_the_sixth_is_refused(make_tenant, engine, usage):
    free = make_tenant(tier="free")
    answers = together(6, lambda number: free.chat(script=slow(1500), max_tokens=1))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    error = expect_error(refused, 429, "concurrency_exceeded")
    assert error["retry_after"] == 1
    assert engine.records(refused.headers["x-request-id"]) == []
    usage.none(refused.headers["x-request-id"])


def test_a_place_is_free_again_after_an_answer(make_tenant, engine):
    free = make_tenant(tier="free")
    for _ in range(2):
        answers = together(5, lambda number: free.chat(script=slow(300), max_tokens=1))
        assert {answer.status_code for answer in answers} == {200}


def test_stalled_streams_hold_their_places_until_their_clients_leave(make_tenant, stack, engine):
    free = make_tenant(tier="free")
    calls = [RawCall(stack.http_address) for _ in range(5)]
    for call in calls:
        call.post_json("/v1/chat/completions", free.body(script={"text": "a b", "stall_after_chunks": 2}, stream=True, max_tokens=2), free.key.key)
        call.read_until(b'"a ')
    expect_error(free.chat(script=slow(0), max_tokens=1), 429, "concurrency_exceeded")
    left = calls[0].close()
    eventually(lambda: free.chat(script=slow(0), max_tokens=1).status_code == 200, seconds=2, every=0.05)
    assert time.monotonic() * 1000 - left < 1000
    for call in calls[1:]:
        call.close()


def test_the_bound_is_the_endpoints_and_not_the_keys(make_tenant, engine):
    free = make_tenant(tier="free")
    other = free.using(key=free.project.key())
    answers = together(6, lambda number: (free if number % 2 else other).chat(script=slow(1500), max_tokens=1))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429]


def test_another_endpoint_is_not_affected(make_tenant, engine):
    free = make_tenant(tier="free")
    second = free.using(free.project.endpoint(engine.url, tier="free"))
    answers = together(8, lambda number: (free if number % 2 else second).chat(script=slow(800), max_tokens=1))
    assert {answer.status_code for answer in answers} == {200}
