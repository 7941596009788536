"""The grammar of chat streams to the byte (spec 02 §3)."""

import time

import pytest

from harness.raw import RawCall
from harness.sse import parse


def test_a_stream_follows_the_grammar(tenant, engine):
    stream = tenant.stream(script={"text": "Hello there, world."})
    stream.check()
    assert stream.text() == "Hello there, world."
    assert stream.finish_reasons() == {0: "stop"}


def test_a_stream_and_a_body_say_the_same(tenant, engine):
    said = {"text": "The same words, whichever way.", "reasoning": ["Hm. ", "So."]}
    stream = tenant.stream(script=said, stream_options={"include_usage": True})
    body = tenant.chat(script=said).json()
    assert stream.text() == body["choices"][0]["message"]["content"]
    assert stream.text(member="reasoning_content") == body["choices"][0]["message"]["reasoning_content"]
    assert stream.usage == body["usage"]


@pytest.mark.parametrize("quirk", ["openai", "llama.cpp", "vllm"])
@pytest.mark.parametrize("include_usage", [False, True])
def test_every_engines_stream_is_brought_to_the_grammar(tenant, engine, quirk, include_usage):
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    stream = tenant.stream(script={"text": "one two three", "quirk": quirk}, **options)
    stream.check(include_usage=include_usage)
    assert stream.text() == "one two three"
    assert "timings" not in stream.raw.decode() and "stop_reason" not in stream.raw.decode()


@pytest.mark.parametrize("quirk", ["openai", "llama.cpp", "vllm"])
def test_several_choices_start_before_any_speaks(tenant, engine, quirk):
    stream = tenant.stream(script={"text": "one two", "quirk": quirk}, n=3, stream_options={"include_usage": True})
    stream.check(choices=3, include_usage=True)
    assert [stream.text(index) for index in range(3)] == ["one two"] * 3


def test_usage_is_asked_of_the_engine_but_shown_only_on_request(tenant, engine):
    stream = tenant.stream(script={"text": "a b"})
    stream.check(include_usage=False)
    assert engine.record(stream.request_id)["body"]["stream_options"]["include_usage"] is True


def test_usage_inside_the_finishing_chunk_moves_to_a_chunk_of_its_own(tenant, engine):
    stream = tenant.stream(script={"text": "a b c", "usage_in_finish": True}, stream_options={"include_usage": True})
    stream.check(include_usage=True)
    assert stream.usage["completion_tokens"] == 3


def test_the_usage_chunk_is_complete(tenant, engine):
    usage = tenant.stream(script={"text": "a b", "cached_tokens": 4}, stream_options={"include_usage": True}).usage
    assert usage["prompt_tokens_details"] == {"cached_tokens": 4, "audio_tokens": 0}
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert set(usage["completion_tokens_details"]) >= {"reasoning_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"}


def test_missing_usage_is_estimated_in_streams_too(tenant, engine):
    stream = tenant.stream(script={"text": "x" * 40, "usage": "none"}, stream_options={"include_usage": True})
    stream.check(include_usage=True)
    assert stream.usage["completion_tokens"] == 10


def test_tool_calls_stream_in_pieces_that_join(tenant, engine):
    arguments = '{"city":"Zürich","days":[1,2,3]}'
    tools = [{"type": "function", "function": {"name": name}} for name in ("weather", "time")]
    calls = [{"id": "call_a", "name": "weather", "arguments": arguments, "pieces": 7}, {"id": "call_b", "name": "time", "arguments": "{}"}]
    stream = tenant.stream(script={"tool_calls": calls}, tools=tools)
    stream.check()
    assert stream.arguments(0) == arguments and stream.arguments(1) == "{}"
    assert stream.finish_reasons() == {0: "tool_calls"}


def test_reasoning_comes_as_a_delta_without_opt_in(tenant, engine):
    stream = tenant.stream(script={"reasoning": ["Let me ", "think."], "text": "Yes."})
    stream.check()
    assert stream.text(member="reasoning_content") == "Let me think."


def test_a_refusal_streams(tenant, engine):
    stream = tenant.stream(script={"refusal": "I can not."})
    stream.check()
    assert stream.text(member="refusal") == "I can not."


def test_logprobs_stay_with_their_text(tenant, engine):
    stream = tenant.stream(script={"text": "a b c"}, logprobs=True)
    stream.check()
    shown = [entry["token"] for chunk in stream.chunks for choice in chunk["choices"] if choice["logprobs"] for entry in choice["logprobs"]["content"]]
    assert "".join(shown) == "a b c"


def test_characters_are_never_split_over_frames(tenant, engine):
    text = "Grüße 👩‍👩‍👧 из 東京 — ok"
    stream = tenant.stream(script={"tokens": list(text), "frame_split": 3})
    stream.check()
    assert stream.text() == text


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
def test_either_line_end_of_an_engine_is_read(tenant, engine, line_end):
    stream = tenant.stream(script={"text": "one two", "line_end": line_end})
    stream.check()
    assert stream.text() == "one two"


def test_comments_and_events_of_an_engine_are_no_chunks(tenant, engine):
    stream = tenant.stream(script={"text": "one two", "raw_chunks": {"1": ": ping\n\nevent: message\nid: 7\nretry: 10\ndata: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one \"},\"finish_reason\":null}]}\n\n"}})
    stream.check()
    assert stream.text() == "one two"


def test_an_engine_that_forgets_done_but_finished_is_no_error(tenant, engine):
    tenant.stream(script={"text": "one two", "done": False}).check()


def test_null_for_stream_means_a_body(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, stream=None)
    assert answer.json()["object"] == "chat.completion"


def test_headers_of_a_stream_are_those_of_the_document(tenant, engine):
    stream = tenant.stream(script={"text": "a"})
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-cache, no-transform"
    assert stream.headers["x-accel-buffering"] == "no"


def test_tokens_arrive_when_the_engine_says_them(tenant, engine, stack):
    """Nothing between engine and client may gather frames."""
    call = RawCall(stack.http_address)
    call.post_json("/v1/chat/completions", tenant.body(script={"text": "one two three four", "delay_ms": 300}, stream=True), tenant.key.key)
    seen = {}
    for word in (b"one ", b"two ", b"three ", b"four"):
        call.read_until(b'"' + word)
        seen[word] = time.monotonic()
    gaps = [later - earlier for earlier, later in zip(seen.values(), list(seen.values())[1:])]
    assert all(0.2 < gap < 0.5 for gap in gaps), gaps
    call.close()


@pytest.mark.patient
def test_silence_is_filled_with_comments(tenant, engine, stack):
    silence = 15 * stack.time_scale
    stream = tenant.stream(script={"text": "late", "first_delay_ms": (silence + 2) * 1000}, timeout=silence + 30)
    stream.check()
    assert [frame.kind for frame in stream.frames].count("comment") == 1
    assert stream.frames[0].kind == "comment"


def test_a_long_stream_loses_nothing(tenant, engine):
    word, count = "long ", 5000
    stream = tenant.stream(script={"tokens": [word], "repeat": count, "obey_max_tokens": False}, timeout=60)
    stream.check()
    assert stream.text() == word * count


def test_the_parser_of_these_tests_refuses_what_the_grammar_does_not_name():
    for bad in (b"data: {}\n", b"data:{}\n\n", b"event: message\ndata: {}\n\n", b"data: {}\r\n\r\n", b"\n\n", b"data: [done]\n\n"):
        with pytest.raises(AssertionError):
            parse(bad)
