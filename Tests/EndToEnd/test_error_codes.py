"""Each code that the parts built so far can answer is provoked once: status, number, type, X-Request-ID.

Number, type and envelope are compared with harness/codes.py by every call of the tests; this file is the list.
"""

import pytest

from harness.calls import Caller
from harness.codes import CODES
from harness.tenants import Project, tier, unique
from harness.together import together

TOOL = {"type": "function", "function": {"name": "f"}}

# What a body must hold to get the code
BY_BODY = {
    "invalid_messages": {"messages": []}, "unsupported_parameter": {"x_tools": ["x_calculator"]}, "unsupported_combination": {"stream_options": {}},
    "unsupported_content": {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "unsupported_modality": {"modalities": ["audio"]},
    "invalid_tool_name": {"tools": [{"type": "function", "function": {"name": "a.b"}}]}, "invalid_value": {"temperature": 9}, "missing_required_parameter": {"messages": None},
    "invalid_function_schema": {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
    "invalid_tool_sequence": {"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]}, "tool_not_found": {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
    "too_many_tools": {"tools": [{"type": "function", "function": {"name": f"t{number}"}} for number in range(129)]}, "invalid_metadata": {"metadata": {"a": 1}},
    "model_not_found": {"model": "no-such"},
}
BY_SCRIPT = {
    "invalid_request": {"status": 400}, "context_length_exceeded": {"status": 400, "error": {"message": "too long", "code": "context_length_exceeded"}}, "upstream_error": {"status": 401}, "capacity_exceeded": {"status": 429}, "upstream_invalid_response": {"raw_body": "{"},
}
IN_STREAM = {"stream_interrupted": {"text": "a b", "finish_reason": None}}


def code_of(answer) -> tuple:
    return answer.json()["error"]["code"], answer.status_code


@pytest.mark.parametrize("code", BY_BODY)
def test_a_body_provokes(tenant, engine, code):
    assert code_of(tenant.chat(script={"text": "a"}, **BY_BODY[code])) == (code, CODES[code][0])


@pytest.mark.parametrize("code", BY_SCRIPT)
def test_an_engine_provokes(tenant, engine, code):
    assert code_of(tenant.chat(script=BY_SCRIPT[code])) == (code, CODES[code][0])


@pytest.mark.parametrize("code", IN_STREAM)
def test_a_stream_provokes(tenant, engine, code):
    tenant.stream(script=IN_STREAM[code]).check_broken((code,))


def test_idle_streams_provoke_their_code(make_tenant, engine):
    make_tenant(tier=tier(idle_stream_s=1)).stream(script={"text": "a b", "stall_after_chunks": 2}).check_broken(("stream_idle_timeout",))


def test_a_timeout_provokes_its_code(make_tenant, engine):
    assert code_of(make_tenant(tier=tier(request_timeout_s=1)).chat(script={"never_answer": True})) == ("gateway_timeout", 504)


@pytest.mark.parametrize("content,code", [(b"{", "json_parse_error"), (b"[" * 1000 + b"]" * 1000, "json_too_deep"), (b" " * (21 << 20), "request_too_large")], ids=["{", "deep", "large"])
def test_bytes_provoke(tenant, engine, content, code):
    assert code_of(tenant.chat_raw(content)) == (code, CODES[code][0])


def test_keys_provoke_their_codes(tenant, other_project, engine):
    project = tenant.project
    own, path = f"/{project.slug}/v1/models", f"/{project.slug}/talk/v1/chat/completions"
    project.endpoint(engine.url, slug="elsewhere")
    found = [
        code_of(tenant.caller.get(own, key=None)),
        code_of(tenant.caller.get(own, key=project.expired_key().key)),
        code_of(tenant.caller.get(own, key=project.key("management").key)),
        code_of(tenant.caller.get(own, key=other_project.key().key)),
        code_of(tenant.caller.post(path, tenant.body(), key=project.key(endpoint="elsewhere").key)),
    ]
    assert found == [("authentication_error", 401), ("api_key_expired", 401), ("scope_insufficient", 403), ("cross_project_access", 403), ("endpoint_mismatch", 403)]


def test_paths_provoke_their_codes(make_tenant, tenant, engine):
    slug = tenant.project.slug
    embedding = make_tenant(tenant.project, task_mode="embed")
    asleep = make_tenant(tenant.project, status="inactive")
    found = [
        code_of(tenant.caller.get("/v1/nothing")), code_of(tenant.caller.get("/no-such-project/v1/models")), code_of(tenant.caller.get(f"/{slug}/no-such/v1/models")),
        code_of(tenant.caller.get("/v1/chat/completions")), code_of(tenant.caller.call("POST", "/v1/chat/completions", content=b"x", headers={"Content-Type": "text/plain"})),
        code_of(embedding.chat("hi")), code_of(asleep.chat("hi", path=f"/{slug}/{asleep.endpoint.slug}/v1/chat/completions")),
    ]
    assert found == [
        ("not_found", 404), ("project_not_found", 404), ("endpoint_not_found", 404), ("method_not_allowed", 405), ("unsupported_media_type", 415),
        ("task_mode_mismatch", 400), ("endpoint_inactive", 503),
    ]


def test_webhooks_provoke_their_codes(stack, tenant):
    owner = Caller(stack.origin, tenant.project.key("management").key)
    assert code_of(owner.post("/v1/webhooks", {"url": "https://hooks.example.com", "events": ["none"]})) == ("invalid_event_type", 400)
    assert code_of(owner.get("/v1/webhooks/whk_" + "0" * 24)) == ("webhook_not_found", 404)


def test_an_empty_balance_provokes_its_code(make_tenant, engine):
    assert code_of(make_tenant(Project.create("poor", credit=None)).chat("hi")) == ("insufficient_credits", 402)


def test_limits_provoke_their_codes(make_tenant, engine):
    rated = make_tenant(tier=tier(requests_per_minute=1, burst_floor=1))
    codes = {code_of(answer)[0] for answer in (rated.chat("hi") for _ in range(6)) if answer.status_code != 200}
    assert codes == {"rate_limit_exceeded"}
    single = make_tenant(tier=tier(concurrent=1))
    answers = together(2, lambda number: single.chat(script={"text": "a", "first_delay_ms": 1000}))
    assert [code_of(answer)[0] for answer in answers if answer.status_code != 200] == ["concurrency_exceeded"]


def test_idempotency_keys_provoke_their_codes(tenant, engine):
    header = {"Idempotency-Key": unique("codes")}
    slow = {"script": {"text": "a", "first_delay_ms": 700}, "headers": header}
    answers = together(2, lambda number: tenant.chat(**slow))
    assert [code_of(answer) for answer in answers if answer.status_code != 200] == [("idempotency_in_progress", 409)]
    assert code_of(tenant.chat("other", headers=header)) == ("idempotency_conflict", 409)
