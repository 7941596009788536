"""Structured output: the answer is what response_format says, or the request fails (spec 02 §2)."""

import json

import openai
import pytest

from harness.calls import expect_error, messages, script
from test_response_format import SCHEMA
from test_tools import nested

OBJECT = {"type": "json_object"}
PARAM = "response_format.json_schema.schema"


def strict(schema) -> dict:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def closed(properties: dict, **more) -> dict:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False, **more}


@pytest.mark.parametrize("said,format", [('{"a":[1,2]}', OBJECT), ('{ "user_id" : 7 }', SCHEMA)], ids=["json_object", "json_schema"])
def test_a_valid_answer_passes_as_it_is(tenant, engine, said, format):
    answer = tenant.chat(script={"tokens": list(said)}, response_format=format)
    assert answer.json()["choices"][0]["message"]["content"] == said
    stream = tenant.stream(script={"tokens": list(said)}, response_format=format)
    stream.check()
    assert stream.text() == said


BAD = [("Sure! {}", OBJECT), ("[1]", OBJECT), ('{"user_id":"7"}', SCHEMA), ('{"user_id":7,"x":1}', SCHEMA), ('{"user_id":7', SCHEMA), ("", SCHEMA)]


@pytest.mark.parametrize("said,format", BAD, ids=lambda value: repr(value)[:30])
def test_an_invalid_answer_is_asked_for_once_more_then_fails_and_is_free(tenant, engine, usage, said, format):
    answer = tenant.chat(script={"text": said}, response_format=format)
    expect_error(answer, 502, "upstream_invalid_response")
    assert len(engine.records(answer.headers["x-request-id"])) == 2
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0


def test_a_second_answer_that_is_valid_is_given_and_billed_alone(tenant, engine, usage):
    answer = tenant.chat(script={"by_attempt": [{"text": "no no no no"}, {"text": '{"user_id":1}'}]}, response_format=SCHEMA)
    assert answer.json()["choices"][0]["message"]["content"] == '{"user_id":1}'
    assert usage.one(answer.headers["x-request-id"])["output_tokens"] == 1


@pytest.mark.parametrize("said,format", [pair for pair in BAD if pair[0]], ids=lambda value: repr(value)[:30])
def test_an_invalid_stream_ends_with_an_error_frame(tenant, engine, usage, said, format):
    stream = tenant.stream(script={"tokens": list(said)}, response_format=format)
    stream.check_broken(("stream_error",))
    assert stream.finish_reasons() == {}, "a reason to finish would make it look whole"
    assert stream.text() == said, "what came before was passed on"
    row = usage.one(stream.request_id)
    assert row["error_code"] == "stream_error" and 0 < row["output_tokens"] <= len(said)


def test_of_an_invalid_stream_only_the_output_is_billed(tenant, engine, usage):
    good = tenant.stream(script={"tokens": list('{"user_id":123456}')}, response_format=SCHEMA)
    bad = tenant.stream(script={"tokens": list('{"user_id":12345.5}')}, response_format=SCHEMA)
    paid, cheap = usage.one(good.request_id), usage.one(bad.request_id)
    assert cheap["input_tokens"] > 0 and 0 < cheap["cost_nano"] < paid["cost_nano"]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_was_cut_fails(tenant, engine, streamed):
    values = {"script": {"tokens": list('{"user_id":123}')}, "response_format": SCHEMA, "max_tokens": 5}
    if streamed:
        stream = tenant.stream(**values)
        stream.check_broken(("stream_error",))
        assert stream.finish_reasons() == {}
    else:
        answer = tenant.chat(**values)
        expect_error(answer, 502, "upstream_invalid_response")
        assert len(engine.records(answer.headers["x-request-id"])) == 1, "a limit of tokens ends the second answer, too"


def test_an_answer_that_was_cut_behind_its_end_is_whole(tenant, engine):
    answer = tenant.chat(script={"tokens": ['{"user_id"', ":1}", " ", " "]}, response_format=SCHEMA, max_tokens=3)
    assert answer.json()["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_refusal_passes(tenant, engine, streamed):
    values = {"script": {"refusal": "I must not."}, "response_format": SCHEMA}
    if streamed:
        stream = tenant.stream(**values)
        stream.check()
        assert stream.text(member="refusal") == "I must not."
    else:
        assert tenant.chat(**values).json()["choices"][0]["message"]["refusal"] == "I must not."


def test_each_choice_must_be_valid(tenant, engine):
    assert tenant.chat(script={"text": '{"user_id":1}'}, response_format=SCHEMA, n=2).status_code == 200
    stream = tenant.stream(script={"tokens": list('{"user_id":"1"}')}, response_format=SCHEMA, n=2)
    stream.check_broken(("stream_error",))


def test_nothing_is_held_back(tenant, engine):
    """Each token is a chunk of its own, sent before the next one comes."""
    said = '{"user_id":1}'
    stream = tenant.stream(script={"tokens": list(said)}, response_format=SCHEMA)
    assert [delta["content"] for delta in stream.deltas() if "content" in delta] == [""] + list(said)


def test_without_strict_the_answer_is_the_models(tenant, engine):
    loose = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "x-mine": 1}}}
    assert tenant.chat(script={"text": "free text"}, response_format=loose).json()["choices"][0]["message"]["content"] == "free text"


