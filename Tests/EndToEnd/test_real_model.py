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


def test_stop_and_length_are_told(real):
    assert real.chat("Tell a long story.", max_tokens=5, timeout=120).json()["choices"][0]["finish_reason"] == "length"


def test_a_prompt_over_the_context_is_refused_in_our_words(real):
    answer = real.caller.post("/v1/chat/completions", {"model": real.endpoint.slug, "messages": messages("word " * 4000)}, timeout=120)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
