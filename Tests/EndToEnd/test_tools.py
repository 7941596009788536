"""Tools: checked, passed through, and called by the model (spec 02 §6)."""

import pytest

from harness.calls import expect_error


def tool(name="f", **more):
    return {"type": "function", "function": {"name": name, **more}}


def nested(depth):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


WEATHER = tool("get_weather-2", description="Says the weather.", parameters={
    "type": "object", "properties": {"city": {"type": "string"}, "user_id": {"type": "integer"}}, "required": ["city"], "$defs": {"x": {}}})
STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize("tools,choice", [
    ([WEATHER], ...), ([WEATHER], "none"), ([WEATHER], "auto"),
    ([WEATHER], {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "get_weather-2"}}]}}),
    ([tool("s", strict=True, parameters=STRICT)], "auto"),
    ([tool(f"tool_{number}") for number in range(128)], ...),
    ([tool("a" * 64)], ...), ([tool(parameters=nested(7))], ...),
], ids=lambda value: repr(value)[:50])
def test_good_tools_reach_the_engine_unchanged(tenant, engine, tools, choice):
    answer = tenant.chat(script={"text": "a"}, tools=tools, tool_choice=choice)
    assert answer.status_code == 200, answer.text
    sent = engine.record(answer.headers["x-request-id"])["body"]
    assert sent["tools"] == tools
    if choice is not ... and not (isinstance(choice, dict) and choice["type"] == "allowed_tools"):
        assert sent["tool_choice"] == choice


@pytest.mark.parametrize("name", ["a.b", "", "a" * 65, "with space", "ü", "a\n", "a/b"])
def test_a_bad_name_is_refused_and_nothing_is_dispatched(tenant, engine, name):
    answer = tenant.chat(script={"text": "a"}, tools=[tool(name)])
    expect_error(answer, 400, "invalid_tool_name", param="tools")
    assert engine.records(answer.headers["x-request-id"]) == []


def test_a_name_is_unique(tenant, engine):
    expect_error(tenant.chat(script={"text": "a"}, tools=[tool("f"), tool("f")]), 400, "invalid_tool_name", param="tools")


def test_more_than_128_tools_are_too_many(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, tools=[tool(f"t{number}") for number in range(129)])
    expect_error(answer, 400, "too_many_tools", param="tools")


@pytest.mark.parametrize("tools", ["x", {}, 5, [5], [None], [{"type": "function"}], [{"function": {"name": "f"}}], [{"type": "function", "function": "f"}]], ids=repr)
def test_tools_of_a_wrong_shape_are_refused(tenant, engine, tools):
    answer = tenant.chat(script={"text": "a"}, tools=tools)
    expect_error(answer, 400, "invalid_value", "missing_required_parameter", "invalid_tool_name", param="tools")
    assert engine.records(answer.headers["x-request-id"]) == []


@pytest.mark.parametrize("kind", ["wizard", "retrieval"])
def test_an_unknown_kind_of_tool_is_refused(tenant, engine, kind):
    answer = tenant.chat(script={"text": "a"}, tools=[{"type": kind, kind: {}}])
    expect_error(answer, 400, "invalid_value", "unsupported_value", "unknown_tool", param="tools")


@pytest.mark.parametrize("function", [
    {"parameters": "x"}, {"parameters": []}, {"parameters": nested(17)},
    {"parameters": {"type": "object", "description": "x" * (64 * 1024)}},
    {"strict": True, "parameters": {**STRICT, "additionalProperties": True}},
    {"strict": True, "parameters": {**STRICT, "required": []}},
    {"strict": True, "parameters": {**STRICT, "properties": {"a": {"type": "object", "properties": {"b": {}}}}}},
], ids=["no object", "a list", "too deep", "too large", "open", "not all required", "open below"])
def test_a_bad_schema_is_refused(tenant, engine, function):
    answer = tenant.chat(script={"text": "a"}, tools=[tool(**function)])
    expect_error(answer, 400, "invalid_function_schema", param="tools")
    assert engine.records(answer.headers["x-request-id"]) == []


def test_all_schemas_together_have_a_limit(tenant, engine):
    tools = [tool(f"t{number}", parameters={"type": "object", "description": "x" * 60_000}) for number in range(10)]
    expect_error(tenant.chat(script={"text": "a"}, tools=tools), 400, "invalid_function_schema", param="tools")


@pytest.mark.parametrize("choice", [
    {"type": "function", "function": {"name": "other"}},
    {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "other"}}]}},
], ids=["function", "allowed tools"])
def test_choosing_an_unknown_tool_is_refused(tenant, engine, choice):
    answer = tenant.chat(script={"text": "a"}, tools=[tool("f")], tool_choice=choice)
    expect_error(answer, 400, "tool_not_found", param="tool_choice")


@pytest.mark.parametrize("choice", ["always", 5, {}, [], {"type": "function"}, {"type": "allowed_tools"}], ids=repr)
def test_a_choice_of_a_wrong_shape_is_refused(tenant, engine, choice):
    answer = tenant.chat(script={"text": "a"}, tools=[tool("f")], tool_choice=choice)
    expect_error(answer, 400, "invalid_value", "missing_required_parameter", param="tool_choice")


def test_required_without_tools_is_refused(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, tool_choice="required")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in ("tool_choice", "tools")


def test_arguments_are_byte_equal_in_a_body_and_a_stream(tenant, engine):
    arguments = '{ "city" : "Zürich \\u00e9", "n": 1.0, "list":[1,2] }'
    said = {"tool_calls": [{"id": "call_x", "name": "f", "arguments": arguments, "pieces": 9}]}
    call = tenant.chat(script=said, tools=[tool()]).json()["choices"][0]["message"]["tool_calls"][0]
    stream = tenant.stream(script=said, tools=[tool()])
    stream.check()
    assert call["function"]["arguments"] == stream.arguments() == arguments


@pytest.mark.parametrize("quirk", ["openai", "llama.cpp", "vllm"])
def test_a_call_of_the_model_ends_the_turn(tenant, engine, quirk):
    body = tenant.chat(script={"tool_calls": [{"id": "call_x", "name": "f"}], "quirk": quirk}, tools=[tool()]).json()
    choice = body["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["type"] == "function"


@pytest.mark.parametrize("streamed", [False, True])
def test_without_parallel_calls_only_the_first_is_kept(tenant, engine, streamed):
    values = {"script": {"tool_calls": [{"name": "f", "arguments": '{"a":1}'}, {"name": "f", "arguments": '{"a":2}'}]}, "tools": [tool()], "parallel_tool_calls": False}
    if streamed:
        stream = tenant.stream(**values)
        stream.check()
        assert (stream.arguments(0), stream.arguments(1)) == ('{"a":1}', "")
    else:
        calls = tenant.chat(**values).json()["choices"][0]["message"]["tool_calls"]
        assert [call["function"]["arguments"] for call in calls] == ['{"a":1}']
