"""Peers of the mesh that are let in and then send what they should not (spec 05 §15): neither side falls over.

The short ones take seconds; the long ones as long as FUZZ_SECONDS says, 300 if it says nothing.
"""

import json
import os
import socket
import subprocess

import pytest

from harness.agents import binary, mesh, router_metric  # noqa: F401
from harness.processes import Processes
from harness.together import eventually

SEED = int(os.environ.get("XEROTIER_TEST_SEED", "20261126"))
LONG_S = int(os.environ.get("FUZZ_SECONDS", "300"))
TIMES = pytest.mark.parametrize(
    "seconds", [pytest.param(5, marks=[pytest.mark.short, pytest.mark.limit(120)]), pytest.param(LONG_S, marks=[pytest.mark.long, pytest.mark.limit(LONG_S + 120)])]
)


def fuzz(stack, *arguments) -> subprocess.Popen:
    return subprocess.Popen([binary(stack).with_name("mesh-fuzz"), *map(str, arguments)], stdout=subprocess.PIPE, text=True)


@TIMES
def test_a_peer_that_is_let_in_and_sends_damaged_frames_disturbs_nobody(mesh, stack, seconds):  # noqa: F811
    """It has a key that is known, says hello as it should, gets requests, and sends all kinds of frames: damaged, out of their order, far too long."""
    mesh.agent(mesh.engines[1])
    evil = mesh.agent()
    evil.stop()
    mesh.wait_until_served()
    before = router_metric("mesh_bad_frames_total")
    router = Processes(stack).programs["mesh"]
    peer = fuzz(stack, "agent", evil.log.parent, seconds, SEED)
    answered = 0
    while peer.poll() is None:
        # It may be given any request, and its answers may be read as such; what it cannot do is stop the router.
        answered += mesh.tenant.caller.client.post("/v1/chat/completions", json=mesh.tenant.body(script={"text": "hi"}), headers=mesh.tenant.caller.headers(None, "own")).status_code == 200
    said = json.loads(peer.communicate()[0])
    assert peer.returncode == 0 and said["sent"] > 1_000 and answered > 0
    assert router_metric("mesh_bad_frames_total") > before + 100
    assert Processes(stack).programs["mesh"] == router, "the router has not been started again"
    eventually(lambda: mesh.tenant.chat(script={"text": "hi"}).headers.get("x-xerotier-worker-id") == mesh.agents[0].worker, 60)
    assert eventually(lambda: router_metric("router_requests") == 0, 30)


@TIMES
def test_a_router_that_sends_damaged_frames_does_not_end_its_agents(mesh, stack, seconds):  # noqa: F811
    agent = mesh.agent()
    agent.stop()
    kept = json.loads(agent.enrolment.read_text())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    peer = fuzz(stack, "router", port, seconds, SEED)
    key = peer.stdout.readline().strip()
    agent.enrolment.write_text(json.dumps(kept | {"router_addrs": [f"tcp://127.0.0.1:{port}"], "router_curve_public_key": key}))
    agent.start()
    said = json.loads(peer.communicate()[0])
    assert peer.returncode == 0 and said["sent"] > 1_000 and said["greetings"] > 0 and said["received"] > 10
    assert agent.process.poll() is None, agent.text[-2_000:]
    assert agent.text.count("cannot be read") > 100
    assert agent.stop() == 0
    agent.enrolment.write_text(json.dumps(kept))
    agent.start()
    mesh.wait_until_served()
