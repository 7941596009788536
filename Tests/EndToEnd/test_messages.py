"""What messages may hold (spec 02 §1, §2 and §6)."""

import pytest

from harness.calls import expect_error, messages, script

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ANSWER = {"role": "tool", "tool_call_id": "call_1", "content": "42"}
USER = messages(script(text="ok"))[0]


def send(tenant, value):
    return tenant.caller.post("/v1/chat/completions", {"model": tenant.endpoint.slug, "messages": value})


def test_no_messages_at_all_is_a_missing_parameter(tenant, engine):
    answer = tenant.caller.post("/v1/chat/completions", {"model": tenant.endpoint.slug})
    expect_error(answer, 400, "missing_required_parameter", param="messages")


def test_an_empty_list_is_refused(tenant, engine):
    expect_error(send(tenant, []), 400, "invalid_messages", param="messages")


def test_2048_messages_pass_and_one_more_does_not(tenant, engine):
    many = [{"role": "user", "content": "x"}] * 2047 + [USER]
    assert send(tenant, many).status_code == 200
    expect_error(send(tenant, [USER, *many]), 400, "invalid_messages", param="messages")


@pytest.mark.parametrize("value", [
    "hello", {}, 5, [5], [None], ["hi"], [[]],
    [{"content": "no role"}], [{"role": "wizard", "content": "x"}], [{"role": 5, "content": "x"}], [{"role": "User", "content": "x"}],
    [{"role": "user"}], [{"role": "user", "content": 5}], [{"role": "user", "content": None}], [{"role": "user", "content": {}}],
    [{"role": "user", "content": ["text"]}], [{"role": "user", "content": [{"text": "no type"}]}], [{"role": "user", "content": [{"type": "text", "text": 5}]}],
    [{"role": "user", "content": [{"type": "text"}]}], [{"role": "system", "content": 1}], [{"role": "assistant", "content": 1}],
    [{"role": "assistant", "tool_calls": "x"}], [{"role": "user", "content": "x", "name": 5}],
], ids=lambda value: repr(value)[:60])
def test_messages_of_a_wrong_shape_are_refused(tenant, engine, value):
    answer = send(tenant, value)
    expect_error(answer, 400, "invalid_messages", "invalid_value", "missing_required_parameter", param="messages")
    assert engine.records(answer.headers["x-request-id"]) == []


def test_an_unknown_kind_of_content_is_refused(tenant, engine):
    answer = send(tenant, [{"role": "user", "content": [{"type": "hologram", "hologram": {}}]}])
    expect_error(answer, 400, "unsupported_content", param="messages")
    assert engine.records(answer.headers["x-request-id"]) == []


def test_a_file_that_is_not_ours_is_refused(tenant, engine):
    answer = send(tenant, [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-000000000000000000000000"}}]}])
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["code"] in ("unsupported_content", "file_not_found")


def test_text_parts_reach_the_engine_unchanged(tenant, engine):
    parts = [{"type": "text", "text": script(text="seen")}]
    answer = send(tenant, [{"role": "user", "content": parts}])
    assert answer.json()["choices"][0]["message"]["content"] == "seen"
    assert engine.record(answer.headers["x-request-id"])["body"]["messages"][0]["content"] == parts


def test_a_text_over_ten_mebibytes_is_refused(tenant, engine):
    answer = send(tenant, messages("x" * (10 * 1024 * 1024 + 1)))
    expect_error(answer, 413, "request_too_large")


def test_a_round_trip_of_a_tool_call_reaches_the_engine_unchanged(tenant, engine):
    history = [USER, ASKING, ANSWER]
    answer = send(tenant, history)
    assert answer.status_code == 200, answer.text
    assert engine.record(answer.headers["x-request-id"])["body"]["messages"] == history


@pytest.mark.parametrize("history", [
    [USER, {**ANSWER}],
    [USER, ASKING, {**ANSWER, "tool_call_id": "call_other"}],
    [USER, ASKING, {"role": "tool", "content": "42"}],
    [USER, ASKING, USER],
    [USER, ASKING, ANSWER, ANSWER],
    [USER, {**ASKING, "tool_calls": [CALL, {**CALL, "id": "call_2"}]}, ANSWER, USER],
], ids=["no call before", "unknown id", "no id", "not answered", "answered twice", "one of two answered"])
def test_a_broken_round_trip_is_refused(tenant, engine, history):
    answer = send(tenant, history)
    expect_error(answer, 400, "invalid_tool_sequence", "invalid_messages", param="messages")
    assert engine.records(answer.headers["x-request-id"]) == []


@pytest.mark.parametrize("member", ["foo", "cache_control", "reasoning_content"])
def test_members_of_messages_that_we_do_not_know_are_kept(tenant, engine, member):
    sent = [{**USER, member: {"a": [1, 2.5, None]}}] if member != "reasoning_content" else [{"role": "assistant", "content": "x", member: "hm"}, USER]
    answer = send(tenant, sent)
    assert engine.record(answer.headers["x-request-id"])["body"]["messages"] == sent


def asking(**function) -> dict:
    return {**ASKING, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{}", **function}}]}


@pytest.mark.parametrize("arguments", ["not json", '{"a":', '{"a":1} x', "{'a':1}", '{"a":NaN}', "[" * 100])
def test_arguments_of_past_calls_must_be_json(tenant, engine, arguments):
    answer = send(tenant, [USER, asking(arguments=arguments), ANSWER, USER])
    expect_error(answer, 400, "invalid_messages", param="messages[1].tool_calls[0].function.arguments")
    assert engine.records(answer.headers["x-request-id"]) == []
    old = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": arguments}}
    answer = send(tenant, [USER, old, {"role": "function", "name": "f", "content": "42"}, USER])
    expect_error(answer, 400, "invalid_messages", param="messages[1].function_call.arguments")
    assert engine.records(answer.headers["x-request-id"]) == []


@pytest.mark.parametrize("arguments", ["{}", "", ' {"a": [1, "ü"]}\n'], ids=repr)
def test_arguments_of_past_calls_reach_the_engine_as_they_are(tenant, engine, arguments):
    answer = send(tenant, [USER, asking(arguments=arguments), ANSWER, USER])
    assert answer.status_code == 200, answer.text
    sent = engine.record(answer.headers["x-request-id"])["body"]["messages"][1]
    assert sent["tool_calls"][0]["function"]["arguments"] == arguments


@pytest.mark.parametrize("history,param", [
    ([USER, ANSWER, USER], "messages[1].tool_call_id"), ([USER, ASKING, USER], "messages[2]"), ([USER, ASKING, ANSWER, ANSWER, USER], "messages[3].tool_call_id"),
    ([USER, ASKING, {**ANSWER, "tool_call_id": "call_2"}, USER], "messages[2].tool_call_id"), ([USER, ASKING, ASKING], "messages[2]"),
    ([USER, ASKING, {"role": "tool", "content": "42"}], "messages[2].tool_call_id"),
    ([USER, {**ASKING, "tool_calls": [CALL, CALL]}], "messages[1].tool_calls[1].id"),
], ids=["no call", "no answer", "answered twice", "another call", "called again", "no id", "the same id"])
def test_a_sequence_out_of_order_names_its_place_and_reaches_nothing(tenant, engine, history, param):
    answer = send(tenant, history)
    error = expect_error(answer, 400, "invalid_tool_sequence")
    assert error["param"] == param
    assert engine.records(answer.headers["x-request-id"]) == []
