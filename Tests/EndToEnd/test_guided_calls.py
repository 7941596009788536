"""Calls of tools that the gateway sees to where the engine does not: `required`, a named function, strict arguments (spec 02 §6)."""

import json

import openai
import pytest

from harness.calls import expect_error, messages, script
from test_tools import STRICT, WEATHER, tool

TIME = tool("time", parameters={"type": "object", "properties": {"zone": {"$ref": "#/$defs/zone"}}, "$defs": {"zone": {"type": "string"}}})
NAMED = {"type": "function", "function": {"name": "time"}}
SINGLE = {"tools": [WEATHER, TIME], "tool_choice": "required", "parallel_tool_calls": False}
STRICT_TOOL = {"tools": [tool("s", strict=True, parameters=STRICT)]}
ARGUMENTS = '{ "zone" : "Z\\u00fcrich }", "n":[1.0,{"a":"ü"}] }'


def allowed(mode, *names):
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [{"type": "function", "function": {"name": name}} for name in names]}}


def calls(answer) -> list:
    found = answer.json()["choices"][0]["message"].get("tool_calls", [])
    return [(call["function"]["name"], call["function"]["arguments"]) for call in found]


def schema_sent(engine, answer) -> dict:
    return engine.record(answer.headers["x-request-id"])["body"]["response_format"]["json_schema"]["schema"]


@pytest.mark.parametrize("values,text", [
    ({"tools": [WEATHER, TIME], "tool_choice": NAMED}, ARGUMENTS),
    (SINGLE, '{"name": "time", "arguments": ' + ARGUMENTS + "}"),
    ({"tools": [WEATHER, TIME], "tool_choice": "required"}, '[{"name":"time","arguments":' + ARGUMENTS + "}]"),
    ({"tools": [WEATHER, TIME], "tool_choice": allowed("required", "time"), "parallel_tool_calls": False}, '{"name":"time","arguments":' + ARGUMENTS + "}"),
], ids=["named", "required", "required, in a list", "allowed tools"])
def test_arguments_are_byte_equal_in_a_guided_body_and_stream(tenant, engine, values, text):
    tenant_values = {"script": {"tokens": list(text)}, **values}
    if values["tool_choice"] != "required" and values.get("parallel_tool_calls") is False:
        tenant_values["script"] = {"tokens": list(ARGUMENTS)}  # one tool is left: its arguments are all there is to say
    answer = tenant.chat(**tenant_values)
    assert calls(answer) == [("time", ARGUMENTS)]
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    stream = tenant.stream(**tenant_values)
    stream.check()
    assert stream.arguments() == ARGUMENTS and stream.text() == ""
    assert stream.finish_reasons() == {0: "tool_calls"}


def test_the_tools_become_a_schema_and_instructions(tenant, engine):
    answer = tenant.chat(script={"text": '{"name":"time","arguments":{}}'}, **SINGLE)
    sent = engine.record(answer.headers["x-request-id"])["body"]
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(sent)
    schema = schema_sent(engine, answer)
    assert schema["$defs"]["f0"] == WEATHER["function"]["parameters"]
    assert schema["$defs"]["f1"]["properties"]["zone"] == {"$ref": "#/$defs/f1/$defs/zone"}
    assert [each["properties"]["name"]["const"] for each in schema["$defs"]["call"]["anyOf"]] == ["get_weather-2", "time"]
    assert sent["messages"][0]["role"] == "system" and "Says the weather." in sent["messages"][0]["content"]


def test_several_calls_are_numbered(tenant, engine):
    text = '[{"name":"time","arguments":{"zone":"a"}},{"name":"get_weather-2","arguments":{"city":"b"}}]'
    values = {"script": {"tokens": list(text)}, "tools": [WEATHER, TIME], "tool_choice": "required"}
    expected = [("time", '{"zone":"a"}'), ("get_weather-2", '{"city":"b"}')]
    assert calls(tenant.chat(**values)) == expected
    stream = tenant.stream(**values)
    stream.check()
    assert [stream.arguments(0), stream.arguments(1)] == [arguments for _, arguments in expected]


def test_pieces_of_arguments_go_out_as_they_come(tenant, engine):
    """Nothing is held back: each token of the engine within the arguments is a chunk of its own."""
    stream = tenant.stream(script={"tokens": list('{"zone":"abcdef"}')}, tools=[TIME], tool_choice=NAMED)
    pieces = [piece["function"]["arguments"] for delta in stream.deltas() for piece in delta.get("tool_calls", [])]
    assert pieces == [""] + list('{"zone":"abcdef"}')


