"""The first failing check wins (spec 02 §1, 01 §4): each request here breaks two rules."""

import pytest

from harness.calls import expect_error, messages
from harness.raw import RawCall

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def embedding(tenant, engines):
    return tenant.using(tenant.project.endpoint(engines[0].url, slug="embedding", task_mode="embed"))


@pytest.fixture(scope="module")
def inactive(tenant, engines):
    return tenant.using(tenant.project.endpoint(engines[0].url, slug="sleeping", status="inactive"))


def test_size_goes_before_the_key(stack):
    call = RawCall(stack.http_address)
    call.post(CHAT, b"", "xero_bad_key", 21 * 1024 * 1024).read_until(b"}}")
    assert call.status == 413
    call.close()


def test_the_key_goes_before_the_json(tenant):
    expect_error(tenant.chat_raw(b"{", key="xero_bad_key"), 401, "authentication_error")


def test_expiry_goes_before_the_project(tenant, other_project):
    expired = tenant.using(key=other_project.expired_key())
    expect_error(expired.chat(script={}, path=f"/{tenant.project.slug}/v1/chat/completions"), 401, "api_key_expired")


def test_the_project_goes_before_the_scope(tenant, other_project):
    stranger = tenant.using(key=other_project.key("management"))
    expect_error(stranger.chat(script={}, path=f"/{tenant.project.slug}/v1/chat/completions"), 403, "cross_project_access")


def test_the_scope_goes_before_the_pin_and_the_json(tenant):
    pinned = tenant.using(key=tenant.project.key("management", endpoint="talk"))
    answer = pinned.caller.call("POST", f"/{tenant.project.slug}/other/v1/chat/completions", content=b"{", headers={"Content-Type": "application/json"})
    expect_error(answer, 403, "scope_insufficient")


def test_the_json_goes_before_the_endpoint(tenant):
    answer = tenant.caller.call("POST", f"/{tenant.project.slug}/no-such/v1/chat/completions", content=b"{", headers={"Content-Type": "application/json"})
    expect_error(answer, 400, "json_parse_error")


def test_the_endpoint_goes_before_the_schema(tenant):
    expect_error(tenant.chat(script={}, model="no-such", temperature=9), 404, "model_not_found")
    expect_error(tenant.chat(script={}, path=f"/{tenant.project.slug}/no-such/v1/chat/completions", temperature=9), 404, "endpoint_not_found")


def test_an_inactive_endpoint_goes_before_the_schema(inactive):
    answer = inactive.chat(script={}, path=f"/{inactive.project.slug}/sleeping/v1/chat/completions", temperature=9)
    expect_error(answer, 503, "endpoint_inactive")


def test_the_task_mode_goes_before_the_schema(embedding):
    answer = embedding.chat(script={}, path=f"/{embedding.project.slug}/embedding/v1/chat/completions", temperature=9)
    expect_error(answer, 400, "task_mode_mismatch")


def test_the_schema_goes_before_the_rates(make_tenant, engine):
    from harness.tenants import tier

    small = make_tenant(tier=tier(requests_per_minute=1, burst_floor=1))
    while small.chat("hi", max_tokens=1).status_code == 200:
        pass
    expect_error(small.chat("hi", temperature=9), 400, "invalid_value")


def test_a_path_that_is_not_there_needs_no_key(tenant):
    """It has nothing to protect; with a key the answer is the same."""
    expect_error(tenant.caller.get("/v1/no-such-thing"), 404, "not_found")


@pytest.mark.parametrize("model,status,code", [(..., 400, "missing_required_parameter"), ("", 400, "invalid_value"), (None, 400, "missing_required_parameter"), (5, 400, "invalid_value"), ([], 400, "invalid_value")], ids=repr)
def test_the_model_is_needed_on_every_family(tenant, engine, model, status, code):
    for path in (CHAT, f"/{tenant.project.slug}/v1/chat/completions", f"/{tenant.project.slug}/talk/v1/chat/completions"):
        body = {"messages": messages("hi"), **({} if model is ... else {"model": model})}
        answer = tenant.caller.post(path, body)
        codes = {code, "missing_required_parameter"} if model == "" else {code}
        expect_error(answer, status, *codes, param="model")
        assert engine.records(answer.headers["x-request-id"]) == []
