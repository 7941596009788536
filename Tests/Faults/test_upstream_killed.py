"""The upstream dies in the middle of its streams (spec 04 §4-5)."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

STREAM = {"tokens": ["abc "], "repeat": 600, "delay_ms": 50, "obey_max_tokens": False}


@pytest.mark.short
def test_killing_the_upstream_ends_every_stream_with_an_error_frame(make_tenant, mortal_engine, usage):
    mortal_engine.start()
    tenant = make_tenant(upstream_url=mortal_engine.engines[0].url)
    with ThreadPoolExecutor(10) as pool:
        running = [pool.submit(tenant.stream, script=STREAM) for _ in range(10)]
        time.sleep(1.5)
        mortal_engine.kill()
        killed = time.monotonic()
        streams = [each.result() for each in running]
    assert time.monotonic() - killed < 6
    for stream in streams:
        stream.check_broken(("stream_interrupted",))
        row = usage.one(stream.request_id)
        assert (row["status_code"], row["error_code"], row["fault"]) == (200, "stream_interrupted", "agent")
        assert row["output_tokens"] > 0


@pytest.mark.short
def test_an_upstream_that_comes_back_is_used_again(make_tenant, mortal_engine):
    mortal_engine.start()
    tenant = make_tenant(upstream_url=mortal_engine.engines[0].url)
    assert tenant.chat("hi").status_code == 200
    mortal_engine.stop()
    assert tenant.chat("hi").status_code in (502, 503)
    mortal_engine.start()
    assert tenant.chat("hi").status_code == 200
