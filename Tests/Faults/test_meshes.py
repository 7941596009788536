"""Several routers of the mesh on one machine: each pool has one, the others take over, and all may be restarted in turn (spec 05 §13-15)."""

import os
import signal
import time

import pytest

from harness.agents import mesh, most_at_once, router_metric  # noqa: F401
from harness.load import Load
from harness.meshes import asked, set_meshes, two_meshes, wait_until_on_both  # noqa: F401
from harness.raw import RawCall
from harness.shared_agents import check_fair_share, projects, shared_agent  # noqa: F401
from harness.together import eventually, together

pytestmark = pytest.mark.usefixtures("two_meshes")
# A question every 2 s, 6 s for its answer, and what a busy machine takes.
GIVEN_UP_S = 15
TIERS = ["demo", "cpu_amd_optimized", "cpu_intel_optimized", "gpu_nvidia_shared", "gpu_amd_shared", "gpu_intel_shared"]


def routers_of_the_pool(mesh) -> list:  # noqa: F811
    """The numbers of the routers that requests of the mesh's endpoint go to."""
    before = [asked(0), asked(1)]
    for _ in range(10):
        assert mesh.tenant.chat(script={"text": "hi"}).status_code == 200
    return [number for number in (0, 1) if asked(number) > before[number]]


def owner_of_the_pool(mesh) -> int:  # noqa: F811
    routers = routers_of_the_pool(mesh)
    assert len(routers) == 1, "requests of one pool went to both routers"
    return routers[0]


@pytest.mark.short
@pytest.mark.limit(120)
def test_a_pool_has_one_router_and_the_next_one_when_it_is_killed(mesh, processes):  # noqa: F811
    mesh.agent()
    wait_until_on_both(1)
    owner = owner_of_the_pool(mesh)
    begun = []

    def one(place: int):
        if place < 4:
            return mesh.tenant.stream(script={"tokens": ["a "], "repeat": 500, "delay_ms": 20, "obey_max_tokens": False})
        if place == 4:
            # Its client has seen nothing, so it may be asked for again.
            return mesh.tenant.chat(script={"text": "late", "first_delay_ms": 3000})
        eventually(lambda: router_metric("router_requests", number=owner) >= 5, 60)
        time.sleep(0.5)
        processes.kill(["mesh", "mesh-1"][owner])
        begun.append(time.monotonic())
        answers = [mesh.tenant.chat(script={"text": "hi"}) for _ in range(20)]
        return answers, time.monotonic() - begun[0]

    *streams, late, (after, took) = together(6, one)
    for stream in streams:
        stream.check_broken(("stream_interrupted",))
    assert late.status_code == 200 and late.json()["choices"][0]["message"]["content"] == "late"
    assert [answer.status_code for answer in after] == [200] * 20 and took < 10
    wait_until_on_both(1)
    eventually(lambda: routers_of_the_pool(mesh) == [owner], 30)


@pytest.mark.short
@pytest.mark.limit(120)
def test_a_router_that_hangs_is_given_up_and_asked_again_when_it_goes_on(mesh, processes):  # noqa: F811
    """As `kill -STOP` does it: its connections stand, and nobody answers on them."""
    mesh.agent()
    wait_until_on_both(1)
    owner = owner_of_the_pool(mesh)
    process = processes.programs[["mesh", "mesh-1"][owner]]

    def one(place: int):
        if place < 3:
            return mesh.tenant.stream(script={"tokens": ["a "], "repeat": 2000, "delay_ms": 20, "obey_max_tokens": False})
        eventually(lambda: router_metric("router_requests", number=owner) >= 3, 60)
        time.sleep(0.5)
        os.kill(process, signal.SIGSTOP)
        stopped = time.monotonic()
        return mesh.tenant.chat(script={"text": "hi"}, timeout=60), time.monotonic() - stopped

    try:
        *streams, (answer, took) = together(4, one)
        for stream in streams:
            stream.check_broken(("stream_interrupted",))
        assert answer.status_code == 200 and took < GIVEN_UP_S
        # Now it is known, and nobody waits.
        assert [mesh.tenant.chat(script={"text": "hi"}).status_code for _ in range(5)] == [200] * 5
    finally:
        os.kill(process, signal.SIGCONT)
    wait_until_on_both(1)
    eventually(lambda: routers_of_the_pool(mesh) == [owner], 30)


