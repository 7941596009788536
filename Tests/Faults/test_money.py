"""Money under concurrency, cuts, kills and outages (spec 08 §6): nothing is spent twice, lost, or given away."""

import json
import os
import random
import threading
import time

import psycopg
import pytest

from harness.ledger import DEMO_TOKEN, dollars
from harness.load import Load
from harness.raw import RawCall
from harness.tenants import Project, billing
from harness.together import begun, eventually, together

SEED = int(os.environ.get("XEROTIER_TEST_SEED", "20261125"))


def script_text(**values) -> str:
    return json.dumps({"script": values})


def usage_of(prompt: int, completion: int) -> dict:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def paid_as_held(completion: int, **values) -> tuple:
    """A script whose reported prompt is as large as the one that is held, and that size: half the bytes, and the figure is among them."""
    prompt = 100
    while True:
        content = script_text(usage=usage_of(prompt, completion), **values)
        if (len(content) + 1) // 2 == prompt:
            return content, prompt
        prompt = (len(content) + 1) // 2


class Watch:
    """Reads the balances again and again meanwhile."""

    def __init__(self, ledger, project_id: str):
        self.ledger, self.project_id = ledger, project_id
        self.lowest = None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self):
        while not self.stopped.is_set():
            lowest = min(self.ledger.balances(self.project_id).values())
            self.lowest = lowest if self.lowest is None else min(self.lowest, lowest)

    def __enter__(self) -> "Watch":
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join(10)
        assert self.lowest is not None and self.lowest >= 0, self.lowest


@pytest.mark.short
@pytest.mark.limit(180)
def test_of_200_requests_on_money_for_50_no_more_than_50_run(make_tenant, engine, processes, usage, ledger, own_ledger):
    """Two gateway processes share the balance; each request costs what it holds."""
    assert len([name for name in processes.gateways if name.startswith("gateway-")]) >= 2
    tokens = 20
    content, prompt = paid_as_held(tokens=["a "], repeat=tokens, first_delay_ms=3000, completion=tokens)
    each = (prompt + tokens) * DEMO_TOKEN
    project = Project.create("money", credit=dollars(50 * each))
    tenant = make_tenant(project)
    engine.control("DELETE", "/__records")
    with Watch(own_ledger, project.id):
        answers = together(200, lambda number: tenant.chat(content, max_tokens=tokens, stream=number % 2 == 0))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 402}
    ran = statuses.count(200)
    assert 45 <= ran <= 50
    assert len(engine.records()) == ran
    rows = usage.of_project(project.id)
    assert [row["cost_nano"] for row in rows] == [each] * ran
    ledger.check(project.id, rows)


@pytest.mark.short
@pytest.mark.limit(180)
def test_64_streams_on_a_nearly_empty_balance_end_for_their_length_at_exactly_zero(make_tenant, engine, processes, usage, ledger):
    content = script_text(tokens=["a "], repeat=6_000, delay_ms=1, obey_max_tokens=False)  # more than one stream could ever pay
    hold = (len(content) + 1) // 2 + 100
    project = Project.create("money", credit=dollars((64 * hold + 5_000) * DEMO_TOKEN))
    tenant = make_tenant(project)
    streams = begun(together(64, lambda number: tenant.try_stream(content, max_tokens=100)), "insufficient_credits")
    for stream in streams:
        stream.check()
        assert stream.finish_reasons() == {0: "length"}
    rows = usage.of_project(project.id)
    assert len(rows) == len(streams)
    assert {row["request_id"]: row["output_tokens"] for row in rows} == {stream.request_id: stream.text().count("a ") for stream in streams}
    assert ledger.money(project.id) == 0
    ledger.check(project.id, rows)


@pytest.mark.short
def test_no_answer_ends_before_it_is_settled(make_tenant, stack, engine, usage, ledger):
    """While the books are locked, what was produced is shown and the end is not."""
    tenant = make_tenant(Project.create("money"))
    calls = [RawCall(stack.http_address) for _ in range(2)]
    with psycopg.connect(usage.database_url) as connection:
        connection.execute("LOCK TABLE usage_events IN ACCESS EXCLUSIVE MODE")
        for call, streamed in zip(calls, (True, False)):
            call.post_json("/v1/chat/completions", tenant.body(script={"tokens": ["tok "], "repeat": 5}, stream=streamed), tenant.key.key)
        calls[0].read_until(b'"content":"tok "', times=5)
        for call in calls:
            call.socket.settimeout(0.25)
            with pytest.raises(TimeoutError):
                while piece := call.socket.recv(65536):
                    call.received += piece
        assert b"[DONE]" not in calls[0].received and b'"finish_reason":"stop"' in calls[0].received
        assert calls[1].received == b""
        connection.rollback()
    calls[0].socket.settimeout(10)
    calls[0].read_until(b"[DONE]")
    calls[1].socket.settimeout(10)
    calls[1].read_until(b"\r\n\r\n")
    rows = [usage.one(call.header("x-request-id")) for call in calls]
    assert [row["output_tokens"] for row in rows] == [5, 5]
    ledger.check(tenant.project.id, rows)


