"""Requests that agents of the mesh answer (spec 05 §1-6, §12-15)."""

import threading
import time

from harness.agents import Mesh, mesh, most_at_once, router_metric  # noqa: F401
from harness.calls import expect_error
from harness.processes import Processes
from harness.raw import RawCall
from harness.together import eventually, together


def test_an_agent_answers_whole_and_streamed_and_each_is_billed_once(mesh, usage):
    agent = mesh.agent()
    mesh.wait_until_served()
    whole = mesh.tenant.chat(script={"text": "Hello there."})
    assert whole.status_code == 200 and whole.json()["choices"][0]["message"]["content"] == "Hello there."
    assert whole.headers["x-xerotier-worker-id"] == agent.worker and agent.worker.startswith("local:agt_")
    assert float(whole.headers["x-xerotier-router-ms"]) > 0
    streamed = mesh.tenant.stream(script={"tokens": ["a ", "b ", "c"], "delay_ms": 5})
    assert streamed.text() == "a b c" and streamed.is_done
    for answer in (whole.headers, streamed.headers):
        rows = usage.of(answer["x-request-id"])
        assert len(rows) == 1 and rows[0]["worker_id"] == agent.worker and rows[0]["cost_nano"] > 0 and rows[0]["retries"] == 0


def test_an_engines_refusal_reaches_the_client_in_our_words(mesh, usage):
    mesh.agent()
    mesh.wait_until_served()
    refused = mesh.tenant.chat(script={"status": 400, "body": {"error": {"message": "temperature is odd", "param": "temperature"}}})
    expect_error(refused, 400, "invalid_request")
    expect_error(mesh.tenant.chat(script={"text": "hi"}, model="other-model"), 404, "model_not_found")


def test_without_an_agent_there_is_no_worker_and_nothing_stays_held(mesh, ledger, usage):
    for _ in range(3):
        expect_error(mesh.tenant.chat(script={"text": "hi"}), 503, "no_worker_available")
    assert [hold for hold in ledger.open_holds(mesh.project.id) if hold["kind"] == "request"] == []
    assert sum(row["cost_nano"] for row in usage.of_project(mesh.project.id)) == 0
    assert router_metric("router_requests") == 0 and router_metric("router_queue_depth") == 0


def test_a_client_that_leaves_ends_the_engines_work(mesh, stack, usage):
    mesh.agent(concurrent=1)
    mesh.wait_until_served()
    call = RawCall(stack.http_address)
    call.post_json("/v1/chat/completions", mesh.tenant.body(script={"tokens": ["abc "], "repeat": 1000, "delay_ms": 20}, stream=True), mesh.tenant.key.key)
    call.read_until(b"abc ")
    request_id = call.header("x-request-id")
    call.close()
    record = mesh.engines[0].wait_for_end(request_id)
    assert record["end"] == "client closed"
    row = usage.one(request_id, seconds=5)
    assert (row["status_code"], row["error_code"]) == (499, "client_closed_request")
    assert mesh.tenant.chat(script={"text": "next"}).status_code == 200, "its place is free again"


def test_an_event_that_is_too_long_for_a_frame_comes_whole_between_short_ones(mesh):
    # The more places, the shorter are frames: 8 KiB here.
    mesh.agent(concurrent=4096)
    mesh.wait_until_served()
    tokens = ["short ", "x" * 9_000, " end"]
    stream = mesh.tenant.stream(script={"tokens": tokens, "delay_ms": 30})
    stream.check()
    assert stream.text() == "".join(tokens)


def test_a_killed_agent_breaks_its_streams_with_an_error_and_never_done(mesh, usage):
    agent = mesh.agent()
    mesh.wait_until_served()
    begun = time.monotonic()

    def stream(place):
        return mesh.tenant.stream(script={"tokens": ["a "], "repeat": 2000, "delay_ms": 20})

    def kill(place):
        eventually(lambda: router_metric("router_requests") >= 4, 30)
        time.sleep(0.5)
        agent.kill()
        return time.monotonic()

    *streams, killed = together(5, lambda place: kill(place) if place == 4 else stream(place))
    assert time.monotonic() - killed < 6, "the error window after a connection was lost"
    for stream in streams:
        stream.check_broken(("stream_interrupted",))
        rows = usage.of(stream.headers["x-request-id"])
        assert len(rows) == 1 and rows[0]["error_code"] == "stream_interrupted"
    expect_error(mesh.tenant.chat(script={"text": "hi"}), 503, "no_worker_available")
    assert eventually(lambda: router_metric("router_requests") == 0, 10)


def test_an_agent_that_dies_before_its_first_token_is_not_seen_by_the_client(mesh, usage):
    silent, other = mesh.agent(mesh.engines[0]), mesh.agent(mesh.engines[1])
    mesh.wait_until_served()
    script = {"by_port": {str(mesh.engines[0].port): {"text": "late", "never_answer": True}, str(mesh.engines[1].port): {"text": "at last"}}}

    def kill_when_asked(place):
        eventually(lambda: any(record["end"] == "running" for record in mesh.engines[0].records()), 60)
        silent.kill()

    def ask(place):
        # The other one may be asked first, and answers; so until this one is dead.
        while True:
            answer = mesh.tenant.stream(script=script)
            if silent.process.poll() is not None:
                return answer

    answer, _ = together(2, lambda place: kill_when_asked(place) if place else ask(place))
    assert answer.text() == "at last" and answer.is_done
    rows = usage.of(answer.headers["x-request-id"])
    assert len(rows) == 1 and rows[0]["retries"] == 1 and rows[0]["worker_id"] == other.worker


