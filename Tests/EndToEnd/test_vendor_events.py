"""Vendor events on opt-in, and none without (spec 02 §4)."""

import json

import pytest

from harness.vendor_events import EVENTS, check_event, check_metadata

OPT_INS = {"header": {"headers": {"X-Xerotier-Events": "on"}}, "option": {"stream_options": {"x_events": True}}}


@pytest.mark.parametrize("way", OPT_INS)
def test_every_event_obeys_its_schema_and_is_numbered(tenant, engine, way):
    stream = tenant.stream(script={"reasoning": ["Let me ", "think."], "text": "Yes."}, **OPT_INS[way])
    stream.check(opted_in=True)
    events = stream.vendor_events
    assert [event.name for event in events] == ["x_chat.reasoning"] * (len(events) - 1) + ["x_chat.metadata"]
    for number, event in enumerate(events):
        check_event(event.name, event.value)
        assert event.value["seq"] == number
        assert event.value["id"] == stream.chunks[0]["id"]


@pytest.mark.parametrize("way", OPT_INS)
def test_reasoning_moves_from_the_deltas_to_events(tenant, engine, way):
    stream = tenant.stream(script={"reasoning": ["Let me ", "think."], "text": "Yes."}, **OPT_INS[way])
    said = "".join(event.value["delta"] for event in stream.vendor_events if event.name == "x_chat.reasoning")
    assert said == "Let me think."
    assert all("reasoning_content" not in delta for delta in stream.deltas())


def test_metadata_comes_once_between_usage_and_done(tenant, engine):
    stream = tenant.stream(script={"text": "a b"}, stream_options={"include_usage": True, "x_events": True})
    assert [frame.kind for frame in stream.frames[-3:]] == ["chunk", "vendor", "done"]
    assert stream.frames[-3].value["usage"] is not None
    assert stream.frames[-2].name == "x_chat.metadata"


def test_metadata_tells_the_routing_and_the_usage(tenant, engine):
    stream = tenant.stream(script={"text": "a b c"}, stream_options={"x_events": True})
    metadata = stream.vendor_events[-1].value
    assert metadata["routing"]["worker_id"] == f"upstream:{tenant.endpoint.id}"
    assert metadata["routing"]["attempts"] == 1
    assert metadata["routing"]["tier"] == "demo"
    assert metadata["usage"]["output_tokens"] == 3


def test_the_body_carries_the_same_metadata(tenant, engine):
    body = tenant.chat(script={"text": "a b c"}, headers={"X-Xerotier-Events": "on"}).json()
    check_metadata(body["x_metadata"])
    assert body["x_metadata"]["usage"]["output_tokens"] == 3


def test_without_opt_in_no_event_line_is_sent(tenant, engine):
    stream = tenant.stream(script={"reasoning": ["Hm."], "text": "Yes."})
    assert b"event:" not in stream.raw
    body = tenant.chat(script={"reasoning": ["Hm."], "text": "Yes."}).json()
    assert not [name for answer in [*stream.chunks, body] for name in answer if name.startswith("x_")]


def test_estimated_usage_says_so(tenant, engine):
    stream = tenant.stream(script={"text": "a b c", "usage": "none"}, stream_options={"x_events": True})
    assert stream.vendor_events[-1].value["usage_estimated"] is True


def test_the_option_does_not_reach_the_engine(tenant, engine):
    stream = tenant.stream(script={"text": "a"}, stream_options={"x_events": True})
    assert "x_events" not in engine.record(stream.request_id)["body"]["stream_options"]


def test_a_broken_stream_has_no_metadata_after_its_error(tenant, engine):
    stream = tenant.stream(script={"text": "a b", "finish_reason": None}, stream_options={"x_events": True})
    assert stream.frames[-1].kind == "error"


def test_reasoning_ends_with_the_count_of_its_tokens(tenant, engine):
    stream = tenant.stream(script={"reasoning": ["Let me ", "think."], "text": "Yes."}, stream_options={"x_events": True})
    [end] = [event.value for event in stream.vendor_events if event.name == "x_chat.reasoning" and event.value.get("done")]
    assert (end["delta"], end["tokens"]) == ("", 2)


def test_each_choice_thinks_for_itself(tenant, engine):
    stream = tenant.stream(script={"reasoning": ["Hm", "m."], "text": "Yes."}, n=2, stream_options={"x_events": True})
    stream.check(choices=2, opted_in=True)
    said = [event.value for event in stream.vendor_events if event.name == "x_chat.reasoning"]
    for index in (0, 1):
        assert "".join(event["delta"] for event in said if event["index"] == index) == "Hmm."
        assert [event.get("done", False) for event in said if event["index"] == index] == [False, False, True]
    for event in said:
        check_event("x_chat.reasoning", event)


@pytest.mark.parametrize("said", [
    {"text": "a b"}, {"reasoning": ["Hm."], "text": "a"}, {"reasoning": ["Hm."], "tool_calls": [{"name": "f", "arguments": "{}"}]}, {"refusal": "no"},
    {"text": "a", "usage": "none"}, {"text": "a b c", "quirk": "vllm"}, {"text": "a b c", "quirk": "llama.cpp"},
], ids=str)
@pytest.mark.parametrize("values", [{}, {"n": 2}, {"max_tokens": 1}], ids=str)
def test_whatever_is_said_its_events_obey_their_schemas(tenant, engine, said, values):
    stream = tenant.stream(script=said, stream_options={"x_events": True, "include_usage": True}, **values)
    stream.check(choices=values.get("n", 1), include_usage=True, opted_in=True)
    for number, event in enumerate(stream.vendor_events):
        check_event(event.name, event.value)
        assert event.value["seq"] == number
    assert stream.vendor_events[-1].name == "x_chat.metadata"


def test_the_schemas_of_these_tests_are_those_of_the_specification(shared):
    text = (shared / "spec" / "02-inference-api.md").read_text().split("### 4. Vendor events")[1].split("```json")[1].split("```")[0]
    specified = json.loads(text)
    for name, schema in EVENTS.items():
        assert schema["required"] == specified[name]["required"]
        assert set(schema["properties"]) == set(specified[name]["properties"])