def test_only_the_allowed_tools_reach_the_engine(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, tools=[WEATHER, TIME], tool_choice=allowed("auto", "time"))
    sent = engine.record(answer.headers["x-request-id"])["body"]
    assert (sent["tools"], sent["tool_choice"]) == ([TIME], "auto")


def test_no_tool_can_be_required_of_an_empty_list(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, tools=[TIME], tool_choice=allowed("required"))
    expect_error(answer, 400, "invalid_value", param="tool_choice")


# What is not as demanded is asked for once more


@pytest.mark.parametrize("values,bad,good", [
    (SINGLE, {"text": "I would rather talk."}, {"text": '{"name":"time","arguments":{}}'}),
    ({"tools": [TIME], "tool_choice": NAMED}, {"text": '{"zone":'}, {"text": "{}"}),
    (STRICT_TOOL, {"tool_calls": [{"name": "s", "arguments": '{"a":1}'}]}, {"tool_calls": [{"name": "s", "arguments": '{"a":"x"}'}]}),
    (STRICT_TOOL, {"tool_calls": [{"name": "s", "arguments": '{"a":"x"'}]}, {"tool_calls": [{"name": "s", "arguments": '{"a":"x"}'}]}),
], ids=["no call", "half a call", "invalid arguments", "no JSON"])
def test_a_bad_call_is_asked_for_once_more_and_billed_once(tenant, engine, usage, values, bad, good):
    answer = tenant.chat(script={"by_attempt": [bad, good]}, **values)
    assert answer.status_code == 200, answer.text
    assert len(engine.records(answer.headers["x-request-id"])) == 2
    assert len(calls(answer)) == 1
    row = usage.one(answer.headers["x-request-id"])
    assert row["output_tokens"] == answer.json()["usage"]["completion_tokens"]


@pytest.mark.parametrize("values,bad", [
    (SINGLE, {"text": "I would rather talk."}),
    (SINGLE, {"text": '{"name":"other","arguments":{}}'}),
    (STRICT_TOOL, {"tool_calls": [{"name": "s", "arguments": '{"a":"x","b":1}'}]}),
    ({**STRICT_TOOL, "tool_choice": "required"}, {"tool_calls": [{"name": "unknown", "arguments": "{}"}]}),
], ids=["no call", "another tool", "invalid arguments", "an unknown tool"])
def test_a_call_that_stays_bad_is_a_502_and_free(tenant, engine, usage, values, bad):
    answer = tenant.chat(script=bad, **values)
    expect_error(answer, 502, "tool_arguments_invalid")
    assert len(engine.records(answer.headers["x-request-id"])) == 2
    row = usage.one(answer.headers["x-request-id"])
    assert (row["cost_nano"], row["error_code"]) == (0, "tool_arguments_invalid")


@pytest.mark.parametrize("stated,text", [({"engine": "vllm"}, "I would rather talk."), ({}, "[]")], ids=["an engine that obeys, mostly", "an empty list of calls"])
def test_a_required_call_that_does_not_come_fails(tenant, engine, usage, stated, text):
    asked = tenant.using(tenant.project.endpoint(engine.url, **stated))
    values = {"script": {"text": text}, "tools": [WEATHER, TIME], "tool_choice": "required"}
    answer = asked.chat(**values)
    expect_error(answer, 502, "tool_arguments_invalid")
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0
    stream = asked.stream(**values)
    stream.check_broken(("stream_error",))
    assert stream.finish_reasons() == {}


def test_in_a_stream_bad_arguments_end_with_an_error_frame(tenant, engine, usage):
    stream = tenant.stream(script={"tool_calls": [{"name": "s", "arguments": '{"a":1}', "pieces": 3}]}, **STRICT_TOOL)
    stream.check_broken(("stream_error",))
    assert stream.arguments() == '{"a":1}' and stream.finish_reasons() == {}
    row = usage.one(stream.request_id)
    assert row["error_code"] == "stream_error" and row["cost_nano"] > 0


