"""The small real model of the development stack: structure, not facts."""

import os

import httpx
import pytest

from harness.calls import expect_error, messages
from harness.stack import default_engine
from harness.together import eventually


@pytest.fixture(scope="module")
def real(make_tenant):
    url, name = default_engine()
    tenant = make_tenant(upstream_url=url, upstream_model=name, model="small-model", context_length=2048, max_concurrent=4)
    # The platform looks at new endpoints every few seconds; once it knows the engine it knows its tokens.
    eventually(lambda: tenant.chat("hi", logit_bias={"99999999": 1}, max_tokens=1, timeout=120).status_code == 400, seconds=60)
    return tenant


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


# What the fields of 02 §2 do: each is asked for twice, with and without it.

SEA = "Tell me about the sea."
SURE = {"temperature": 0, "max_tokens": 16, "timeout": 120}


def choices(real, **values) -> list:
    answer = real.chat(SEA, **{**SURE, **values})
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"]


def text(real, **values) -> str:
    return choices(real, **values)[0]["message"]["content"]


@pytest.fixture(scope="module")
def plain(real) -> str:
    """What the model says when it is told nothing special."""
    return text(real)


def test_a_seed_says_it_again_and_another_does_not(real):
    wild = {"temperature": 2, "top_p": 1}
    said = [text(real, seed=seed, **wild) for seed in (5, 5, 6)]
    assert said[0] == said[1] != said[2]


def test_seeds_of_64_bits_are_taken(real):
    assert [len(choices(real, seed=seed)) for seed in (-(2**63), 2**63 - 1)] == [1, 1]


def test_temperature_and_top_p_bound_what_is_chosen(real, plain):
    assert text(real, temperature=2, top_p=1, seed=5) != plain
    assert text(real, temperature=2, top_p=0.0001, seed=5) == plain


@pytest.mark.parametrize("name", ["frequency_penalty", "presence_penalty"])
def test_a_penalty_changes_the_words(real, plain, name):
    assert text(real, **{name: 2}) != plain


@pytest.mark.parametrize("stops", ["vast", ["nowhere in it", "vast"]], ids=["one", "several"])
def test_a_stop_ends_the_answer_before_itself(real, plain, stops):
    [choice] = choices(real, stop=stops)
    assert choice["finish_reason"] == "stop"
    assert "vast" in plain and choice["message"]["content"] == plain.split("vast")[0]


def test_a_banned_token_is_not_said(real):
    [choice] = choices(real, logprobs=True, max_tokens=1)
    engine = os.environ["XEROTIER_ENGINE_URL"].removesuffix("/").removesuffix("/v1")
    [token] = httpx.post(f"{engine}/tokenize", json={"content": choice["logprobs"]["content"][0]["token"]}, timeout=30).json()["tokens"]
    [other] = choices(real, logit_bias={str(token): -100}, max_tokens=1)
    assert other["message"]["content"] != choice["message"]["content"]


def test_a_token_that_the_model_has_not_is_refused(real, usage):
    answer = real.chat(SEA, logit_bias={"99999999": 5}, max_tokens=1)
    expect_error(answer, 400, "invalid_value", param="logit_bias")
    usage.none(answer.headers["x-request-id"])


@pytest.mark.parametrize("top", [None, 0, 1, 5])
def test_logprobs_are_those_of_the_tokens_that_were_said(real, top):
    [choice] = choices(real, logprobs=True, max_tokens=4, **({} if top is None else {"top_logprobs": top}))
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
    assert [len(token["top_logprobs"]) for token in tokens] == [top or 0] * 4
    assert all(token["logprob"] <= 0 for token in tokens)


@pytest.mark.parametrize("top", [None, 3])
def test_streamed_logprobs_are_those_of_a_body(real, top):
    values = {"logprobs": True, "max_tokens": 4, "temperature": 0, **({} if top is None else {"top_logprobs": top})}
    stream = real.stream(SEA, timeout=120, **values)
    stream.check()
    streamed = [token for chunk in stream.chunks for choice in chunk["choices"] for token in (choice["logprobs"] or {}).get("content", [])]
    whole = choices(real, **values)[0]["logprobs"]["content"]
    assert [(token["token"], len(token["top_logprobs"])) for token in streamed] == [(token["token"], top or 0) for token in whole]


