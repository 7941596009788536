"""A client that goes away: the upstream hears it at once and the row says 499 (spec 02 §3)."""

import pytest

from harness.raw import RawCall

CLOSED_WITHIN_MS = 50


def leave(tenant, stack, engine, mark: bytes | None, **script):
    """Opens a stream, reads to the mark, goes away. Returns the engine's record and the delay in ms."""
    call = RawCall(stack.http_address)
    call.post_json("/v1/chat/completions", tenant.body(script=script, stream=script.pop("streamed", True)), tenant.key.key)
    if mark is not None:
        call.read_until(mark)
        request_id = call.header("x-request-id")
    else:
        request_id = wait_for_newest(engine)
    left = call.close()
    record = engine.wait_for_end(request_id)
    return record, record["client_closed_ms"] - left


def wait_for_newest(engine) -> str:
    from harness.together import eventually

    return eventually(lambda: [record for record in engine.records() if record["end"] == "running"])[-1]["request_id"]


def soonest(leave_once) -> tuple:
    """The last record and the shortest delay of five: on a busy machine each of them may be late, but not all for a reason of ours."""
    delays = []
    for _ in range(5):
        record, delay = leave_once()
        assert record["end"] == "client closed"
        delays.append(delay)
    return record, min(delays)


def test_the_engine_hears_of_it_within_fifty_milliseconds(tenant, stack, engine):
    _, delay = soonest(lambda: leave(tenant, stack, engine, b"abc ", tokens=["abc "], repeat=1000, delay_ms=20))
    assert delay < CLOSED_WITHIN_MS


def test_even_while_the_engine_is_silent(tenant, stack, engine):
    _, delay = soonest(lambda: leave(tenant, stack, engine, b"abc ", tokens=["abc "], repeat=10, stall_after_chunks=3))
    assert delay < CLOSED_WITHIN_MS


def test_even_before_the_first_byte(tenant, stack, engine, usage):
    def leave_once():
        engine.control("DELETE", "/__records")
        return leave(tenant, stack, engine, None, text="a", never_answer=True)

    record, delay = soonest(leave_once)
    assert delay < CLOSED_WITHIN_MS
    assert usage.one(record["request_id"], seconds=3)["status_code"] == 499


def test_the_row_says_499_and_the_tokens_produced(tenant, stack, engine, usage):
    record, _ = leave(tenant, stack, engine, b"abc ", tokens=["abc "], repeat=1000, delay_ms=10)
    row = usage.one(record["request_id"], seconds=3)
    assert (row["status_code"], row["cut_by_client"], row["error_code"], row["fault"]) == (499, True, "client_closed_request", "client")
    assert 0 < row["output_tokens"] < 1000
    assert abs(row["output_tokens"] - record["tokens"]) <= 4
    assert row["cost_nano"] > 0


@pytest.mark.parametrize("text", ["never_answer", "stall_after_chunks"])
def test_a_client_of_a_body_that_leaves_is_recorded_too(tenant, stack, engine, usage, text):
    engine.control("DELETE", "/__records")
    call = RawCall(stack.http_address)
    script = {"never_answer": True} if text == "never_answer" else {"text": "a", "first_delay_ms": 60_000}
    call.post_json("/v1/chat/completions", tenant.body(script=script), tenant.key.key)
    request_id = wait_for_newest(engine)
    left = call.close()
    record = engine.wait_for_end(request_id)
    assert record["client_closed_ms"] - left < 250
    row = usage.one(request_id, seconds=3)
    assert (row["status_code"], row["cut_by_client"]) == (499, True)


def test_a_client_that_finished_is_no_disconnect(tenant, engine, usage):
    row = usage.one(tenant.stream(script={"text": "a b"}).request_id)
    assert (row["status_code"], row["cut_by_client"]) == (200, False)