FRAMES = 24


@pytest.mark.short
@pytest.mark.limit(180)
def test_a_client_may_leave_at_every_frame(make_tenant, stack, engine, usage, ledger):
    tenant = make_tenant(Project.create("money"))
    body = tenant.body(script={"tokens": ["tok "], "repeat": FRAMES, "delay_ms": 25}, stream=True)

    def leave(frame: int) -> tuple:
        call = RawCall(stack.http_address)
        call.post_json("/v1/chat/completions", body, tenant.key.key)
        call.read_until(b"data: ", times=frame + 1)
        request_id = call.header("x-request-id")
        call.close()
        return request_id, call.received.count(b'"content":"tok "'), b"[DONE]" in call.received

    left = together(FRAMES + 3, leave, threads=8)
    for request_id, seen, is_done in left:
        record = engine.wait_for_end(request_id)
        row = usage.one(request_id, seconds=5)
        # What was forwarded is paid; what the engine made while the news travelled may be, and no more than a few tokens.
        assert seen <= row["output_tokens"] <= record["tokens"], (row["output_tokens"], record["tokens"], seen)
        assert row["output_tokens"] <= seen + 4 or row["status_code"] == 200
        assert row["cost_nano"] == (row["input_tokens"] + row["output_tokens"]) * DEMO_TOKEN
        assert row["input_tokens"] > 0
    assert {row["status_code"] for row in usage.of_project(tenant.project.id)} >= {499}
    ledger.check(tenant.project.id, usage.of_project(tenant.project.id))


@pytest.mark.short
@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_may_leave_before_the_first_frame(make_tenant, stack, engine, usage, ledger, streamed):
    """Nothing was produced for it, and nothing is paid or kept."""
    tenant = make_tenant(Project.create("money"))
    engine.control("DELETE", "/__records")
    call = RawCall(stack.http_address)
    call.post_json("/v1/chat/completions", tenant.body(script={"text": "a", "never_answer": True}, stream=streamed), tenant.key.key)
    record = eventually(lambda: engine.records())[0]
    call.close()
    row = usage.one(record["request_id"], seconds=5)
    assert (row["status_code"], row["output_tokens"], row["cost_nano"]) == (499, 0, 0)
    ledger.check(tenant.project.id, [row])


@pytest.mark.short
@pytest.mark.limit(180)
@pytest.mark.parametrize("how", ["reset", "close"])
def test_the_engine_may_break_off_at_every_frame(make_tenant, engine, usage, ledger, how):
    """Its own fault: only output is paid, and before the first token nothing is."""
    tenant = make_tenant(Project.create("money"))

    def broken(chunks: int) -> tuple:
        script = {"tokens": ["tok "], "repeat": FRAMES, "delay_ms": 2, "cut": {"how": how, "after_chunks": chunks}}
        answer = tenant.caller.client.post("/v1/chat/completions", json=tenant.body(script=script, stream=True), headers=tenant.caller.headers(None, "own"))
        return answer.headers["x-request-id"], answer.text.count('"content":"tok "')

    for chunks, (request_id, seen) in enumerate(together(FRAMES + 4, broken, threads=8)):
        row = usage.one(request_id, seconds=5)
        # All that came is passed on and paid; of what a reset swept away nobody knows.
        assert row["output_tokens"] == seen
        if how == "close":
            assert seen == min(FRAMES, max(chunks - 1, 0))
        if row["error_code"] is None:
            # After its last word the engine had nothing more to say.
            assert seen == FRAMES and row["input_tokens"] > 0
            assert row["cost_nano"] == (row["input_tokens"] + row["output_tokens"]) * DEMO_TOKEN
            continue
        assert row["fault"] == "agent"
        assert seen <= min(FRAMES, max(chunks - 1, 0))
        assert row["cost_nano"] == row["output_tokens"] * DEMO_TOKEN
    ledger.check(tenant.project.id, usage.of_project(tenant.project.id))


# Kills and outages


