"""Agents, their cables and routers that fail under streams (spec 05 §6, §12-13): every request ends, none is billed twice, and the mesh works on."""

import contextlib
import datetime
import json
import os
import pathlib
import random
import re
import signal
import socket
import threading
import time

import pytest

from harness.agents import Mesh, mesh, router_metric  # noqa: F401
from harness.broken_streams import FROZEN_S, LOST_S, NO_DISPATCH_S, broken_streams, check_broken_and_billed_once
from harness.cables import Cable
from harness.raw import RawCall
from harness.router import RouterFile, explanation
from harness.sse import ChatStream
from harness.tenants import tier
from harness.together import eventually, together

FAKE_TIME = pathlib.Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
SEED = int(os.environ.get("XEROTIER_TEST_SEED", "20261126"))


@pytest.fixture
def cabled(mesh):  # noqa: F811
    """An agent whose only way to the router is a cable."""
    agent = mesh.agent(concurrent=100)
    agent.stop()
    cable = Cable(agent.router)
    agent.router = cable.address
    agent.start()
    mesh.wait_until_served()
    yield mesh, agent, cable
    cable.close()


@pytest.mark.short
@pytest.mark.limit(180)
def test_a_frozen_agent_is_given_up_and_serves_again_when_it_goes_on(mesh, usage, ledger):  # noqa: F811
    """As `kill -STOP` does it: the connection stands, and nobody answers on it."""
    agent = mesh.agent(concurrent=20)
    mesh.wait_until_served()
    others = []

    def freeze():
        agent.signal(signal.SIGSTOP)
        frozen = time.monotonic()
        others.append(mesh.agent(mesh.engines[1]))
        time.sleep(max(0.0, frozen + NO_DISPATCH_S - time.monotonic()))
        answers = [mesh.tenant.chat(script={"text": "hi"}) for _ in range(20)]
        assert {answer.headers["x-xerotier-worker-id"] for answer in answers} == {others[0].worker}
        assert time.monotonic() - frozen < FROZEN_S

    streams, took = broken_streams(mesh, 20, freeze)
    assert took < FROZEN_S
    others[0].stop()
    agent.signal(signal.SIGCONT)
    mesh.wait_until_served()
    check_broken_and_billed_once(mesh, usage, ledger, streams)


@pytest.mark.short
@pytest.mark.limit(180)
def test_a_cut_cable_breaks_what_runs_and_the_agent_dials_in_again(cabled, usage, ledger):
    mesh, _, cable = cabled
    streams, took = broken_streams(mesh, 8, cable.cut)
    assert took < LOST_S
    mesh.wait_until_served()
    check_broken_and_billed_once(mesh, usage, ledger, streams)


@pytest.mark.short
@pytest.mark.limit(120)
def test_a_slow_cable_loses_nothing(cabled):
    """A tenth of a second for each piece that comes."""
    mesh, _, cable = cabled
    cable.delay = 0.1
    streams = together(8, lambda place: mesh.tenant.stream(script={"tokens": [f"{place} "], "repeat": 200, "delay_ms": 5}))
    assert [stream.text() for stream in streams] == [f"{place} " * 200 for place in range(8)]
    assert all(stream.is_done for stream in streams)


@pytest.mark.long
@pytest.mark.limit(240)
def test_a_slow_cable_that_is_cut_again_and_again_under_100_streams_loses_no_account(cabled, usage, ledger):
    """Each client has a whole answer or is told that it broke. Who has seen nothing is served by the other agent, whose cable is whole."""
    mesh, agent, cable = cabled
    mesh.agent(mesh.engines[1], concurrent=100)
    # Held up or not, both have the same part of the requests.
    router = RouterFile(mesh.stack, mesh)
    router.only("tier_match")
    cable.delay = 0.05
    chance = random.Random(SEED)
    starts = [chance.uniform(0, 3) for _ in range(100)]

    def one(place: int):
        if place < 100:
            time.sleep(starts[place])
            return mesh.tenant.try_stream(script={"tokens": [f"{place} "], "repeat": 40, "delay_ms": 100})
        for _ in range(8):
            time.sleep(chance.uniform(1, 2))
            cable.cut()

    try:
        answers = together(101, one)[:100]
    finally:
        router.reset()
    assert [answer.text for answer in answers if not isinstance(answer, ChatStream)] == [], "the other agent serves them"
    broken = [stream for stream in answers if not stream.is_done]
    print(f"{len(broken)} of 100 broke, {agent.connections} connections")
    for place, stream in enumerate(answers):
        if stream.is_done:
            assert stream.text() == f"{place} " * 40
        else:
            stream.check_broken(("stream_interrupted",))
            assert (f"{place} " * 40).startswith(stream.text())
    assert 0 < len(broken) < 100 and agent.connections > 4
    for engine in mesh.engines[:2]:
        eventually(lambda: all(record["end"] != "running" for record in engine.records()), 30)
    assert eventually(lambda: router_metric("router_requests") == 0, 10)
    cable.delay = 0
    eventually(lambda: mesh.tenant.chat(script={"text": "hi"}).headers["x-xerotier-worker-id"] == agent.worker, 30)
    rows = usage.of_project(mesh.project.id)
    billed = {row["request_id"]: row for row in rows}
    assert len(billed) == len(rows)
    for stream in answers:
        row = billed[stream.request_id]
        assert row["error_code"] == (None if stream.is_done else "stream_interrupted")
        assert row["output_tokens"] == stream.text().count(" ")
    ledger.wait_until_nothing_is_held(mesh.project.id)
    ledger.check(mesh.project.id, rows)


