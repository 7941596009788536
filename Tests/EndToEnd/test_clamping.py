"""Clamping of the output length (spec 04 §10)."""

import re

import pytest

from harness.calls import expect_error, messages, script


@pytest.fixture(scope="module")
def capped(tenant, engines):
    endpoint = tenant.project.endpoint(engines[0].url, slug="capped", limits={"max_tokens": 100})
    return tenant.using(endpoint)


def clamp_of(answer, name):
    shown = re.fullmatch(rf"{name}=(\d+)->(\d+)", answer.headers["x-xerotier-clamped"])
    assert shown, answer.headers["x-xerotier-clamped"]
    return int(shown[1]), int(shown[2])


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_more_than_the_context_is_lowered_and_shown(tenant, engine, name):
    answer = tenant.chat(script={"text": "a"}, **{name: 1_000_000})
    assert answer.status_code == 200
    asked, given = clamp_of(answer, name)
    assert asked == 1_000_000
    assert 3900 < given < 4096
    assert engine.record(answer.headers["x-request-id"])["body"][name] == given


def test_clamping_leaves_room_for_the_prompt(tenant, engine):
    said = [{"role": "system", "content": "x" * 8000}, *messages(script(text="a"))]
    body = {"model": tenant.endpoint.slug, "messages": said, "max_tokens": 4096}
    _, given = clamp_of(tenant.caller.post("/v1/chat/completions", body), "max_tokens")
    assert 4096 - 2200 < given <= 4096 - 2000


def test_a_value_that_fits_is_left_alone(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, max_tokens=1000)
    assert "x-xerotier-clamped" not in answer.headers
    assert engine.record(answer.headers["x-request-id"])["body"]["max_tokens"] == 1000


def test_an_absent_value_stays_absent(tenant, engine):
    sent = engine.record(tenant.chat(script={"text": "a"}).headers["x-request-id"])["body"]
    assert "max_tokens" not in sent and "max_completion_tokens" not in sent


def test_a_prompt_over_the_context_is_refused(tenant, engine):
    """With a length given we know that nothing is left for it; without one the engine says so, and we say it in our words."""
    engine.behave(context_length=4096)
    for values in ({}, {"max_tokens": 1_000_000}, {"max_tokens": 1}):
        expect_error(tenant.chat("word " * 5000, **values), 400, "context_length_exceeded")


def test_the_cap_of_the_endpoint_is_a_further_minimum(capped, engine):
    answer = capped.chat(script={"text": "a"}, max_tokens=500)
    assert clamp_of(answer, "max_tokens") == (500, 100)
    assert engine.record(answer.headers["x-request-id"])["body"]["max_tokens"] == 100


def test_a_stream_shows_the_clamp_in_its_headers_and_metadata(tenant, engine):
    stream = tenant.stream(script={"text": "a"}, max_tokens=1_000_000, stream_options={"x_events": True})
    assert stream.headers["x-xerotier-clamped"].startswith("max_tokens=1000000->")
    assert stream.vendor_events[-1].value["clamped"]


@pytest.mark.parametrize("error", [
    {"code": 400, "message": "the request exceeds the available context size. try increasing the context size", "type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096},
    {"message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens", "type": "BadRequestError", "param": None, "code": 400},
    {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"},
], ids=["llama.cpp", "vllm", "openai"])
def test_the_engines_own_too_long_becomes_ours(tenant, engine, error):
    expect_error(tenant.chat(script={"status": 400, "error": error}), 400, "context_length_exceeded")
