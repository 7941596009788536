"""The small real model of the development stack: structure, not facts."""

import os

import pytest

from harness.calls import messages


@pytest.fixture(scope="module")
def real(make_tenant):
    url = os.environ.get("XEROTIER_ENGINE_URL")
    if not url:
        pytest.skip("XEROTIER_ENGINE_URL is not set: this stack runs without the real model")
    import httpx

    name = httpx.get(url.removesuffix("/").removesuffix("/v1") + "/v1/models", timeout=30).json()["data"][0]["id"]
    return make_tenant(upstream_url=url, upstream_model=name, model="small-model", context_length=2048, max_concurrent=4)


def test_a_body_and_a_stream_say_the_same_with_one_seed(real):
    values = {"seed": 7, "temperature": 0, "max_tokens": 24}
    body = real.chat("Say hello to the world.", **values, timeout=120).json()
    stream = real.stream("Say hello to the world.", **values, timeout=120, stream_options={"include_usage": True})
    stream.check(include_usage=True)
    assert stream.text() == body["choices"][0]["message"]["content"] != ""
    assert stream.usage["completion_tokens"] == body["usage"]["completion_tokens"]


def test_usage_is_what_the_engine_counted(real, usage):
    answer = real.chat("Count to three.", max_tokens=8, timeout=120)
    row = usage.one(answer.headers["x-request-id"])
    assert row["output_tokens"] == answer.json()["usage"]["completion_tokens"] <= 8
    assert row["input_tokens"] > 3


def test_a_schema_is_obeyed(real):
    import json

    schema = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": {
        "type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "big": {"type": "boolean"}}, "required": ["name", "big"], "additionalProperties": False}}}
    text = real.chat("Describe a city.", response_format=schema, max_tokens=60, timeout=120).json()["choices"][0]["message"]["content"]
    assert set(json.loads(text)) == {"name", "big"}


def tools_of_a_small_model():
    def tool(name, **properties):
        parameters = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
        return {"type": "function", "function": {"name": name, "description": f"Says the {name}.", "parameters": parameters}}

    short = {"type": "string", "maxLength": 12}
    return [tool("weather", city=short, unit={"enum": ["c", "f"]}), tool("time", zone=short)]


@pytest.mark.parametrize("choice", [
    "required", {"type": "function", "function": {"name": "time"}},
    {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]}},
], ids=["required", "named", "allowed tools"])
def test_a_tool_is_called_though_the_model_knows_of_none(real, choice):
    import json

    import jsonschema

    tools = tools_of_a_small_model()
    values = {"tools": tools, "tool_choice": choice, "parallel_tool_calls": False, "seed": 7, "temperature": 0, "max_tokens": 90, "timeout": 120}
    body = real.chat("What is the weather in Bern?", **values).json()["choices"][0]
    assert body["finish_reason"] == "tool_calls"
    [call] = body["message"]["tool_calls"]
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    jsonschema.validate(json.loads(call["function"]["arguments"]), schemas[call["function"]["name"]])
    if choice != "required":
        assert call["function"]["name"] == ("time" if choice["type"] == "function" else "weather")
    stream = real.stream("What is the weather in Bern?", **values)
    stream.check()
    # The same name, and arguments of its own: the engine's numbers depend a little on what it has cached.
    [name] = [piece["function"]["name"] for delta in stream.deltas() for piece in delta.get("tool_calls", []) if "name" in piece["function"]]
    jsonschema.validate(json.loads(stream.arguments()), schemas[name])


def test_several_calls_are_a_list_of_calls(real):
    values = {"tools": tools_of_a_small_model(), "tool_choice": "required", "seed": 7, "temperature": 0, "max_tokens": 400, "timeout": 120}
    calls = real.chat("What are the weather and the time in Bern?", **values).json()["choices"][0]["message"]["tool_calls"]
    assert calls and {call["function"]["name"] for call in calls} <= {"weather", "time"}


def test_with_tools_and_a_format_the_model_calls_or_answers_by_the_schema(real):
    import json

    shape = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}}, "required": ["name"], "additionalProperties": False}
    format = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": shape}}
    values = {"tools": tools_of_a_small_model(), "response_format": format, "seed": 7, "temperature": 0, "max_tokens": 400, "timeout": 120}
    message = real.chat("Name a city.", **values).json()["choices"][0]["message"]
    assert message.get("tool_calls") or set(json.loads(message["content"])) == {"name"}


def test_a_streamed_schema_is_obeyed(real):
    import json

    shape = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}}, "required": ["name"], "additionalProperties": False}
    format = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": shape}}
    stream = real.stream("Name a city.", response_format=format, max_tokens=60, timeout=120)
    stream.check()
    assert set(json.loads(stream.text())) == {"name"}


def test_stop_and_length_are_told(real):
    assert real.chat("Tell a long story.", max_tokens=5, timeout=120).json()["choices"][0]["finish_reason"] == "length"


def test_a_prompt_over_the_context_is_refused_in_our_words(real):
    answer = real.caller.post("/v1/chat/completions", {"model": real.endpoint.slug, "messages": messages("word " * 4000)}, timeout=120)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