def test_a_stream_that_has_not_begun_is_asked_for_once_more(tenant, engine):
    whole = 'data: {"choices":[{"index":0,"delta":{"content":"no"},"finish_reason":"stop"}]}\n\n'
    bad = {"raw_chunks": {"0": whole}, "text": "x"}
    good = {"text": '{"name":"time","arguments":{"zone":"x"}}'}
    stream = tenant.stream(script={"by_attempt": [bad, good]}, **SINGLE)
    stream.check()
    assert stream.arguments() == '{"zone":"x"}'


@pytest.mark.parametrize("streamed", [False, True])
def test_strict_arguments_that_were_cut_are_not_shown_as_whole(tenant, engine, streamed):
    values = {"script": {"tokens": list('{"a":"xyz"}')}, "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 4, **STRICT_TOOL}
    if streamed:
        tenant.stream(**values).check_broken(("stream_error",))
    else:
        answer = tenant.chat(**values)
        expect_error(answer, 502, "tool_arguments_invalid")
        assert len(engine.records(answer.headers["x-request-id"])) == 1, "a limit of tokens ends the second answer, too"


@pytest.mark.parametrize("limit, arguments", [(8, None), (30, '{"z')], ids=["before the call", "in its arguments"])
def test_a_call_that_is_not_strict_may_be_cut_as_openai_cuts_it(tenant, engine, limit, arguments):
    values = {"script": {"tokens": list('{"name":"time","arguments":{"zone":"x"}}')}, "max_tokens": limit, **SINGLE}
    [choice] = tenant.chat(**values).json()["choices"]
    assert choice["finish_reason"] == "length" and choice["message"]["content"] is None
    assert [call["function"]["arguments"] for call in choice["message"].get("tool_calls", [])] == ([arguments] if arguments else [])
    stream = tenant.stream(**values)
    stream.check()
    assert stream.finish_reasons() == {0: "length"} and stream.arguments() == (arguments or "") and stream.text() == ""


# With a response_format

FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": STRICT}}


@pytest.mark.parametrize("text,called,content", [
    ('{"answer":{"a":"x"}}', [], '{"a":"x"}'), ('[{"name":"time","arguments":{"zone":"x"}}]', [("time", '{"zone":"x"}')], None),
], ids=["answers", "calls"])
def test_a_turn_with_tools_and_a_format_calls_or_answers_by_the_schema(tenant, engine, text, called, content):
    values = {"script": {"tokens": list(text)}, "tools": [TIME], "response_format": FORMAT}
    answer = tenant.chat(**values)
    assert calls(answer) == called and answer.json()["choices"][0]["message"]["content"] == content
    assert schema_sent(engine, answer)["$defs"]["answer"] == STRICT
    stream = tenant.stream(**values)
    stream.check()
    assert stream.text() == (content or "") and stream.arguments() == (called[0][1] if called else "")


def test_an_answer_beside_tools_must_obey_the_schema(tenant, engine):
    answer = tenant.chat(script={"text": '{"answer":{"a":1}}'}, tools=[TIME], response_format=FORMAT)
    expect_error(answer, 502, "upstream_invalid_response")


# The official SDK


def test_the_sdk_streams_a_call_that_was_required(client, engine):
    said = messages(script(tokens=list('{"name":"time","arguments":' + ARGUMENTS + "}")))
    whole = client.chat.completions.create(model="talk", messages=said, **SINGLE)
    with client.chat.completions.stream(model="talk", messages=said, **SINGLE) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    assert [event.arguments for event in done] == [ARGUMENTS]
    assert final.choices[0].message.tool_calls[0].function.arguments == whole.choices[0].message.tool_calls[0].function.arguments


def test_the_sdk_parses_the_arguments_of_a_model_class(client, engine):
    from pydantic import BaseModel

    class Weather(BaseModel):
        city: str

    tools = [openai.pydantic_function_tool(Weather)]
    said = messages(script(tokens=list('{"city":"Bern"}')))
    choice = {"type": "function", "function": {"name": "Weather"}}
    parsed = client.chat.completions.parse(model="talk", messages=said, tools=tools, tool_choice=choice)
    assert parsed.choices[0].message.tool_calls[0].function.parsed_arguments == Weather(city="Bern")
    with client.chat.completions.stream(model="talk", messages=said, tools=tools, tool_choice=choice) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.parsed_arguments == Weather(city="Bern")


def test_the_sdk_raises_on_arguments_that_stay_bad(client, engine):
    said = messages(script(text="no"))
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model="talk", messages=said, **SINGLE)
    assert raised.value.code == "tool_arguments_invalid"
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="talk", messages=said, stream=True, **SINGLE))
