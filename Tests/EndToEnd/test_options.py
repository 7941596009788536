"""Every listed parameter of 02 §2: good edges reach the engine unchanged, bad values are 400 and reach nothing."""

import pytest

from harness.calls import expect_error

LONG = "x" * 513

# (parameter, value, what else the request needs)
EDGES = [
    ("temperature", 0, {}), ("temperature", 2, {}), ("temperature", 1.25, {}),
    ("top_p", 0, {}), ("top_p", 1, {}),
    ("n", 1, {}), ("n", 8, {}),
    ("max_tokens", 1, {}), ("max_completion_tokens", 1, {}),
    ("frequency_penalty", -2, {}), ("frequency_penalty", 2, {}),
    ("presence_penalty", -2, {}), ("presence_penalty", 2, {}),
    ("stop", "END", {}), ("stop", ["a"], {}), ("stop", ["a" * 256, "b", "c", "d"], {}),
    ("logit_bias", {"1": -100, "2": 100}, {}), ("logit_bias", {str(token): 1 for token in range(1024)}, {}),
    ("seed", 0, {}), ("seed", -(2**63), {}), ("seed", 2**63 - 1, {}),
    ("logprobs", True, {}), ("logprobs", False, {}),
    ("top_logprobs", 0, {"logprobs": True}), ("top_logprobs", 20, {"logprobs": True}),
    *[("reasoning_effort", effort, {}) for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max")],
    ("prediction", {"type": "content", "content": "def main():"}, {}),
    ("parallel_tool_calls", False, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
    ("response_format", {"type": "text"}, {}), ("response_format", {"type": "json_object"}, {}),
]

ACCEPTED = [
    ("user", "u" * 512), ("safety_identifier", "s" * 512), ("prompt_cache_key", "p" * 64), ("store", True), ("store", False),
    ("metadata", {"k" * 64: "v" * 512}), ("metadata", {f"key{number}": "v" for number in range(16)}), ("modalities", ["text"]),
    ("service_tier", "flex"), ("stream", False),
]

BAD = [
    *[("temperature", value, {}) for value in (-0.1, 2.1, "1", [], {}, True)],
    *[("top_p", value, {}) for value in (-0.1, 1.1, "1", [])],
    *[("n", value, {}) for value in (0, 9, -1, 1.5, "2", True)],
    *[("max_tokens", value, {}) for value in (0, -1, 1.5, "10", True, [])],
    *[("max_completion_tokens", value, {}) for value in (0, -1, 1.5, "10", {})],
    *[("frequency_penalty", value, {}) for value in (-2.1, 2.1, "1")],
    *[("presence_penalty", value, {}) for value in (-2.1, 2.1, [])],
    *[("stream", value, {}) for value in ("yes", 1, [])],
    *[("stop", value, {}) for value in ([], list("abcde"), "", "x" * 257, ["a", ""], ["x" * 257], 5, [1], {})],
    *[("stream_options", value, {"stream": True}) for value in ("x", [], {"include_usage": "yes"}, {"x_events": 1})],
    *[("logit_bias", value, {}) for value in ({"1": 101}, {"1": -101}, {"1": "x"}, {"token": 1}, {"-1": 1}, {"1.5": 1}, [], "x", {str(token): 1 for token in range(1025)})],
    *[("seed", value, {}) for value in (1.5, "1", True, [])],
    *[("logprobs", value, {}) for value in ("yes", 1)],
    *[("top_logprobs", value, {"logprobs": True}) for value in (-1, 21, 1.5, "5")],
    *[("reasoning_effort", value, {}) for value in ("extreme", 1, "")],
    *[("prediction", value, {}) for value in ("x", {"type": "other", "content": "x"}, {"type": "content"}, {"type": "content", "content": [5]}, {"type": "content", "content": [{"type": "image_url"}]})],
    *[("user", value, {}) for value in (LONG, 5)],
    *[("safety_identifier", value, {}) for value in (LONG, [])],
    *[("prompt_cache_key", value, {}) for value in ("x" * 65, 5)],
    *[("store", value, {}) for value in ("yes", 1)],
    *[("service_tier", value, {}) for value in ("gold", "batch", 5)],
    *[("response_format", value, {}) for value in ("json", [], {}, {"type": "xml"}, {"type": "json_schema"})],
    *[("parallel_tool_calls", value, {"tools": [{"type": "function", "function": {"name": "f"}}]}) for value in ("no", 1)],
]

BAD_METADATA = [
    {f"key{number}": "v" for number in range(17)}, {"k" * 65: "v"}, {"": "v"}, {"k": "v" * 513}, {"k": 1}, {"k": None}, {"k": {}}, "x", [],
]


def named(case):
    return repr(case)[:60]


@pytest.mark.parametrize("name,value,more", EDGES, ids=named)
def test_a_good_value_reaches_the_engine_unchanged(tenant, engine, name, value, more):
    answer = tenant.chat(script={"text": "{}"}, **{name: value}, **more)
    assert answer.status_code == 200, answer.text
    sent = engine.record(answer.headers["x-request-id"])["body"]
    assert sent[name] == value
    assert "x-xerotier-clamped" not in answer.headers


@pytest.mark.parametrize("name,value", ACCEPTED, ids=named)
def test_a_good_value_is_accepted(tenant, engine, name, value):
    assert tenant.chat(script={"text": "a"}, **{name: value}).status_code == 200


@pytest.mark.parametrize("name,value,more", BAD, ids=named)
def test_a_bad_value_is_refused_by_name_and_reaches_nothing(tenant, engine, usage, name, value, more):
    answer = tenant.chat(script={"text": "a"}, **{name: value}, **more)
    expect_error(answer, 400, "invalid_value", *(["missing_required_parameter"] if isinstance(value, dict) else []), param=name)
    request_id = answer.headers["x-request-id"]
    assert engine.records(request_id) == []
    usage.none(request_id)


@pytest.mark.parametrize("value", BAD_METADATA, ids=named)
def test_bad_metadata_has_its_own_code(tenant, engine, value):
    answer = tenant.chat(script={"text": "a"}, metadata=value)
    expect_error(answer, 400, "invalid_metadata", param="metadata")
    assert engine.records(answer.headers["x-request-id"]) == []


@pytest.mark.parametrize("name", sorted({name for name, _, _ in EDGES} | {name for name, _ in ACCEPTED} | {"stream_options", "tools", "tool_choice", "audio"}))
def test_null_is_the_same_as_absent(tenant, engine, name):
    assert tenant.chat(script={"text": "a"}, **{name: None}).status_code == 200


def test_top_logprobs_need_logprobs(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, top_logprobs=5)
    expect_error(answer, 400, "unsupported_combination", "invalid_value", param="top_logprobs")
    assert engine.records(answer.headers["x-request-id"]) == []


def test_stream_options_need_a_stream(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, stream_options={"include_usage": True})
    expect_error(answer, 400, "unsupported_combination", param="stream_options")


def test_obfuscation_is_ignored(tenant, engine):
    stream = tenant.stream(script={"text": "a"}, stream_options={"include_obfuscation": True})
    stream.check()
    assert b"obfuscation" not in stream.raw


@pytest.mark.parametrize("name,value", [("modalities", ["text", "audio"]), ("modalities", ["audio"]), ("modalities", ["video"])])
def test_other_modalities_are_refused(tenant, engine, name, value):
    expect_error(tenant.chat(script={"text": "a"}, **{name: value}), 400, "unsupported_modality", param=name)


def test_audio_output_is_refused(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, audio={"voice": "alloy", "format": "wav"})
    expect_error(answer, 400, "unsupported_modality")


@pytest.mark.parametrize("value", ["9223372036854775808", "-9223372036854775809", "1e400"])
def test_a_number_beyond_int64_or_double_is_refused(tenant, engine, value):
    body = b'{"model":"talk","messages":[{"role":"user","content":"hi"}],"seed":%s}' % value.encode()
    expect_error(tenant.chat_raw(body), 400, "json_parse_error", "invalid_value")


def test_sampling_defaults_of_the_document_reach_the_engine(tenant, engine):
    answer = tenant.chat(script={"text": "a"})
    sent = engine.record(answer.headers["x-request-id"])["body"]
    assert (sent["temperature"], sent["top_p"]) == (0.7, 0.9)


def test_max_completion_tokens_wins_over_max_tokens(tenant, engine):
    answer = tenant.chat(script={"text": "one two three four five"}, max_completion_tokens=2, max_tokens=4)
    assert answer.json()["usage"]["completion_tokens"] == 2
    assert answer.json()["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("header,value", [("X-SLO-TTFT-Ms", value) for value in ("0", "600001", "fast", "1.5", "-1")] + [("X-SLO-TPOT-Ms", value) for value in ("0", "60001", "x")])
def test_a_latency_hint_out_of_range_is_refused(tenant, engine, header, value):
    expect_error(tenant.chat(script={"text": "a"}, headers={header: value}), 400, "invalid_value")


@pytest.mark.parametrize("header,value", [("X-SLO-TTFT-Ms", "1"), ("X-SLO-TTFT-Ms", "600000"), ("X-SLO-TPOT-Ms", "60000")])
def test_a_latency_hint_in_range_is_accepted(tenant, engine, header, value):
    assert tenant.chat(script={"text": "a"}, headers={header: value}).status_code == 200
