"""Chat completions without a stream (spec 02 §2)."""

import re

import pytest

from harness.calls import messages, script


def test_a_completion_carries_the_words_of_the_model(tenant, engine):
    answer = tenant.chat(script={"text": "Good morning, world."})
    body = answer.json()
    assert answer.status_code == 200
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"] == "Good morning, world."
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["choices"][0]["logprobs"] is None


def test_the_model_is_the_served_one_and_the_id_is_ours(tenant, engine):
    body = tenant.chat(script={"text": "a", "model": "/mnt/weights/secret.gguf"}).json()
    assert body["model"] == tenant.endpoint.model
    assert not body["id"].startswith("chatcmpl-upstream")


def test_the_engine_gets_its_own_model_name_and_our_request_id(tenant, engine):
    answer = tenant.chat(script={"text": "a"})
    record = engine.record(answer.headers["x-request-id"])
    assert record["body"]["model"] == "scripted-model"
    assert record["path"] == "/v1/chat/completions"
    assert record["headers"]["content-type"].startswith("application/json")


def test_the_clients_key_never_reaches_the_engine(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, headers={"OpenAI-Organization": "org-1", "OpenAI-Project": "p-1"})
    record = engine.record(answer.headers["x-request-id"])
    assert tenant.key.key not in str(record["headers"])


def test_several_choices_come_in_the_order_of_their_index(tenant, engine):
    body = tenant.chat(script={"text": "a b"}, n=3).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]


def test_usage_says_what_the_engine_counted(tenant, engine):
    usage = {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27, "prompt_tokens_details": {"cached_tokens": 16},
             "completion_tokens_details": {"reasoning_tokens": 3}}
    body = tenant.chat(script={"text": "a", "usage": usage}).json()
    assert body["usage"]["prompt_tokens"] == 20
    assert body["usage"]["completion_tokens"] == 7
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 16, "audio_tokens": 0}
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3


def test_missing_usage_is_estimated_from_bytes(tenant, engine):
    body = tenant.chat(script={"text": "x" * 40, "usage": "none"}, headers={"X-Xerotier-Events": "on"}).json()
    assert body["usage"]["completion_tokens"] == 10
    assert body["usage"]["prompt_tokens"] > 0
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert body["x_metadata"]["usage_estimated"] is True


def test_counting_multibyte_text_goes_by_utf8_bytes(tenant, engine):
    body = tenant.chat(script={"text": "ü" * 10, "usage": "none"}).json()
    assert body["usage"]["completion_tokens"] == 5


def test_reasoning_text_comes_beside_the_content(tenant, engine):
    message = tenant.chat(script={"reasoning": ["Let me ", "think."], "text": "Yes."}).json()["choices"][0]["message"]
    assert message["reasoning_content"] == "Let me think."
    assert message["content"] == "Yes."


def test_a_refusal_is_passed_on(tenant, engine):
    message = tenant.chat(script={"refusal": "I can not."}).json()["choices"][0]["message"]
    assert message["refusal"] == "I can not." and message["content"] is None


def test_logprobs_are_passed_on(tenant, engine):
    choice = tenant.chat(script={"text": "a b"}, logprobs=True).json()["choices"][0]
    assert [entry["token"] for entry in choice["logprobs"]["content"]] == ["a ", "b"]


@pytest.mark.parametrize("quirk", ["openai", "llama.cpp", "vllm"])
def test_habits_of_engines_do_not_show(tenant, engine, quirk):
    body = tenant.chat(script={"text": "one two", "quirk": quirk}).json()
    assert "timings" not in body
    assert set(body["choices"][0]) == {"index", "message", "finish_reason", "logprobs"}
    assert "tool_calls" not in body["choices"][0]["message"]


@pytest.mark.parametrize("asked,echoed", [
    (..., "default"), (None, "default"), ("auto", "default"), ("default", "default"), ("priority", "priority"),
    ("fast", "priority"), ("latency", "priority"), ("scale", "scale"), ("throughput", "scale"), ("flex", "flex"), ("cost", "flex"),
])
def test_the_service_tier_is_echoed_by_its_canonical_name(tenant, engine, asked, echoed):
    assert tenant.chat(script={"text": "a"}, service_tier=asked).json()["service_tier"] == echoed


def test_any_role_may_come_last(tenant, engine):
    history = [{"role": "user", "content": script(text="yes")}, {"role": "assistant", "content": "One more"}]
    answer = tenant.caller.post("/v1/chat/completions", {"model": "talk", "messages": history})
    assert answer.status_code == 200
    assert engine.record(answer.headers["x-request-id"])["body"]["messages"] == history


@pytest.mark.parametrize("role", ["system", "developer"])
def test_instructions_reach_the_engine_unchanged(tenant, engine, role):
    sent = [{"role": role, "content": "Be brief."}, *messages(script(text="ok"))]
    answer = tenant.caller.post("/v1/chat/completions", {"model": "talk", "messages": sent})
    assert engine.record(answer.headers["x-request-id"])["body"]["messages"] == sent


def test_metadata_is_echoed_or_left_out_but_never_wrong(tenant, engine):
    body = tenant.chat(script={"text": "a"}, metadata={"purpose": "test"}).json()
    assert body.get("metadata", {"purpose": "test"}) == {"purpose": "test"}


def test_metadata_of_the_routing_needs_the_opt_in(tenant, engine):
    assert "x_metadata" not in tenant.chat(script={"text": "a"}).json()
    assert "x_metadata" in tenant.chat(script={"text": "a"}, headers={"X-Xerotier-Events": "on"}).json()


def test_the_answer_of_a_slow_model_is_waited_for(tenant, engine):
    answer = tenant.chat(script={"text": "late", "first_delay_ms": 1500})
    assert answer.status_code == 200
    assert re.fullmatch(r"\d+\.\d{3}", answer.headers["x-xerotier-router-ms"])


def test_an_answer_of_a_megabyte_arrives_whole(tenant, engine):
    text = "0123456789abcdef" * 65536
    assert tenant.chat(script={"tokens": ["0123456789abcdef"], "repeat": 65536, "obey_max_tokens": False}, timeout=60).json()["choices"][0]["message"]["content"] == text