@pytest.mark.long
@pytest.mark.limit(180)
def test_agents_whose_clocks_are_wrong_serve_as_others_do(mesh, usage):  # noqa: F811
    """One is a day ahead, so that its token seems to be over, and one is an hour behind. 100 streams go on for longer than a lease lasts."""
    if not FAKE_TIME.exists():
        pytest.skip(f"{FAKE_TIME} is missing: libfaketime of infra/apt-packages.txt")
    agents = [mesh.agent(engine, concurrent=60) for engine in mesh.engines[:2]]
    for agent, hours in zip(agents, (25, -1)):
        agent.stop()
        agent.environment |= {"LD_PRELOAD": str(FAKE_TIME), "FAKETIME": f"{hours * 3600:+}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        agent.start()
        said = [json.loads(line)["ts"] for line in agent.text.splitlines() if '"connected"' in line][-1]
        away = datetime.datetime.fromisoformat(said).timestamp() - time.time()
        assert abs(away - hours * 3600) < 60, "the clock is right"
    mesh.wait_until_served()
    connections = [agent.connections for agent in agents]
    streams = together(100, lambda place: mesh.tenant.stream(script={"tokens": [f"{place} "], "repeat": 350, "delay_ms": 100, "obey_max_tokens": False}))
    assert [stream.text() for stream in streams] == [f"{place} " * 350 for place in range(100)]
    assert all(stream.is_done for stream in streams)
    assert {stream.headers["x-xerotier-worker-id"] for stream in streams} == {agent.worker for agent in agents}
    assert [agent.connections for agent in agents] == connections, "no session ended"
    eventually(lambda: "the token could not be refreshed" in agents[0].text, 10)
    # Nothing that is told or stored comes from their clocks.
    assert all(worker["signals"]["heartbeat_freshness"] > 0.5 for worker in explanation(mesh)["data"])
    for row in usage.of_project(mesh.project.id):
        assert 0 <= row["ttft_ms"] <= row["latency_ms"] < 120_000 and abs(row["created_at"].timestamp() - time.time()) < 180


@pytest.mark.short
@pytest.mark.limit(120)
def test_peers_that_send_rubbish_disturb_nobody(mesh, stack):  # noqa: F811
    """Whoever reaches the router's port may send what they like: without a key that is known none of it is read as a frame."""
    agent = mesh.agent()
    mesh.wait_until_served()
    host, _, port = agent.router.removeprefix("tcp://").rpartition(":")
    chance = random.Random(SEED)
    greeting = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)

    def rubbish():
        for number in range(300):
            with socket.create_connection((host, int(port)), timeout=10) as peer:
                peer.settimeout(0.02)
                try:
                    # Some of it begins as it should.
                    peer.sendall((greeting if number % 2 else b"") + chance.randbytes(chance.randrange(1, 4_000)))
                    peer.recv(100)
                except OSError:
                    pass

    streams = together(5, lambda place: rubbish() if place == 4 else mesh.tenant.stream(script={"tokens": ["a "], "repeat": 400, "delay_ms": 20}))
    for stream in streams[:4]:
        assert stream.is_done and stream.text() == "a " * 400
    assert router_metric("mesh_sessions") >= 1