# Schemas that are refused

HOSTILE = {
    "17 levels": nested(17),
    "an exponential pattern": closed({"a": {"type": "string", "pattern": "^(a+)+$"}}),
    "an ambiguous pattern": closed({"a": {"type": "string", "pattern": "^(ab|a|b)*$"}}),
    "a pattern of several characters": closed({"a": {"type": "string", "pattern": "^((xy)*)*z$"}}),
    "a huge enum": closed({"a": {"enum": list(range(1001))}}),
    "a huge pattern": closed({"a": {"type": "string", "pattern": "(((a{1000}){1000}){1000})"}}),
    "no pattern": closed({"a": {"type": "string", "pattern": "("}}),
    "an unknown keyword": closed({"a": {"type": "string", "maxlength": 5}}),
    "an unknown type": closed({"a": {"type": "text"}}),
    "a reference to nothing": closed({"a": {"$ref": "#/$defs/b"}}),
    "a reference to elsewhere": closed({"a": {"$ref": "https://example.com/schema.json"}}),
    "64 KiB": closed({"a": {"type": "string", "description": "x" * (64 << 10)}}),
    "open": {"type": "object", "properties": {"a": {}}, "required": ["a"]},
    "optional members": {"type": "object", "properties": {"a": {}}, "required": [], "additionalProperties": False},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_schema_that_cannot_be_held_to_is_refused_and_nothing_is_dispatched(tenant, engine, name):
    answer = tenant.chat(script={"text": "{}"}, response_format=strict(HOSTILE[name]))
    expect_error(answer, 400, "invalid_value", param=PARAM)
    assert engine.records(answer.headers["x-request-id"]) == []
    tools = [{"type": "function", "function": {"name": "f", "strict": True, "parameters": HOSTILE[name]}}]
    answer = tenant.chat(script={"text": "{}"}, tools=tools)
    expect_error(answer, 400, "invalid_function_schema", param="tools[0].function.parameters")
    assert engine.records(answer.headers["x-request-id"]) == []


def test_a_refused_schema_is_not_billed(tenant, engine, usage):
    answer = tenant.chat(script={"text": "{}"}, response_format=strict(HOSTILE["an exponential pattern"]))
    usage.none(answer.headers["x-request-id"])


@pytest.mark.parametrize("name", ["an exponential pattern", "a huge enum", "a reference to nothing"])
def test_an_engine_is_not_guided_by_a_hostile_schema(tenant, engine, name):
    tools = [{"type": "function", "function": {"name": "f", "parameters": HOSTILE[name]}}]
    answer = tenant.chat(script={"text": "{}"}, tools=tools, tool_choice="required")
    expect_error(answer, 400, "invalid_function_schema", param="tools[0].function.parameters")
    assert engine.records(answer.headers["x-request-id"]) == []


@pytest.mark.parametrize("schema", [
    closed({"a": {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "format": "uri", "title": "A", "default": "x"}}),
    closed({"a": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?)?$"}}),
    closed({"a": {"type": "string", "pattern": r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$"}}),
    closed({"a": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}}, **{"$defs": {"n": closed({"b": {"enum": list(range(1000))}})}}),
], ids=["a slug", "a date", "an address", "defs"])
def test_usual_schemas_are_taken(tenant, engine, schema):
    answer = tenant.chat(script={"by_attempt": [{"text": "{}"}]}, response_format=strict(schema))
    expect_error(answer, 502, "upstream_invalid_response")


# The official SDK


def test_the_sdk_parses_a_stream(client, engine):
    from pydantic import BaseModel

    class Place(BaseModel):
        name: str
        people: int | None = None

    class Trip(BaseModel):
        places: list[Place]

    said = '{"places":[{"name":"Bern","people":null}]}'
    trip = Trip(places=[Place(name="Bern")])
    parsed = client.chat.completions.parse(model="talk", messages=messages(script(tokens=list(said))), response_format=Trip)
    assert parsed.choices[0].message.parsed == trip
    with client.chat.completions.stream(model="talk", messages=messages(script(tokens=list(said))), response_format=Trip) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.parsed == trip


def test_the_sdk_raises_on_an_invalid_stream(client, engine):
    with pytest.raises(openai.APIError) as raised:
        list(client.chat.completions.create(model="talk", messages=messages(script(text="no")), response_format=SCHEMA, stream=True))
    assert raised.value.code == "stream_error"


def test_the_schema_goes_to_the_engine_which_is_guided_by_it(tenant, engine):
    answer = tenant.chat(script={"text": '{"user_id":1}'}, response_format=SCHEMA)
    assert json.loads(json.dumps(engine.record(answer.headers["x-request-id"])["body"]["response_format"])) == SCHEMA
