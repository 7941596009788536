"""An agent on a machine of its own whose cable is pulled under streams (spec 05 §6, §13): no side is told, so each must find out by itself."""

import contextlib
import socket
import time

import pytest

from harness.agents import Mesh
from harness.broken_streams import NO_DISPATCH_S, broken_streams, check_broken_and_billed_once
from harness.cables import Cable, Machine
from harness.fleet import worker_of
from harness.tenants import tier
from harness.together import eventually, together

# Longer than any silence takes to be noticed; so slow that a hundred keep no machine busy.
SLOW = {"tokens": ["a "], "repeat": 600, "delay_ms": 100, "obey_max_tokens": False}
MORE = 4
# What nobody ends is ended then.
MOST_S = 60


@contextlib.contextmanager
def remote_agent(stack, folder, engines, places: int):
    """A project, its agent on a machine of its own, and that machine. The engine is beside the agent."""
    with contextlib.ExitStack() as ends:
        machine = ends.enter_context(contextlib.closing(Machine()))
        mesh = ends.enter_context(contextlib.closing(Mesh(stack, folder, engines, tier(concurrent=places, request_timeout_s=MOST_S, idle_stream_s=MOST_S))))
        agent = mesh.agent(concurrent=places)
        agent.stop()
        ends.enter_context(contextlib.closing(Cable(engines[0].address, machine.listen(engines[0].port))))
        way = ends.enter_context(contextlib.closing(Cable(agent.router, socket.create_server((machine.address, 0)))))
        agent.router, agent.launcher = way.address, machine.launcher
        agent.start()
        mesh.wait_until_served()
        yield mesh, agent, machine


@pytest.mark.parametrize("count", [
    pytest.param(20, marks=[pytest.mark.short, pytest.mark.limit(120)]), pytest.param(100, marks=[pytest.mark.long, pytest.mark.limit(180)])])
def test_a_pulled_cable_ends_what_runs_and_the_agent_is_back_when_it_is_plugged_in(stack, engines, tmp_path, usage, ledger, count):
    with remote_agent(stack, tmp_path, engines, count + MORE) as (mesh, agent, machine):
        other = mesh.agent(mesh.engines[1], concurrent=count)
        other.stop()

        def pull():
            machine.pull()
            other.start()
            # What the silent one does not accept is another's after 2 s.
            assert set(together(MORE, lambda _: worker_of(mesh.tenant.chat(script={"text": "hi"})))) == {other.worker}

        streams, took = broken_streams(mesh, count, pull, SLOW)
        print(f"the last of {count} streams ended {took:.1f} s after")
        # Pings find it out, long before the lease would.
        assert took < NO_DISPATCH_S
        eventually(lambda: all(record["end"] != "running" for record in mesh.engines[0].records()), 30)
        other.stop()
        machine.plug()
        mesh.wait_until_served()
        check_broken_and_billed_once(mesh, usage, ledger, streams)
        # No place is lost, the project's nor the agent's.
        answers = together(count + MORE, lambda _: mesh.tenant.chat(script={"text": "x", "first_delay_ms": 2_000}))
        assert {worker_of(answer) for answer in answers} == {agent.worker}


@pytest.mark.short
@pytest.mark.limit(120)
def test_a_cable_that_is_out_for_a_moment_loses_nothing(stack, engines, tmp_path, usage):
    with remote_agent(stack, tmp_path, engines, 20) as (mesh, agent, machine):
        connections = agent.connections

        def one(place: int):
            if place < 20:
                return mesh.tenant.stream(script={"tokens": [f"{place} "], "repeat": 100, "delay_ms": 50})
            for _ in range(2):
                time.sleep(1)
                machine.pull()
                time.sleep(1)
                machine.plug()

        *streams, _ = together(21, one)
        assert [stream.text() for stream in streams] == [f"{place} " * 100 for place in range(20)]
        assert all(stream.is_done for stream in streams) and agent.connections == connections
        rows = usage.of_project(mesh.project.id)
        assert {stream.request_id for stream in streams} <= {row["request_id"] for row in rows}
        assert len({row["request_id"] for row in rows}) == len(rows)
