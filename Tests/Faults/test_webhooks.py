"""Webhooks whose receiver fails, hangs, breaks and redirects, while the worker is killed: every event arrives, and is the same each time (08 §11)."""

import json
import random
import subprocess
import threading
import time
import uuid
from collections import Counter

import pytest

from harness.tenants import Project
from harness.together import eventually
from harness.webhooks import SCHEMES, Receiver, Webhooks, emit


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


class Checker:
    """Fails three in ten, hangs at times, and checks each call when it comes: signatures are good for five minutes."""

    def __init__(self, receiver, path: str, hang_each: int):
        self.secret = None
        self.bodies: dict = {}
        self.wrong: list = []
        self.kinds: Counter = Counter()
        self.taken: set = set()
        self.call = threading.local()
        self.hang_each = hang_each
        self.chance = random.Random(2)
        receiver.check = self.check
        receiver.answers[path] = self.answer

    def check(self, received):
        self.call.id = received.id
        if not all(scheme(self.secret, received) for scheme in SCHEMES) or received.event["id"] != received.id:
            self.wrong.append(("signature", received))
        if self.bodies.setdefault(received.id, received.body) != received.body:
            self.wrong.append(("another body", received))

    def answer(self, count: int):
        kind = "hangs" if count % self.hang_each == 0 else self.chance.choices(["taken", "500", "breaks", "302"], [70, 18, 6, 6])[0]
        self.kinds[kind] += 1
        if kind == "taken":
            self.taken.add(self.call.id)
        if kind == "hangs":
            time.sleep(12)  # a call ends after ten
        return {"taken": 200, "500": 500, "302": (302, {"Location": "/elsewhere"}, b"")}.get(kind)


def arrive(stack, usage, processes, receiver, count: int, kills: int, hang_each: int):
    path = f"/{uuid.uuid4().hex}"  # nothing that an earlier run has left comes here
    hooks = Webhooks(stack.origin, Project.create("hooks", credit=None))
    checker = Checker(receiver, path, hang_each)
    webhook = hooks.create(receiver.url(path), ["*"])
    checker.secret = webhook["secret"]
    sweeper = json.loads((stack.folder / "programs" / "sweeper.json").read_text())

    def hasten():
        """The schedule's minutes and hours, and the minute after which a killed worker's calls are another one's, are not waited for."""
        usage.query("UPDATE jobs SET run_at = now() WHERE queue = 'webhooks' AND state = 'waiting' RETURNING 1")
        alive = f"webhooks-{processes.programs.get('webhooks')}-"
        usage.query("UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE queue = 'webhooks' AND state = 'running' "
                    "AND NOT starts_with(worker, %s) RETURNING 1", alive)
        subprocess.run([*sweeper["command"], "--once"], env=sweeper["environment"], timeout=60, check=True, capture_output=True)

    def goes_on(seen: int) -> bool:
        hasten()
        return "webhooks" in processes.programs and len(receiver.at(path)) > seen

    def arrived() -> bool:
        hasten()
        sql = "SELECT count(*) AS n FROM webhook_deliveries WHERE webhook_id = %s AND status NOT IN ('succeeded', 'exhausted')"
        return usage.query(sql, webhook["id"])[0]["n"] == 0

    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = usage.query(deadlocks)
    sent = set()
    for number in range(10):
        sent |= set(emit(usage, hooks.project, data={"number": number}, count=count // 10))
        if number < kills:
            seen = len(receiver.at(path))
            eventually(lambda: goes_on(seen), seconds=60, every=0.2)
            processes.kill("webhooks")
    eventually(arrived, seconds=1200, every=1)
    received = receiver.at(path)
    ended = {row["status"]: row["n"] for row in usage.query("SELECT status, count(*) AS n FROM webhook_deliveries WHERE webhook_id = %s GROUP BY status", webhook["id"])}
    print(f"{count} events, {kills} kills of the worker: {len(received)} calls {dict(checker.kinds)}, {len(checker.bodies)} events arrived, deliveries {ended}")
    assert checker.wrong == [] and usage.query(deadlocks) == before
    early = "SELECT count(*) AS n FROM webhook_deliveries WHERE webhook_id = %s AND status = 'exhausted' AND attempt < 6"
    assert usage.query(early, webhook["id"])[0]["n"] == 0 and ended["succeeded"] > count * 0.98
    assert {each.id for each in received} == sent
    done = usage.query("SELECT event_id FROM webhook_deliveries WHERE webhook_id = %s AND status = 'succeeded'", webhook["id"])
    assert {each["event_id"] for each in done} <= checker.taken
    assert checker.kinds["hangs"] and checker.kinds["500"] and checker.kinds["breaks"] and checker.kinds["302"]
    assert not receiver.at("/elsewhere")


@pytest.mark.short
@pytest.mark.limit(300)
def test_every_event_arrives_though_the_receiver_fails_and_the_worker_is_killed(stack, usage, processes, receiver, victim):
    arrive(stack, usage, processes, receiver, count=150, kills=3, hang_each=90)


@pytest.mark.long
@pytest.mark.limit(2400)
def test_ten_thousand_events_arrive(stack, usage, processes, receiver, victim):
    arrive(stack, usage, processes, receiver, count=10_000, kills=10, hang_each=1_000)