@pytest.mark.parametrize("streamed", [False, True])
def test_several_choices_differ_and_are_all_counted(real, usage, streamed):
    values = {"n": 3, "temperature": 2, "top_p": 1, "max_tokens": 8, "seed": 1, "timeout": 120}
    if streamed:
        stream = real.stream(SEA, stream_options={"include_usage": True}, **values)
        stream.check(choices=3, include_usage=True)
        said, counted, request_id = [stream.text(index) for index in range(3)], stream.usage, stream.request_id
        assert counted["completion_tokens"] == 24
    else:
        answer = real.chat(SEA, **values)
        body = answer.json()
        said, counted, request_id = [choice["message"]["content"] for choice in body["choices"]], body["usage"], answer.headers["x-request-id"]
        # The engine counts the first alone; the others go by their bytes.
        assert 8 < counted["completion_tokens"] <= 48
    assert len(set(said)) == 3
    assert usage.one(request_id)["output_tokens"] == counted["completion_tokens"]


def test_more_choices_than_the_engine_has_places_for_are_refused_by_name(real, usage):
    answer = real.chat(SEA, n=8, max_tokens=1, timeout=120)
    if answer.status_code != 200:
        expect_error(answer, 400, "invalid_request", param="n")
        assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0
    else:
        assert len(answer.json()["choices"]) == 8


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_tokens_is_kept(real, name):
    answer = real.chat(SEA, temperature=0, timeout=120, **{name: 3}).json()
    assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (3, "length")


@pytest.mark.parametrize("values", [
    {"reasoning_effort": "high"}, {"reasoning_effort": "none"}, {"prediction": {"type": "content", "content": "The sea is"}}, {"user": "u"}, {"safety_identifier": "s"},
    {"prompt_cache_key": "k"}, {"service_tier": "flex"}, {"metadata": {"a": "b"}}, {"store": False}, {"verbosity": "low"}, {"moderation": {"model": "m"}}, {"prompt_cache_options": {}},
    {"prompt_cache_retention": "24h"}, {"modalities": ["text"]},
    {"parallel_tool_calls": True, "tools": []},
], ids=str)
def test_what_the_model_does_not_know_changes_nothing(real, plain, values):
    assert text(real, **values) == plain


def test_roles_and_parts_are_read(real, plain):
    """A developer's words are the system's, and parts are one text."""
    def say(*said):
        return real.caller.post("/v1/chat/completions", {"model": real.endpoint.slug, "messages": list(said), "temperature": 0, "max_tokens": 16}, timeout=120).json()["choices"][0]["message"]["content"]

    brief, question = "Answer in French.", {"role": "user", "content": SEA}
    assert say({"role": "developer", "content": brief}, question) == say({"role": "system", "content": brief}, question) != plain
    assert say({"role": "user", "content": [{"type": "text", "text": SEA}]}) == plain


@pytest.mark.parametrize("part", [
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, {"type": "file", "file": {"filename": "a", "file_data": "AAAA"}},
], ids=lambda part: part["type"])
def test_what_the_model_does_not_read_is_refused(real, usage, part):
    answer = real.caller.post("/v1/chat/completions", {"model": real.endpoint.slug, "messages": messages([part])})
    expect_error(answer, 400, "unsupported_content", param="messages[0].content[0].type")
    usage.none(answer.headers["x-request-id"])


def test_functions_of_old_are_called(real):
    function = {"name": "sea", "parameters": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}}, "required": ["name"], "additionalProperties": False}}
    import json

    [choice] = choices(real, functions=[function], function_call={"name": "sea"}, max_tokens=60)
    assert choice["message"]["function_call"]["name"] == "sea"
    assert set(json.loads(choice["message"]["function_call"]["arguments"])) == {"name"}