def cpu_ticks(pid: int) -> int:
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return sum(map(int, text[text.rindex(")") + 2 :].split()[11:13]))


def resident_mib(pids: list) -> float:
    """Pages that processes share, such as those of the program, count once."""
    return sum(int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1]) for pid in pids) / 1024


@pytest.mark.short
@pytest.mark.limit(180)
def test_100_clients_that_never_read_hold_little_and_slow_nobody(stack, processes, mortal_engine, tmp_path):
    """All of one agent, whose engine has 40 MB for each: it is held back, and the 101st client has its answer as fast as without them."""
    # A tier that costs nothing: what fills the way to a client is millions of tokens.
    gratis = tier(price_nano_per_mtok=0)
    with mortal_engine as engine, contextlib.closing(Mesh(stack, tmp_path, engine.engines, gratis)) as mesh:
        mesh.agent(concurrent=101)
        mesh.wait_until_served()
        quick = {"tokens": ["a "], "repeat": 100, "delay_ms": 10}

        def seconds() -> float:
            begun = time.monotonic()
            stream = mesh.tenant.stream(script=quick)
            assert stream.is_done and stream.text() == "a " * 100
            return time.monotonic() - begun

        alone = seconds()
        clients = []
        try:
            body = mesh.tenant.body(script={"tokens": ["x" * 8_000], "repeat": 5_000, "obey_max_tokens": False}, stream=True)
            for _ in range(100):
                clients.append(client := RawCall(stack.http_address, receive_buffer=4_096))
                # Its head is all that each one reads.
                client.post_json("/v1/chat/completions", body, mesh.tenant.key.key).read_until(b"\r\n\r\n")
                assert client.status == 200, client.received
            eventually(lambda: router_metric("router_requests") == 100, 30)
            worked = []

            def is_held() -> bool:
                worked.append(cpu_ticks(engine.process.pid))
                return len(worked) > 3 and worked[-1] - worked[-4] < 15

            # A second after each other: it does nothing any more.
            eventually(is_held, 90, every=1)
            assert seconds() < alone + 2
            gateways = [pid for name, pid in processes.programs.items() if name.startswith("gateway-")]
            assert (held := resident_mib(gateways)) < 150
            print(f"{held:.0f} MiB")
            assert eventually(lambda: router_metric("router_requests") == 100, 10), "none of them was ended"
        finally:
            for client in clients:
                client.close()
        assert eventually(lambda: router_metric("router_requests") == 0, 30)


@pytest.mark.long
@pytest.mark.limit(240)
def test_agents_routers_and_gateways_may_be_killed_under_streams(mesh, usage, ledger, processes):  # noqa: F811
    """Each of 60 clients gets a whole answer, an error, or a stream that says that it broke; what has a row is settled once."""
    agents = [mesh.agent(mesh.engines[0], concurrent=32), mesh.agent(mesh.engines[1], concurrent=32)]
    mesh.wait_until_served()
    chance = random.Random(SEED)
    script = {"tokens": ["a "], "repeat": 100, "delay_ms": 20}

    def stream(place: int):
        time.sleep(chance.uniform(0, 6))
        try:
            return mesh.tenant.try_stream(json.dumps({"script": script}))
        except Exception as error:  # noqa: BLE001
            # A gateway that is killed takes its connections with it; nginx ends them without a last chunk.
            return error

    def kill():
        for victim in ["agent", "mesh", "gateway-0", "agent"]:
            time.sleep(chance.uniform(1, 2))
            if victim == "agent":
                killed = chance.choice(agents)
                killed.kill()
                killed.start()
            else:
                processes.kill(victim)

    answers = together(61, lambda place: kill() if place == 60 else stream(place))[:60]
    processes.wait_until_back()
    mesh.wait_until_served()
    whole = [answer for answer in answers if getattr(answer, "is_done", False)]
    assert whole and all(answer.text() == "a " * 100 for answer in whole)
    for answer in answers:
        if hasattr(answer, "is_done") and not answer.is_done:
            answer.check_broken(("stream_interrupted",))
        elif hasattr(answer, "status_code"):
            assert answer.status_code in (502, 503), answer.text
    ledger.wait_until_nothing_is_held(mesh.project.id)
    rows = usage.of_project(mesh.project.id)
    assert len({row["request_id"] for row in rows}) == len(rows)
    assert {answer.request_id for answer in whole} <= {row["request_id"] for row in rows}
    ledger.check(mesh.project.id, rows)
