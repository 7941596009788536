"""The engine that all other tests trust."""

import json
import socket
import time

import httpx
import pytest

from harness.calls import messages, script
from ScriptedEngine.process import EngineProcess


@pytest.fixture(scope="module")
def alone():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with EngineProcess([port]) as process:
        yield process.engines[0]


def ask(engine, request_id="req_test", **values):
    stream = values.pop("stream", False)
    body = {"model": "m", "messages": messages(script(**values)), "stream": stream, "stream_options": {"include_usage": True}}
    return httpx.post(engine.url + "/chat/completions", json=body, headers={"X-Request-ID": request_id}, timeout=10)


def chunks(answer):
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def test_a_message_without_a_script_gets_a_few_words(alone):
    body = {"model": "m", "messages": messages("Hi!")}
    answer = httpx.post(alone.url + "/chat/completions", json=body).json()
    assert answer["choices"][0]["message"]["content"] == "Hello from the scripted engine."


def test_the_words_of_a_stream_are_those_of_the_script(alone):
    found = chunks(ask(alone, text="one two three", stream=True))
    assert "".join(choice["delta"].get("content") or "" for chunk in found for choice in chunk["choices"]) == "one two three"
    assert found[-1]["usage"]["completion_tokens"] == 3


def test_pieces_of_tool_arguments_join_to_the_whole(alone):
    call = {"name": "f", "arguments": '{"city":"Zürich"}', "pieces": 5}
    found = chunks(ask(alone, tool_calls=[call], stream=True))
    pieces = [piece for chunk in found for choice in chunk["choices"] for piece in choice["delta"].get("tool_calls", [])]
    assert "".join(piece["function"]["arguments"] for piece in pieces) == call["arguments"]
    assert len(pieces) == 6


def test_vllm_puts_the_last_text_beside_the_finish_reason(alone):
    last = [chunk for chunk in chunks(ask(alone, text="a b", quirk="vllm", stream=True)) if chunk["choices"]][-1]
    assert last["choices"][0]["delta"] == {"content": "b"} and last["choices"][0]["finish_reason"] == "stop"


def test_llama_starts_with_a_null_content_and_adds_timings(alone):
    found = chunks(ask(alone, text="a", quirk="llama.cpp", stream=True))
    assert found[0]["choices"][0]["delta"]["content"] is None
    assert "timings" in found[-1]


def test_a_reset_ends_the_connection_with_an_error(alone):
    with pytest.raises(httpx.ReadError):
        ask(alone, "req_reset", text="a b c", cut={"how": "reset", "after_chunks": 2}, stream=True)
    record = alone.record("req_reset")
    assert record["end"] == "cut" and record["chunks"] == 2


def test_a_close_leaves_http_unfinished_and_a_clean_end_does_not(alone):
    with pytest.raises(httpx.RemoteProtocolError):
        ask(alone, text="a b c", cut={"how": "close", "after_bytes": 300}, stream=True)
    answer = ask(alone, text="a b c", cut={"how": "end", "after_chunks": 2}, stream=True)
    assert len(chunks(answer)) == 2 and "[DONE]" not in answer.text


def test_frames_can_be_replaced_by_any_bytes(alone):
    answer = ask(alone, text="a b c", raw_chunks={"1": "data: {\"broken\n\n", "2": "data: \udcff\n\n"}, stream=True)
    assert b'data: {"broken\n\n' in answer.content and b"data: \xff\n\n" in answer.content


def test_attempts_follow_each_other_by_request_id(alone):
    scripts = [{"status": 503}, {"status": 429, "body": "html"}, {"text": "at last"}]
    found = [ask(alone, "req_attempts", by_attempt=scripts) for _ in range(3)]
    assert [answer.status_code for answer in found] == [503, 429, 200]
    assert [record["attempt"] for record in alone.records("req_attempts")] == [1, 2, 3]


def test_the_record_says_when_the_client_left(alone):
    body = {"model": "m", "stream": True, "messages": messages(script(text="a", stall_after_chunks=1))}
    with httpx.stream("POST", alone.url + "/chat/completions", json=body, headers={"X-Request-ID": "req_left"}) as answer:
        next(answer.iter_raw())
    left = time.monotonic() * 1000
    record = alone.wait_for_end("req_left")
    assert record["end"] == "client closed"
    assert abs(record["client_closed_ms"] - left) < 50


def test_behaviour_rules_over_scripts_until_it_is_reset(alone):
    alone.behave(all_status=503, health_status=500)
    assert ask(alone, text="a").status_code == 503
    assert httpx.get(alone.url + "/models").status_code == 500
    alone.behave_well()
    assert ask(alone, text="a").status_code == 200


def test_an_unknown_member_of_a_script_is_refused(alone):
    answer = ask(alone, txet="a")
    assert answer.status_code == 400 and "txet" in answer.text
