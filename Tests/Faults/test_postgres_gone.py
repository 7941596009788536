"""Without Postgres running streams finish and are counted later, once; new requests are told to wait (spec 01 §2)."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from harness.calls import expect_error
from harness.together import eventually

STREAM = {"tokens": ["abc "], "repeat": 60, "delay_ms": 100, "obey_max_tokens": False}


@pytest.fixture
def postgres(processes):
    yield "postgres"
    if "postgres" not in processes.programs:
        processes.start("postgres")


def rows_of(usage, streams):
    """How many rows each stream has; nothing while Postgres is still starting."""
    try:
        return counted(usage, streams)
    except psycopg.OperationalError:
        return None


def counted(usage, streams):
    return [len(usage.of(stream.request_id)) for stream in streams]


@pytest.mark.short
@pytest.mark.limit(300)
def test_streams_finish_during_an_outage_and_their_rows_follow_once(victim, processes, usage, postgres):
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(victim.stream, script=STREAM) for _ in range(8)]
        time.sleep(2)
        processes.stop(postgres)
        streams = [each.result() for each in running]
    for stream in streams:
        stream.check()
        assert stream.text() == "abc " * 60
    processes.start(postgres)
    eventually(lambda: rows_of(usage, streams) == [1] * 8, seconds=60, every=0.5)
    assert {usage.one(stream.request_id)["output_tokens"] for stream in streams} == {60}


@pytest.mark.short
@pytest.mark.limit(300)
def test_new_requests_are_503_with_a_time_to_come_back(victim, processes, usage, postgres):
    processes.stop(postgres)
    time.sleep(1.5)
    for _ in range(10):
        answer = victim.chat("hi")
        expect_error(answer, 503, "service_unavailable")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
    for key in ("xero_bad_key", victim.key.key):
        expect_error(victim.caller.get("/v1/models", key=key), *((401, "authentication_error") if key == "xero_bad_key" else (503, "service_unavailable")))
    ready = victim.caller.client.get("/readyz")
    assert ready.status_code == 503
    assert victim.caller.client.get("/healthz").status_code == 200
    processes.start(postgres)
    processes.wait_until_back()


@pytest.mark.long
@pytest.mark.limit(600)
def test_rows_survive_the_death_of_the_gateways_during_the_outage(victim, processes, usage, postgres):
    """The journal is on disk before the last byte, so even kill -9 of every gateway loses no row and doubles none."""
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(victim.stream, script=STREAM) for _ in range(8)]
        time.sleep(2)
        processes.stop(postgres)
        streams = [each.result() for each in running]
    for name in processes.gateways:
        processes.kill(name)
    processes.start(postgres)
    processes.wait_until_back()
    eventually(lambda: rows_of(usage, streams) == [1] * 8, seconds=60, every=0.5)
    processes.restart_gateways()
    time.sleep(3)
    assert rows_of(usage, streams) == [1] * 8
