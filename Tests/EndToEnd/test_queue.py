"""max_concurrent of an upstream: wait as long as the tier says, then 429 (spec 05 §1)."""

import time

import pytest

from harness.calls import expect_error
from harness.raw import RawCall
from harness.tenants import tier
from harness.together import together


def test_a_request_over_the_bound_waits_for_its_turn(make_tenant, engine, usage):
    narrow = make_tenant(tier=tier(queue_wait_s=20), max_concurrent=2)
    answers = together(6, lambda number: narrow.chat(script={"text": "a", "first_delay_ms": 400}))
    assert {answer.status_code for answer in answers} == {200}
    assert engine.counts["peak_open"] <= 2
    waits = [usage.one(answer.headers["x-request-id"])["queue_ms"] for answer in answers]
    assert max(waits) >= 500


def test_a_wait_over_the_tiers_limit_is_no_capacity(make_tenant, engine, usage):
    narrow = make_tenant(tier=tier(queue_wait_s=1), max_concurrent=2)

    def call(number):
        started = time.monotonic()
        return narrow.chat(script={"text": "a", "first_delay_ms": 3000}), time.monotonic() - started

    answers = together(4, call)
    assert {answer.status_code for answer, _ in answers} == {200, 429}
    refused, seconds = next(pair for pair in answers if pair[0].status_code == 429)
    error = expect_error(refused, 429, "capacity_exceeded")
    assert 1 <= error["retry_after"] <= 30
    assert 0.9 < seconds < 2.5
    assert engine.records(refused.headers["x-request-id"]) == []


@pytest.mark.patient
def test_flex_waits_longer_than_its_tier_says(make_tenant, engine):
    narrow = make_tenant(tier=tier(queue_wait_s=1), max_concurrent=2)
    answers = together(4, lambda number: narrow.chat(script={"text": "a", "first_delay_ms": 3000}, service_tier="flex"))
    assert {answer.status_code for answer in answers} == {200}


def test_a_client_that_leaves_the_queue_frees_its_place(make_tenant, stack, engine):
    narrow = make_tenant(tier=tier(queue_wait_s=20), max_concurrent=2)
    calls = [RawCall(stack.http_address) for _ in range(12)]
    for call in calls:
        call.post_json("/v1/chat/completions", narrow.body(script={"tokens": ["abc "], "repeat": 1000, "delay_ms": 20}, stream=True), narrow.key.key)
    time.sleep(0.5)
    assert engine.counts["peak_open"] <= 2
    for call in calls:
        call.close()
    started = time.monotonic()
    assert narrow.chat(script={"text": "mine"}).status_code == 200
    assert time.monotonic() - started < 1.5
