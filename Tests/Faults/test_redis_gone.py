"""Without Redis inference goes on; limits are kept per process (spec 01 §2)."""

import time

import pytest

from harness.calls import Caller, expect_error
from harness.load import Load
from harness.tenants import Key
from harness.together import together

KEYS = "/v1/management/api-keys"


@pytest.fixture
def no_redis(victim, processes):
    processes.stop("redis")
    yield
    processes.start("redis")


@pytest.mark.short
@pytest.mark.limit(300)
def test_inference_goes_on_while_redis_is_gone_and_when_it_is_back(victim, processes, usage):
    with Load(victim) as load:
        time.sleep(1)
        processes.stop("redis")
        time.sleep(4)
        processes.start("redis")
        time.sleep(2)
    failed = [outcome for outcome in load.outcomes if outcome.kind != "answered"]
    assert failed == [], failed[:5]
    load.check_rows(usage)


@pytest.mark.short
@pytest.mark.limit(180)
def test_rates_are_kept_per_process_without_redis(make_tenant, no_redis):
    """Each of the processes has its share of 96; together they admit no more than one would."""
    free = make_tenant(tier="free")
    started = time.monotonic()
    answers = together(130, lambda number: free.chat("hi", max_tokens=1), threads=2)
    admitted = [answer for answer in answers if answer.status_code == 200]
    assert 40 <= len(admitted) <= 96 + (time.monotonic() - started) * 64 / 60 + 2
    for answer in answers:
        if answer.status_code != 200:
            expect_error(answer, 429, "rate_limit_exceeded", "concurrency_exceeded")


@pytest.mark.short
@pytest.mark.limit(180)
def test_a_revoked_key_ends_within_a_second_without_redis(victim, no_redis):
    revoked = victim.using(key=victim.project.key())
    assert {revoked.chat("hi").status_code for _ in range(10)} == {200}
    revoked.key.revoke()
    time.sleep(1.1)
    for _ in range(20):
        expect_error(revoked.chat("hi"), 401, "authentication_error")


@pytest.mark.short
@pytest.mark.limit(180)
def test_keys_are_managed_and_changes_act_within_a_second_without_redis(victim, no_redis, stack):
    admin = Caller(stack.origin, victim.project.key("management").key)
    made = admin.send("POST", KEYS, {"name": "n", "scopes": ["inference"]}).json()
    key, path = victim.using(key=Key(made["id"], made["key"])), f"{KEYS}/{made['id']}"
    assert {key.chat("hi").status_code for _ in range(10)} == {200}
    rotated = admin.send("POST", f"{path}/rotate", {"grace_seconds": 0}).json()
    time.sleep(1.1)
    for _ in range(20):
        expect_error(key.chat("hi"), 401, "api_key_expired")
    key = victim.using(key=Key(made["id"], rotated["key"]))
    assert {key.chat("hi").status_code for _ in range(10)} == {200}
    assert admin.send("PUT", f"{path}/ip-filter", {"allow": ["10.0.0.0/8"]}).status_code == 200
    time.sleep(1.1)
    for _ in range(20):
        expect_error(key.chat("hi"), 403, "ip_not_allowed")


@pytest.mark.short
def test_an_emptied_redis_loses_nothing(victim, usage):
    import os

    import redis

    with Load(victim) as load:
        time.sleep(1)
        redis.Redis(unix_socket_path=os.environ["XEROTIER_REDIS_SOCKET"]).flushall()
        time.sleep(1)
    assert [outcome for outcome in load.outcomes if outcome.kind != "answered"] == []
    load.check_rows(usage)
