"""What one key may use in a sliding window (spec 08 §2.3)."""

import time

import pytest

from harness.calls import Caller, expect_error
from harness.together import together

KEYS = "/v1/management/api-keys"


@pytest.fixture(scope="module")
def admin(tenant, stack) -> Caller:
    return Caller(stack.origin, tenant.project.key("management").key)


def key_with(admin, **quota) -> dict:
    answer = admin.send("POST", KEYS, {"name": "limited", "scopes": ["inference"], "quota": quota})
    assert answer.status_code == 201, answer.text
    return answer.json()


def chat(tenant, key, content="hi", **values):
    return tenant.caller.post("/v1/chat/completions", tenant.body(content, max_tokens=1, **values), key=key["key"])


def test_two_gateways_together_let_no_more_through_than_the_quota(tenant, engine, admin):
    key = key_with(admin, requests=20, window_seconds=600)
    answers = together(60, lambda number: chat(tenant, key), threads=8)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == 40
    for answer in refused:
        error = expect_error(answer, 429, "quota_exceeded")
        assert error["retry_strategy"]["type"] == "none" and 500 < error["retry_after"] <= 611
        assert answer.headers["x-should-retry"] == "false" and answer.headers["x-ratelimit-remaining-requests"] == "0"
        assert engine.records(answer.headers["x-request-id"]) == []


def test_a_quota_is_of_the_key_and_not_of_the_endpoint(tenant, engine, admin):
    key = key_with(admin, requests=2, window_seconds=600)
    other = tenant.using(tenant.project.endpoint(engine.url))
    assert [chat(tenant, key).status_code, chat(other, key).status_code, chat(tenant, key).status_code, chat(other, key).status_code] == [200, 200, 429, 429]
    assert tenant.chat("hi").status_code == 200
    # Other routes than inference go on.
    assert tenant.caller.get("/v1/models", key=key["key"]).status_code == 200


def test_tokens_are_counted_as_they_were_used(tenant, engine, admin):
    key = key_with(admin, requests=1000, window_seconds=600, tokens=1000)
    assert chat(tenant, key, None, script={"text": "a", "usage": {"prompt_tokens": 700, "completion_tokens": 400, "total_tokens": 1100}}).status_code == 200
    expect_error(chat(tenant, key), 429, "quota_exceeded")


@pytest.mark.patient
@pytest.mark.limit(180)
def test_the_window_slides(tenant, engine, admin):
    key = key_with(admin, requests=2, window_seconds=60)
    assert [chat(tenant, key).status_code for _ in range(3)] == [200, 200, 429]
    wait = int(chat(tenant, key).headers["retry-after"])
    assert 50 <= wait <= 61
    time.sleep(wait)
    assert chat(tenant, key).status_code == 200


def test_a_quota_is_set_and_cleared_within_a_second(tenant, engine, admin):
    key = admin.send("POST", KEYS, {"name": "n", "scopes": ["inference"]}).json()
    assert [chat(tenant, key).status_code for _ in range(3)] == [200] * 3
    quota = {"requests": 1, "window_seconds": 600, "tokens": None}
    assert admin.send("PUT", f"{KEYS}/{key['id']}/quota", quota).json()["quota"] == quota
    time.sleep(1.1)
    assert [chat(tenant, key).status_code for _ in range(3)] == [200, 429, 429]
    assert admin.send("PUT", f"{KEYS}/{key['id']}/quota", None).json()["quota"] is None
    time.sleep(1.1)
    assert [chat(tenant, key).status_code for _ in range(3)] == [200] * 3
