"""Agents of the operator, which serve all projects of their tiers, and two projects that use them."""

import random
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from .agents import Agent, Mesh, most_at_once
from .tenants import migrate, unique
from .together import eventually

# No other test has an endpoint of it without an upstream.
TIER = "gpu_amd_shared"


class SharedAgent(Agent):
    def __init__(self, stack, home, engine, *, tier: str | None = TIER, region: str = "local", **values):
        tiers = ["--tiers", tier] if tier else []
        self.join_key = migrate("join-key", "create", "--name", unique("pool"), *tiers, "--region", region)
        super().__init__(stack, home, self.join_key["key"], engine.url, **values)
        self.id = self.worker.split(":")[1]

    @property
    def shown(self) -> dict:
        """As the operator sees it."""
        return next(each for each in migrate("agent", "list") if each["id"] == self.id)

    def set(self, step: str) -> dict:
        return migrate("agent", "set", "--id", self.id, "--step", step)


@pytest.fixture
def shared_agent(stack, engines, tmp_path):
    """Makes shared agents; they are gone after the test."""
    made = []

    def make(engine=None, **values) -> SharedAgent:
        made.append(SharedAgent(stack, tmp_path / f"shared-{len(made)}", engine or engines[0], **values))
        return made[-1].start()

    for engine in engines:
        engine.behave_well()
    yield make
    for engine in engines:
        engine.behave_well()
    for agent in made:
        agent.end()
        if agent.id in [each["id"] for each in migrate("agent", "list")]:
            agent.set("remove")


@pytest.fixture
def projects(stack, engines, tmp_path):
    made = [Mesh(stack, tmp_path / name, engines, TIER) for name in ("a", "b")]
    yield made
    for project in made:
        project.end()


class Flood:
    """Calls of one tenant, so many at a time, until it ends; those that find no place ask again. They take different times, as calls do: if all were
    alike they would keep in step, and every place would become free at the same moment."""

    def __init__(self, tenant, calls: int, delay_ms: int):
        self.stopped, self.answered, self.refused = threading.Event(), 0, 0
        self.threads = [threading.Thread(target=self._ask, args=(tenant, delay_ms)) for _ in range(calls)]

    def _ask(self, tenant, delay_ms: int):
        while not self.stopped.is_set():
            if tenant.chat(script={"text": "flood", "first_delay_ms": random.uniform(0.5, 1.5) * delay_ms}).status_code == 200:
                self.answered += 1
            else:
                self.refused += 1
                time.sleep(0.2)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(90)


def rows_of(tenant, usage, calls: int, delay_ms: int) -> list:
    """The usage rows of so many calls, two at a time; each is answered."""

    def one(_) -> str:
        answer = tenant.chat(script={"text": "x", "first_delay_ms": delay_ms})
        assert answer.status_code == 200, answer.text
        return answer.headers["x-request-id"]

    with ThreadPoolExecutor(2) as pool:
        return [usage.one(request_id) for request_id in list(pool.map(one, range(calls)))]


def check_fair_share(projects, usage, calls_of_a: int, calls_of_b: int, delay_ms: int, engines: list | None = None):
    """The engines, one unless said otherwise, have eight places together."""
    a, b = (project.tenant for project in projects)
    alone = statistics.median(row["latency_ms"] for row in rows_of(b, usage, calls_of_b, delay_ms))
    engines = engines or projects[0].engines[:1]
    for engine in engines:
        engine.control("DELETE", "/__records")

    def records() -> list:
        return [record for engine in engines for record in engine.records()]

    with Flood(a, calls_of_a, delay_ms) as flood:
        eventually(lambda: sum(record["end"] == "running" for record in records()) >= 8, 60)
        queued = statistics.median(row["queue_ms"] for row in rows_of(b, usage, calls_of_b, delay_ms))
    # What the flood adds, by the router's clock: how long a call takes on a machine that is busy with so many clients says less.
    assert queued < alone, f"{queued} ms more than {alone} ms alone"
    assert flood.answered > 0 and most_at_once(records()) == 8