def test_no_more_than_the_agents_places_are_in_flight_and_the_others_wait(mesh):
    mesh.agent(concurrent=2)
    mesh.wait_until_served()
    mesh.engines[0].control("DELETE", "/__records")
    answers = together(8, lambda place: mesh.tenant.chat(script={"text": "x", "first_delay_ms": 300}))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len(mesh.engines[0].records()) == 8 and most_at_once(mesh.engines[0].records()) <= 2


def test_flex_does_not_overtake_a_default_that_waits(mesh):
    mesh.agent(concurrent=1)
    mesh.wait_until_served()
    mesh.engines[0].control("DELETE", "/__records")

    def ask(place):
        eventually(lambda: router_metric("router_requests") >= min(place, 1) and router_metric("router_queue_depth") >= place - 1, 30)
        tier, script = [("default", {"tokens": ["a "], "repeat": 60, "delay_ms": 50}), ("flex", {"text": "flex"}), ("default", {"text": "default"})][place]
        return mesh.tenant.chat(script=script, service_tier=tier)

    # The first holds the only place until both others wait.
    running, *waited = together(3, ask)
    assert running.status_code == 200 and [answer.json()["choices"][0]["message"]["content"] for answer in waited] == ["flex", "default"]
    begun = sorted(mesh.engines[0].records(), key=lambda record: record["started_ms"])
    assert [record["request_id"] for record in begun[1:]] == [answer.headers["x-request-id"] for answer in reversed(waited)]


def test_an_agent_that_is_told_to_end_finishes_what_runs_and_gets_nothing_new(mesh):
    first, second = mesh.agent(mesh.engines[0]), mesh.agent(mesh.engines[1])
    mesh.wait_until_served()

    def stop(place):
        eventually(lambda: router_metric("router_requests") >= 4, 30)
        return first.stop()

    # Some run on each, and more come while one drains.
    *answers, status = together(
        13, lambda place: stop(place) if place == 12 else mesh.tenant.stream(script={"tokens": ["a "], "repeat": 50, "delay_ms": 20}))
    assert status == 0 and all(answer.is_done and answer.text() == "a " * 50 for answer in answers)
    after = mesh.tenant.chat(script={"text": "hi"})
    assert after.status_code == 200 and after.headers["x-xerotier-worker-id"] == second.worker


def test_an_agents_models_are_its_own_projects_alone(mesh, stack, engines, tmp_path):
    mesh.agent()
    mesh.wait_until_served()
    stranger = Mesh(stack, tmp_path / "other", engines, "demo")
    for _ in range(20):
        expect_error(stranger.tenant.chat(script={"text": "hi"}), 503, "no_worker_available")


def test_a_client_that_does_not_read_holds_the_engine_back_and_not_the_others(mesh, stack):
    mesh.agent()
    mesh.wait_until_served()
    slow = RawCall(stack.http_address)
    body = mesh.tenant.body(script={"tokens": ["x" * 2000 + " "], "repeat": 20_000, "obey_max_tokens": False}, stream=True)
    slow.post_json("/v1/chat/completions", body, mesh.tenant.key.key)
    slow.read_until(b"xxx")
    produced = [-1]

    def is_held():
        now = mesh.engines[0].record(slow.header("x-request-id"))["tokens"]
        before, produced[0] = produced[0], now
        return now == before and now < 20_000

    eventually(is_held, 60, every=1)
    assert mesh.engines[0].record(slow.header("x-request-id"))["end"] == "running", "it is held, not ended"
    assert mesh.tenant.stream(script={"text": "quick"}).text() == "quick"
    slow.close()


def test_a_killed_router_breaks_what_runs_and_serves_again_when_agents_are_back(mesh, stack):
    mesh.agent()
    mesh.wait_until_served()
    processes = Processes(stack)

    def kill(place):
        eventually(lambda: router_metric("router_requests") >= 1, 30)
        time.sleep(0.3)
        processes.kill("mesh")

    stream, _ = together(2, lambda place: kill(place) if place else mesh.tenant.stream(script={"tokens": ["a "], "repeat": 1000, "delay_ms": 20}))
    stream.check_broken(("stream_interrupted",))
    mesh.wait_until_served()


def test_an_endpoint_moves_from_an_upstream_to_agents_and_back_unnoticed(mesh):
    """Its requests go on all the while: streams that run end where they began, and no call fails."""
    agent = mesh.agent(mesh.engines[0], concurrent=32)
    mesh.wait_until_served()
    path = f"/v1/endpoints/{mesh.tenant.endpoint.id}"
    done = threading.Event()

    def switch() -> list:
        workers = []
        for upstream in ({"url": mesh.engines[1].url}, None, {"url": mesh.engines[1].url}, None):
            changed = mesh.admin.send("PATCH", path, {"upstream": upstream})
            assert changed.status_code == 200, changed.text
            kind = "upstream:" if upstream else agent.worker
            # All processes follow within a second.
            eventually(lambda: mesh.tenant.chat(script={"text": "hi"}).headers["x-xerotier-worker-id"].startswith(kind), 30)
            workers.append(kind)
        done.set()
        return workers

    def ask(place: int) -> list:
        answers = []
        while not done.is_set():
            if place % 2:
                answers.append(mesh.tenant.chat(script={"text": "whole"}))
            else:
                answers.append(mesh.tenant.stream(script={"tokens": ["a "], "repeat": 30, "delay_ms": 20}))
        return answers

    *clients, _ = together(7, lambda place: switch() if place == 6 else ask(place))
    answers = [answer for client in clients for answer in client]
    for answer in answers:
        if hasattr(answer, "is_done"):
            assert answer.is_done and answer.text() == "a " * 30
        else:
            assert answer.status_code == 200, answer.text
    workers = {answer.headers["x-xerotier-worker-id"].split(":")[0] for answer in answers}
    assert workers == {"upstream", "local"}
