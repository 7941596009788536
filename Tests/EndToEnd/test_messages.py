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
