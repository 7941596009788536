"""Streams that the upstream breaks: an error frame, never a silent [DONE] (spec 02 §3, 04 §4)."""

import openai
import pytest

from harness.calls import expect_error, messages, script
from harness.tenants import tier

INTERRUPTED = ("stream_interrupted",)
BROKEN = ("stream_interrupted", "stream_error")
CUTS = [{"how": how, "after_chunks": chunks} for how in ("reset", "close", "end") for chunks in (1, 2, 4)]


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: f"{cut['how']} after {cut['after_chunks']}")
def test_a_cut_stream_ends_with_an_error_frame(tenant, engine, usage, cut):
    stream = tenant.stream(script={"text": "one two three four five", "cut": cut})
    stream.check_broken(INTERRUPTED)
    assert "one two three four five".startswith(stream.text())
    row = usage.one(stream.request_id)
    assert (row["status_code"], row["error_code"], row["fault"]) == (200, "stream_interrupted", "agent")


@pytest.mark.parametrize("how", ["reset", "close", "end"])
def test_a_cut_inside_a_frame_shows_no_half_frame(tenant, engine, how):
    for after in (333, 480, 500, 600, 700):
        stream = tenant.stream(script={"text": "one two three", "cut": {"how": how, "after_bytes": after}})
        stream.check_broken(BROKEN)


@pytest.mark.parametrize("how", ["reset", "close", "end"])
def test_a_cut_inside_the_first_frame_is_an_http_error(tenant, engine, how):
    """No byte was sent, so there is no stream yet to put an error frame in."""
    answer = tenant.chat(script={"text": "one two three", "cut": {"how": how, "after_bytes": 150}}, stream=True)
    expect_error(answer, 502, "upstream_error", "upstream_invalid_response", "worker_lost")


def test_a_stream_without_a_finish_reason_is_interrupted(tenant, engine, usage):
    stream = tenant.stream(script={"text": "one two three", "finish_reason": None})
    stream.check_broken(INTERRUPTED)
    assert stream.text() == "one two three"
    assert usage.one(stream.request_id)["output_tokens"] > 0


def test_one_choice_without_a_finish_reason_is_enough(tenant, engine):
    last = 'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    stream = tenant.stream(script={"text": "one", "finish_reason": None, "raw_chunks": {"4": last + "data: [DONE]\n\n"}}, n=2)
    stream.check_broken(INTERRUPTED)


@pytest.mark.parametrize("raw", ["data: {\"broken\n\n", "data: \udcff\udcfe\n\n", "data: [1]\n\n", "data: {\"choices\":5}\n\n", "garbage\n\n" + "data: {\n\n"], ids=repr)
def test_a_bad_chunk_in_the_middle_ends_the_stream_with_an_error(tenant, engine, raw):
    stream = tenant.stream(script={"text": "one two three", "raw_chunks": {"2": raw}})
    stream.check_broken(BROKEN)


def test_an_error_object_of_the_engine_ends_the_stream_with_ours(tenant, engine):
    raw = 'data: {"error":{"message":"CUDA out of memory at 10.1.2.3","type":"server_error","code":500}}\n\n'
    stream = tenant.stream(script={"text": "one two three", "raw_chunks": {"2": raw}})
    stream.check_broken(BROKEN)
    assert b"CUDA" not in stream.raw


def test_silence_over_the_tiers_limit_ends_the_stream(make_tenant, engine, usage):
    impatient = make_tenant(tier=tier(idle_stream_s=2))
    stream = impatient.stream(script={"text": "one two three", "stall_after_chunks": 3})
    stream.check_broken(("stream_idle_timeout",))
    record = engine.wait_for_end(stream.request_id)
    assert record["end"] == "client closed"
    assert usage.one(stream.request_id)["error_code"] == "stream_idle_timeout"


@pytest.mark.parametrize("how", ["reset", "end"])
def test_the_sdk_raises_on_a_cut_stream(client, tenant, engine, how):
    said = messages(script(text="one two three four", cut={"how": how, "after_chunks": 3}))
    seen = []
    with pytest.raises(openai.APIError):
        for chunk in client.chat.completions.create(model=tenant.endpoint.slug, messages=said, stream=True):
            seen.append(chunk)
    assert seen


def test_output_tokens_of_a_cut_stream_are_counted_and_its_prompt_is_free(tenant, engine, usage):
    stream = tenant.stream(script={"tokens": ["abc "], "repeat": 20, "cut": {"how": "reset", "after_chunks": 11}})
    row = usage.one(stream.request_id)
    assert 8 <= row["output_tokens"] <= 12
    assert row["cost_nano"] == row["output_tokens"] * 1000


def test_a_cut_before_the_first_token_is_free(tenant, engine, usage):
    stream = tenant.stream(script={"text": "one", "cut": {"how": "reset", "after_chunks": 1}})
    assert usage.one(stream.request_id)["cost_nano"] == 0
