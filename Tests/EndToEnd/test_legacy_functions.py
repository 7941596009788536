"""`functions` and `function_call`, which were there before tools (spec 02 §6): mapped to tools and back."""

import pytest

from harness.calls import expect_error, messages, script

WEATHER = {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
CALL = {"name": "weather", "arguments": '{"city":"Bern"}'}
SAID = {"tool_calls": [{**CALL, "pieces": 3}, {"name": "weather", "arguments": "{}"}]}


@pytest.mark.parametrize("choice,sent_choice", [
    (..., ...), ("auto", "auto"), ("none", "none"), ({"name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
], ids=["absent", "auto", "none", "named"])
def test_functions_reach_the_engine_as_tools(project, tenant, engine, engines, choice, sent_choice):
    # An engine that obeys a named choice by itself: others get a guide instead of tools.
    obeying = tenant.using(project.endpoint(engines[0].url, slug="obeying", engine="openai"))
    answer = obeying.chat(script=SAID, functions=[WEATHER], function_call=choice)
    sent = engine.record(answer.headers["x-request-id"])["body"]
    assert "functions" not in sent and "function_call" not in sent
    assert sent["tools"] == [{"type": "function", "function": WEATHER}]
    assert sent.get("tool_choice", ...) == sent_choice
    assert sent["parallel_tool_calls"] is False


def test_a_call_is_answered_in_the_old_form(tenant, engine):
    choice = tenant.chat(script=SAID, functions=[WEATHER]).json()["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == CALL
    assert "tool_calls" not in choice["message"] and choice["message"]["content"] is None


def test_a_streamed_call_is_in_the_old_form(tenant, engine):
    stream = tenant.stream(script=SAID, functions=[WEATHER])
    stream.check()
    deltas = [delta["function_call"] for delta in stream.deltas() if "function_call" in delta]
    assert [delta.get("name") for delta in deltas] == ["weather"] + [None] * (len(deltas) - 1)
    assert "".join(delta["arguments"] for delta in deltas) == CALL["arguments"]
    assert not any("tool_calls" in delta for delta in stream.deltas())
    assert stream.finish_reasons() == {0: "function_call"}


def test_text_is_answered_as_ever(tenant, engine):
    choice = tenant.chat(script={"text": "no call"}, functions=[WEATHER]).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("no call", "stop")
    assert "function_call" not in choice["message"]


def test_a_conversation_of_old_reaches_the_engine_as_calls_and_answers_of_tools(tenant, engine):
    history = [
        *messages("weather?"), {"role": "assistant", "content": None, "function_call": CALL}, {"role": "function", "name": "weather", "content": "sunny"}, *messages(script(text="ok")),
    ]
    answer = tenant.caller.post("/v1/chat/completions", {"model": tenant.endpoint.slug, "messages": history, "functions": [WEATHER]})
    assert answer.status_code == 200, answer.text
    sent = engine.record(answer.headers["x-request-id"])["body"]["messages"]
    [call] = sent[1]["tool_calls"]
    assert call["type"] == "function" and call["function"] == CALL
    assert sent[2] == {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}


def test_the_sdk_reads_it(client, tenant, engine):
    answer = client.chat.completions.create(model=tenant.endpoint.slug, messages=messages(script(**SAID)), functions=[WEATHER], function_call="auto")
    assert answer.choices[0].message.function_call.arguments == CALL["arguments"]


@pytest.mark.parametrize("values,code,param", [
    ({"functions": []}, "invalid_value", "functions"), ({"functions": "x"}, "invalid_value", "functions"), ({"functions": [5]}, "invalid_value", "functions[0]"),
    ({"functions": [{"name": "a.b"}]}, "invalid_tool_name", "functions[0].name"), ({"functions": [WEATHER, WEATHER]}, "invalid_tool_name", "functions[1].name"),
    ({"functions": [{"name": "f", "parameters": []}]}, "invalid_function_schema", "functions[0].parameters"),
    ({"functions": [{"name": f"f{number}"} for number in range(129)]}, "too_many_tools", "functions"),
    ({"functions": [WEATHER], "function_call": {"name": "other"}}, "tool_not_found", "function_call.name"),
    ({"functions": [WEATHER], "function_call": "required"}, "invalid_value", "function_call"), ({"function_call": "auto"}, "invalid_value", "function_call"),
    ({"functions": [WEATHER], "tools": [{"type": "function", "function": WEATHER}]}, "unsupported_combination", "functions"),
], ids=lambda value: str(value)[:50])
def test_what_is_wrong_is_refused_in_the_words_of_the_request(tenant, engine, usage, values, code, param):
    answer = tenant.chat(script={"text": "a"}, **values)
    error = expect_error(answer, 400, code)
    assert error["param"] == param
    assert engine.records(answer.headers["x-request-id"]) == []
    usage.none(answer.headers["x-request-id"])


@pytest.mark.parametrize("history", [
    [{"role": "function", "name": "weather", "content": "sunny"}],
    [{"role": "assistant", "content": None, "function_call": CALL}, {"role": "user", "content": "and?"}],
    [{"role": "assistant", "content": None, "function_call": CALL}, {"role": "function", "name": "weather", "content": "1"}, {"role": "function", "name": "weather", "content": "2"}],
    [{"role": "assistant", "content": None, "function_call": {"name": "weather"}}], [{"role": "function", "content": "1"}],
], ids=["no call before", "not answered", "answered twice", "no arguments", "no name"])
def test_a_broken_conversation_is_refused(tenant, engine, history):
    answer = tenant.caller.post("/v1/chat/completions", {"model": tenant.endpoint.slug, "messages": [*messages(script(text="ok")), *history]})
    expect_error(answer, 400, "invalid_tool_sequence", "invalid_messages", param="messages")
    assert engine.records(answer.headers["x-request-id"]) == []
