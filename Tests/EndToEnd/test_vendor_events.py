"""Vendor events on opt-in, and none without (spec 02 §4)."""

import pytest

from harness.vendor_events import check_event, check_metadata

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
    assert not [name for chunk in stream.chunks for name in chunk if name.startswith("x_")]


def test_estimated_usage_says_so(tenant, engine):
    stream = tenant.stream(script={"text": "a b c", "usage": "none"}, stream_options={"x_events": True})
    assert stream.vendor_events[-1].value["usage_estimated"] is True


def test_the_option_does_not_reach_the_engine(tenant, engine):
    stream = tenant.stream(script={"text": "a"}, stream_options={"x_events": True})
    assert "x_events" not in engine.record(stream.request_id)["body"]["stream_options"]


def test_a_broken_stream_has_no_metadata_after_its_error(tenant, engine):
    stream = tenant.stream(script={"text": "a b", "finish_reason": None}, stream_options={"x_events": True})
    assert stream.frames[-1].kind == "error"
