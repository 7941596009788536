"""Without Postgres running streams finish and are counted later, once; new requests are told to wait (spec 01 §2)."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from harness.calls import expect_error
from harness.together import eventually, together

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
def test_streams_finish_during_an_outage_and_their_rows_follow_once(victim, processes, usage, ledger, postgres):
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
    rows = [usage.one(stream.request_id) for stream in streams]
    assert {row["output_tokens"] for row in rows} == {60}
    ledger.check(victim.project.id, rows)


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


@pytest.fixture
def primed(victim, usage) -> list:
    """The rows of chats with which each gateway has made its connections."""
    answers = together(40, lambda number: victim.chat("hi") if number % 2 else victim.caller.get("/v1/models"))
    assert {answer.status_code for answer in answers} == {200}
    return usage.of_project(victim.project.id)


@pytest.fixture
def no_commits(usage, processes):
    """The gateways keep the connections that they have, but the committers lose theirs and get no new ones."""
    with psycopg.connect(usage.database_url, autocommit=True) as connection:
        name = connection.execute("SELECT current_database()").fetchone()[0]
        connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND (query = 'SELECT 1' OR query LIKE '%ledger_settle%')"
        )
        yield
        connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
    processes.wait_until_back()


@pytest.mark.short
@pytest.mark.limit(180)
def test_what_cannot_be_booked_is_not_begun(victim, engine, usage, primed, no_commits):
    """Keys and endpoints can be read, so it is the committer alone that admits nothing."""
    time.sleep(1)
    before = engine.sequence
    for streamed in (False, True) * 5:
        assert victim.caller.get("/v1/models").status_code == 200
        answer = victim.chat("hi", stream=streamed)
        expect_error(answer, 503, "service_unavailable")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert engine.records(since=before) == []
    assert usage.of_project(victim.project.id) == primed


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
