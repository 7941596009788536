"""Eight agents of the operator, each before an engine of its own, and two projects that use them."""

import contextlib
import socket
from collections import Counter

import pytest

from ScriptedEngine.process import EngineProcess

from .agents import Mesh
from .raw import RawCall
from .router import EXPLAIN, RouterFile
from .shared_agents import SharedAgent
from .tenants import tier
from .together import eventually, together

HOME, ABROAD = "local", "eu-west-1"
REGIONS = [HOME] * 6 + [ABROAD] * 2
PLACES = 8
ENDLESS = {"tokens": ["abc "], "repeat": 20_000, "delay_ms": 50, "obey_max_tokens": False}


def worker_of(answer) -> str:
    """Who answered; it was answered."""
    assert answer.status_code == 200, answer.text
    return answer.headers["x-xerotier-worker-id"]


class Fleet:
    def __init__(self, stack, folder, engines: list):
        self.stack, self.engines, self.tier = stack, engines, tier()
        self.a, self.b = (Mesh(stack, folder / name, engines, self.tier) for name in ("a", "b"))
        self.router = RouterFile(stack, self.a)
        self.agents = [
            SharedAgent(stack, folder / f"shared-{number}", engines[number], tier=self.tier, region=region, concurrent=PLACES)
            for number, region in enumerate(REGIONS)
        ]

    @property
    def workers(self) -> list:
        return [agent.worker for agent in self.agents]

    def in_region(self, region: str) -> set:
        return {worker for worker, where in zip(self.workers, REGIONS) if where == region}

    def start(self, places: int = PLACES):
        """All of them, with so many places each."""

        def start(agent):
            agent.environment["XEROTIER_AGENT_MAX_CONCURRENT"] = str(places)
            agent.start()

        together(len(self.agents), lambda number: start(self.agents[number]))
        eventually(lambda: all(worker["eligible"] for worker in self.told().values()), 60)

    def stop(self):
        together(len(self.agents), lambda number: self.agents[number].stop())

    def end(self):
        for each in (*self.agents, self.a, self.b):
            each.end()
        for agent in self.agents:
            agent.set("remove")

    def told(self, **values) -> dict:
        """What `explain` says of each of the eight to a request of A."""
        answer = self.a.admin.send("POST", EXPLAIN, self.a.tenant.body(**values))
        assert answer.status_code == 200, answer.text
        return {worker["worker_id"]: worker for worker in answer.json()["data"] if worker["worker_id"] in self.workers}

    @staticmethod
    def counted(mesh: Mesh, calls: int, threads: int = 16, **values) -> Counter:
        """How often each worker answered."""
        values.setdefault("script", {"text": "x"})
        return Counter(together(calls, lambda _: worker_of(mesh.tenant.chat(**values)), threads))

    @contextlib.contextmanager
    def held(self, mesh: Mesh, calls: int, region: str | None = None):
        """Streams that go on until the end of the block; how many each worker has."""
        held = [RawCall(self.stack.http_address) for _ in range(calls)]
        more = f"X-Xerotier-Region: {region}\r\n" if region else ""
        try:
            for call in held:
                call.post_json("/v1/chat/completions", mesh.tenant.body(script=ENDLESS, stream=True), mesh.tenant.key.key, more)
            for call in held:
                call.read_until(b"abc ")
            yield Counter(call.header("x-xerotier-worker-id") for call in held)
        finally:
            for call in held:
                call.close()


def free_ports(count: int) -> list:
    """Agents reach their engines without the outbound guard, on whatever port."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture(scope="module")
def eight(stack, tmp_path_factory):
    """Two engines more are there for agents of a project's own."""
    with EngineProcess(free_ports(len(REGIONS) + 2)) as process:
        fleet = Fleet(stack, tmp_path_factory.mktemp("fleet"), process.engines)
        try:
            fleet.start()
            yield fleet
        finally:
            fleet.end()


@pytest.fixture
def fleet(eight):
    """With the usual weights, and engines that behave well and remember nothing of the test before."""
    for engine in eight.engines:
        engine.behave_well()
        engine.control("DELETE", "/__records")
    yield eight
    eight.router.reset()


@pytest.fixture
def narrow(fleet):
    """One place each."""
    fleet.stop()
    fleet.start(places=1)
    yield fleet
    fleet.stop()
    fleet.start()
