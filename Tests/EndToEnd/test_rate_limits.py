"""Requests and tokens per minute, with their headers (spec 04 §6-7, 01 §7)."""

import time

import pytest

from harness.calls import expect_error
from harness.tenants import tier
from harness.together import together

UNLIMITED = "2147483647"


def burst(tenant, count, threads=4, **values):
    """`count` small calls; (admitted, refused, seconds taken)."""
    started = time.monotonic()
    answers = together(count, lambda number: tenant.chat("hi", max_tokens=1, **values), threads=threads)
    admitted = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code != 200]
    return admitted, refused, time.monotonic() - started


def test_a_fresh_free_endpoint_passes_96_and_refuses_the_97th(make_tenant, engine):
    """64 a minute x 1.5. Two gateways admit no more than one would: the counter is shared."""
    free = make_tenant(tier="free")
    admitted, refused, seconds = burst(free, 110)
    refilled = seconds * 64 / 60
    assert 96 <= len(admitted) <= 96 + refilled + 2, (len(admitted), seconds)
    for answer in refused:
        expect_error(answer, 429, "rate_limit_exceeded")
        assert answer.headers["x-ratelimit-remaining"] == answer.headers["x-ratelimit-remaining-requests"] == "0"
        assert engine.records(answer.headers["x-request-id"]) == []


@pytest.mark.patient
def test_after_the_burst_the_refill_passes_steadily(make_tenant, engine):
    """1.0667 requests a second; a little slower always passes, much faster does not."""
    free = make_tenant(tier="free")
    burst(free, 105)
    time.sleep(1.5)
    for _ in range(12):
        time.sleep(0.96)
        assert free.chat("hi", max_tokens=1).status_code == 200
    _, refused, _ = burst(free, 8, threads=8)
    assert len(refused) >= 2 and all(answer.status_code == 429 for answer in refused)


def test_a_tier_without_limits_says_so(tenant, engine):
    headers = tenant.chat(script={"text": "a"}).headers
    for kind in ("requests", "tokens"):
        assert headers[f"x-ratelimit-limit-{kind}"] == UNLIMITED
        assert headers[f"x-ratelimit-remaining-{kind}"] == UNLIMITED
        assert headers[f"x-ratelimit-reset-{kind}"] == "0"


def test_headers_count_down(make_tenant, engine):
    free = make_tenant(tier="free")
    first, second = (free.chat("hi", max_tokens=1).headers for _ in range(2))
    assert int(first["x-ratelimit-remaining-requests"]) - int(second["x-ratelimit-remaining-requests"]) in (0, 1)
    assert int(first["x-ratelimit-remaining-tokens"]) > int(second["x-ratelimit-remaining-tokens"]) - 200
    for name in ("limit", "remaining", "reset"):
        assert first[f"x-ratelimit-{name}"] == first[f"x-ratelimit-{name}-requests"]
        assert int(first[f"x-ratelimit-{name}-tokens"]) >= 0


def test_tokens_are_limited_too(make_tenant, engine):
    """600 a minute: a bucket of 900; each call takes its prompt and at most 256 of its max_tokens."""
    small = make_tenant(tier=tier(tokens_per_minute=600, requests_per_minute=6000))
    held = together(5, lambda number: small.chat(script={"text": "a", "first_delay_ms": 1500}, max_tokens=256))
    statuses = sorted(answer.status_code for answer in held)
    assert 200 in statuses and 429 in statuses, statuses
    refused = next(answer for answer in held if answer.status_code == 429)
    expect_error(refused, 429, "rate_limit_exceeded")
    assert int(refused.headers["x-ratelimit-remaining-tokens"]) < 300


def test_the_estimate_is_corrected_when_the_answer_is_there(make_tenant, engine):
    """Ten calls that may say 256 tokens each but say one: without the correction only three would pass."""
    small = make_tenant(tier=tier(tokens_per_minute=600, requests_per_minute=6000))
    statuses = [small.chat(script={"text": "a"}, max_tokens=256).status_code for _ in range(10)]
    assert statuses == [200] * 10


def test_an_answer_longer_than_its_estimate_drives_the_bucket_below_zero(make_tenant, engine):
    usage = {"prompt_tokens": 10, "completion_tokens": 1400, "total_tokens": 1410}
    small = make_tenant(tier=tier(tokens_per_minute=600, requests_per_minute=6000))
    assert small.chat(script={"text": "a", "usage": usage}).status_code == 200
    answer = small.chat(script={"text": "a"})
    error = expect_error(answer, 429, "rate_limit_exceeded")
    assert answer.headers["x-ratelimit-remaining-tokens"] == "0"
    assert 20 < error["retry_after"] <= 120


def test_cached_tokens_count_a_quarter(make_tenant, engine):
    def remaining_after(cached):
        usage = {"prompt_tokens": 4000, "completion_tokens": 1, "total_tokens": 4001, "prompt_tokens_details": {"cached_tokens": cached}}
        tenant = make_tenant(tier=tier(tokens_per_minute=10_000, requests_per_minute=6000))
        tenant.chat(script={"text": "a", "usage": usage}, max_tokens=16)
        return int(tenant.chat(script={"text": "a"}, max_tokens=16).headers["x-ratelimit-remaining-tokens"])

    gained = remaining_after(4000) - remaining_after(0)
    assert 2700 <= gained <= 3300, gained


def test_refused_requests_take_nothing(make_tenant, engine):
    small = make_tenant(tier=tier(requests_per_minute=60, burst_floor=1))
    burst(small, 100)
    for _ in range(20):
        small.chat("hi", max_tokens=1)
    time.sleep(1.2)
    assert small.chat("hi", max_tokens=1).status_code == 200


def test_a_request_that_fails_its_checks_takes_nothing(make_tenant, engine):
    free = make_tenant(tier="free")
    before = int(free.chat("hi", max_tokens=1).headers["x-ratelimit-remaining"])
    for _ in range(30):
        free.chat("hi", temperature=9)
    assert int(free.chat("hi", max_tokens=1).headers["x-ratelimit-remaining"]) >= before - 1


def test_the_burst_floor_helps_small_rates(make_tenant, engine):
    """6 a minute would allow a burst of 9; the floor makes it 0.1 + 20."""
    small = make_tenant(tier=tier(requests_per_minute=6, burst_floor=20))
    admitted, _, _ = burst(small, 30)
    assert 20 <= len(admitted) <= 21


def test_keys_have_their_own_counters(make_tenant, engine):
    small = make_tenant(tier=tier(requests_per_minute=60))
    burst(small, 100)
    other = small.using(key=small.project.key())
    assert other.chat("hi", max_tokens=1).status_code == 200


@pytest.mark.patient
@pytest.mark.limit(240)
def test_a_client_that_obeys_retry_after_succeeds_on_the_first_retry(make_tenant, engine):
    """1,000 trials over 50 keys."""
    small = make_tenant(tier=tier(requests_per_minute=60, burst_floor=1))
    callers = together(50, lambda number: small.using(key=small.project.key()), threads=2)

    def trials(number):
        caller, outcomes = callers[number], []
        while caller.chat("hi", max_tokens=1).status_code == 200:
            pass
        while len(outcomes) < 20:
            answer = caller.chat("hi", max_tokens=1)
            if answer.status_code == 429:
                time.sleep(int(answer.headers["retry-after"]))
                outcomes.append(caller.chat("hi", max_tokens=1).status_code == 200)
        return outcomes

    outcomes = [each for found in together(50, trials) for each in found]
    assert len(outcomes) == 1000
    assert sum(outcomes) >= 990