@pytest.mark.short
@pytest.mark.limit(120)
def test_a_router_that_ends_gives_a_slow_client_all_of_its_answer(mesh, processes, stack):  # noqa: F811
    """More than fits on the way: the stream waits for its client when the router is told to end, and goes on then."""
    mesh.agent(concurrent=4)
    wait_until_on_both(1)
    owner = owner_of_the_pool(mesh)
    call = RawCall(stack.http_address, receive_buffer=4096)
    script = {"tokens": ["z" * 8_000], "repeat": 800, "obey_max_tokens": False}
    call.post_json("/v1/chat/completions", mesh.tenant.body(script=script, stream=True), mesh.tenant.key.key)
    call.read_until(b"zzz")
    time.sleep(1)
    os.kill(processes.programs[["mesh", "mesh-1"][owner]], signal.SIGTERM)
    time.sleep(2)
    assert call.read_until(b"[DONE]").count(b"z") >= 800 * 8_000
    call.close()
    wait_until_on_both(1)


@pytest.mark.short
@pytest.mark.limit(120)
def test_an_agent_never_has_more_than_its_places_over_both_routers(mesh):  # noqa: F811
    mesh.tiers = TIERS
    mesh.agent(concurrent=2)
    wait_until_on_both(1)
    tenants = [mesh.tenant_of(tier) for tier in TIERS]
    for tenant in tenants:
        eventually(lambda: tenant.chat(script={"text": "ready"}).status_code == 200, 30)
    before = [asked(0), asked(1)]
    mesh.engines[0].control("DELETE", "/__records")
    answers = together(24, lambda place: tenants[place % len(tenants)].chat(script={"text": "x", "first_delay_ms": 100}))
    assert [answer.status_code for answer in answers] == [200] * 24
    assert all(asked(number) > before[number] for number in (0, 1)), "both routers had work for it"
    assert len(mesh.engines[0].records()) == 24 and most_at_once(mesh.engines[0].records()) <= 2
    # One of them at least was told that the agent is busy with what the other has sent.
    assert sum(router_metric("router_rejects_total", "busy", number=number) for number in (0, 1)) > 0


@pytest.mark.short
@pytest.mark.limit(240)
def test_an_agent_learns_of_routers_that_come_and_go(mesh, processes):  # noqa: F811
    """The routers that an agent enrolled with are not those that it stays with."""
    set_meshes(processes, 1)
    try:
        agent = mesh.agent()
        first = agent.routers
        assert len(first) == 1
        set_meshes(processes, 2)
        wait_until_on_both(1)
        assert len(agent.routers) == 2 and agent.routers[:1] == first and agent.sessions == 2
        agent.stop()
        agent.start()
        wait_until_on_both(1)
        set_meshes(processes, 1)
        eventually(lambda: agent.routers == first, 30)
        eventually(lambda: agent.sessions == 1, 10)
        mesh.wait_until_served()
    finally:
        set_meshes(processes, 2)


def restart_all(mesh, processes):  # noqa: F811
    """Routers, gateways and agents, one process at a time."""
    processes.run("restart-meshes", "--dir", str(processes.folder))
    processes.restart_gateways()
    for agent in mesh.agents:
        assert agent.stop() == 0
        agent.start()
        wait_until_on_both(len(mesh.agents))


@pytest.mark.short
@pytest.mark.limit(240)
def test_routers_gateways_and_agents_restarted_in_turn_fail_no_request(mesh, processes, usage):  # noqa: F811
    mesh.agent(mesh.engines[0], concurrent=16), mesh.agent(mesh.engines[1], concurrent=16)
    wait_until_on_both(2)
    before = processes.programs
    with Load(mesh.tenant, threads=8, tokens=20, delay_ms=20) as load:
        time.sleep(0.5)
        restart_all(mesh, processes)
        time.sleep(0.5)
    after = processes.programs
    assert not {before[name] for name in ("mesh", "mesh-1", *processes.gateways)} & set(after.values()), "a process was not restarted"
    assert [outcome for outcome in load.outcomes if outcome.kind != "answered"] == []
    load.check_rows(usage)


@pytest.mark.long
@pytest.mark.limit(900)
def test_three_restarts_in_turn_with_long_and_short_requests_fail_none(mesh, processes, usage):  # noqa: F811
    mesh.agent(mesh.engines[0], concurrent=32), mesh.agent(mesh.engines[1], concurrent=32)
    wait_until_on_both(2)
    with Load(mesh.tenant, threads=8, tokens=200, delay_ms=30) as long_ones, Load(mesh.tenant, threads=12, tokens=2, delay_ms=1) as short_ones:
        for _ in range(3):
            restart_all(mesh, processes)
    for load in (long_ones, short_ones):
        assert [outcome for outcome in load.outcomes if outcome.kind != "answered"] == []


@pytest.mark.long
@pytest.mark.limit(300)
def test_two_hundred_calls_of_one_project_do_not_double_the_wait_of_another(shared_agent, projects, usage):  # noqa: F811
    shared_agent(concurrent=8)
    for project in projects:
        project.wait_until_served()
    check_fair_share(projects, usage, 200, 40, 400)
