"""What happens to fields that we do not act on: passed through, dropped, or refused (spec 02 §1)."""

import json

import pytest

from harness.calls import expect_error

BLOCKED = ["cache_salt", "kv_transfer_params", "lora_request", "priority", "request_id"]

NOT_BUILT = {
    "x_conversation": "conv_000000000000000000000000", "x_memory": True, "x_tools": ["x_calculator"], "x_approvals": [{"approval_id": "apr_000000000000000000000000", "decision": "approve"}],
    "web_search_options": {},
}


@pytest.mark.parametrize("name", BLOCKED)
@pytest.mark.parametrize("value", ["salt", {"a": 1}, 5])
def test_a_blocked_field_is_dropped(tenant, engine, name, value):
    answer = tenant.chat(script={"text": "a"}, **{name: value})
    assert answer.status_code == 200
    assert engine.record(answer.headers["x-request-id"])["body"].get(name) != value


@pytest.mark.parametrize("name", ["x_something", "x_", "x_chat"])
def test_our_own_prefix_is_never_forwarded(tenant, engine, name):
    answer = tenant.chat(script={"text": "a"}, **{name: {"a": 1}})
    assert answer.status_code == 200
    assert name not in engine.record(answer.headers["x-request-id"])["body"]


@pytest.mark.parametrize("name,value", [
    ("top_k", 40), ("guided_json", {"type": "object", "user_id": [1, 2.5, None, True]}), ("chat_template_kwargs", {"enable_thinking": False}),
    ("xylophone", 1), ("verbosity", "low"), ("ünïcode", "✓"), ("empty", {}), ("min_p", 0.05), ("deep", [[[[[[1]]]]]]),
])
def test_an_unknown_field_is_forwarded_unchanged(tenant, engine, name, value):
    answer = tenant.chat(script={"text": "a"}, **{name: value})
    assert engine.record(answer.headers["x-request-id"])["body"][name] == value


def test_numbers_and_escapes_of_unknown_fields_keep_their_value(tenant, engine):
    raw = b'{"foo":[1.0,1e2,-0,0.1,9007199254740993,-9223372036854775808,"\\u00e9\\ud83d\\ude00\\/\\"\\\\"],'
    answer = tenant.chat_raw(raw + b'"model":"talk","messages":[{"role":"user","content":"hi"}]}')
    sent = engine.record(answer.headers["x-request-id"])["body"]["foo"]
    assert sent == [1.0, 100.0, 0, 0.1, 9007199254740993, -9223372036854775808, 'é😀/"\\']


def test_names_repeated_below_the_top_level_are_passed_on(tenant, engine):
    raw = b'{"model":"talk","messages":[{"role":"user","content":"hi"}],"foo":{"a":1,"a":2}}'
    assert tenant.chat_raw(raw).status_code == 200


@pytest.mark.parametrize("name", NOT_BUILT)
def test_a_field_whose_feature_is_not_built_is_refused(tenant, engine, name):
    answer = tenant.chat(script={"text": "a"}, **{name: NOT_BUILT[name]})
    expect_error(answer, 400, "unsupported_parameter", param=name)
    assert engine.records(answer.headers["x-request-id"]) == []


@pytest.mark.parametrize("name", NOT_BUILT)
def test_null_for_such_a_field_is_the_same_as_absent(tenant, engine, name):
    assert tenant.chat(script={"text": "a"}, **{name: None}).status_code == 200


def test_a_prediction_is_forwarded(tenant, engine):
    prediction = {"type": "content", "content": "the old text"}
    answer = tenant.chat(script={"text": "a"}, prediction=prediction)
    assert engine.record(answer.headers["x-request-id"])["body"]["prediction"] == prediction


@pytest.mark.parametrize("name,value", [("functions", [{"name": "f", "parameters": {}}]), ("function_call", "auto")])
def test_legacy_functions_are_mapped_or_refused_but_never_ignored(tenant, engine, name, value):
    more = {"functions": [{"name": "f", "parameters": {}}]} if name == "function_call" else {}
    answer = tenant.chat(script={"text": "a"}, **more, **{name: value})
    if answer.status_code == 400:
        assert expect_error(answer, 400, "unsupported_parameter")["param"] in ("functions", "function_call")
        assert engine.records(answer.headers["x-request-id"]) == []
    else:
        sent = engine.record(answer.headers["x-request-id"])["body"]
        assert sent["tools"] == [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def test_unknown_fields_pass_in_streams_too(tenant, engine):
    stream = tenant.stream(script={"text": "a"}, top_k=7, cache_salt="mine")
    sent = engine.record(stream.request_id)["body"]
    assert sent["top_k"] == 7 and sent.get("cache_salt") != "mine"


def test_a_clients_event_option_is_ours_alone(tenant, engine):
    stream = tenant.stream(script={"text": "a"}, stream_options={"include_usage": False})
    stream.check(include_usage=False)
    assert json.dumps(engine.record(stream.request_id)["body"]["stream_options"]) == '{"include_usage": true}'