def closing_lines(victim, usage, ledger, load: Load) -> str:
    """Waits until nothing is held any more, and says what became of every request."""
    project_id = victim.project.id
    ledger.wait_until_nothing_is_held(project_id)
    rows = usage.of_project(project_id)
    ledger.check(project_id, rows)
    written_off = ledger.written_off(project_id)
    assert written_off == 0
    kinds = {kind: load.count(kind) for kind in ("answered", "refused", "cut", "lost", "wrong")}
    released = len(ledger.query("SELECT id FROM ledger_holds WHERE project_id = %s AND state <> 'open'", project_id))
    return f"sent {len(load.outcomes)} {kinds} settled {len(ledger.settled(project_id))} rows {len(rows)} holds ended {released} written off {written_off}\nbilling verify: {billing('verify').strip()}"


def kill_under_load(victim, processes, usage, ledger, requests: int, threads: int, pause: tuple) -> str:
    chance = random.Random(SEED)
    gateways = [name for name in processes.gateways if name.startswith("gateway-")]
    with Load(victim, threads=threads, tokens=8, delay_ms=4) as load:
        while len(load.outcomes) < requests:
            time.sleep(chance.uniform(*pause))
            # One that was just killed may not have come back yet.
            if running := [name for name in gateways if name in processes.programs]:
                load.note_kill()
                processes.kill(chance.choice(running))
    processes.wait_until_back()
    load.check_rows(usage)
    load.check_tokens(usage)
    return closing_lines(victim, usage, ledger, load)


@pytest.mark.short
@pytest.mark.limit(300)
def test_gateways_may_be_killed_at_any_moment(victim, processes, usage, ledger):
    print(kill_under_load(victim, processes, usage, ledger, requests=600, threads=12, pause=(0.5, 2)))


@pytest.mark.long
@pytest.mark.limit(1800)
def test_gateways_may_be_killed_during_10000_requests(victim, processes, usage, ledger):
    print(kill_under_load(victim, processes, usage, ledger, requests=10_000, threads=32, pause=(1, 6)))


@pytest.mark.short
@pytest.mark.limit(300)
def test_postgres_may_be_restarted_under_load(victim, processes, usage, ledger):
    with Load(victim) as load:
        time.sleep(1)
        load.note_kill()
        processes.stop("postgres")
        time.sleep(3)
        processes.start("postgres")
        processes.wait_until_back()
        time.sleep(1)
    time.sleep(2)
    load.check_rows(usage)
    load.check_tokens(usage)
    eventually(lambda: ledger.check(victim.project.id, usage.of_project(victim.project.id)) or True, seconds=5)


@pytest.mark.short
@pytest.mark.limit(300)
def test_redis_may_be_flushed_and_stopped_under_load(victim, processes, usage, ledger):
    import redis

    with Load(victim) as load:
        time.sleep(1)
        redis.Redis(unix_socket_path=os.environ["XEROTIER_REDIS_SOCKET"]).flushall()
        time.sleep(1)
        processes.stop("redis")
        time.sleep(2)
        processes.start("redis")
        time.sleep(1)
    assert [outcome for outcome in load.outcomes if outcome.kind != "answered"] == []
    load.check_rows(usage)
    load.check_tokens(usage)
    ledger.check(victim.project.id, usage.of_project(victim.project.id))


@pytest.mark.short
@pytest.mark.limit(240)
def test_a_killed_gateway_leaves_no_hold_and_bills_nothing_that_was_not_settled(make_tenant, stack, engine, processes, usage, ledger):
    project = Project.create("money")
    tenant = make_tenant(project)
    content = script_text(tokens=["a "], repeat=3000, delay_ms=20, obey_max_tokens=False)
    before = ledger.money(project.id)
    calls = []
    for _ in range(8):
        call = RawCall(stack.http_address)
        call.post_json("/v1/chat/completions", tenant.body(content, stream=True), tenant.key.key)
        call.read_until(b'"content":"a "')
        calls.append(call)
    assert ledger.open_holds(project.id)
    for name in processes.gateways:
        if name.startswith("gateway-"):
            processes.kill(name)
    for call in calls:
        call.read_to_end()
        assert b"[DONE]" not in call.received
        call.socket.close()
    processes.wait_until_back()
    ledger.wait_until_nothing_is_held(project.id)
    assert ledger.available(project.id) == ledger.money(project.id) == before
    assert usage.of_project(project.id) == []
    ledger.check(project.id, [])


@pytest.mark.short
@pytest.mark.limit(180)
def test_a_gateway_that_is_stopped_gives_its_leases_back_at_once(victim, processes, ledger):
    assert {answer.status_code for answer in together(20, lambda number: victim.chat("hi"))} == {200}
    assert ledger.open_holds(victim.project.id)
    names = [name for name in processes.gateways if name.startswith("gateway-")]
    for name in names:
        processes.stop(name)
    held = ledger.open_holds(victim.project.id)
    for name in names:
        processes.start(name)
    assert held == []
