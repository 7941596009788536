"""Usage rolled up while everything that writes it is killed (spec 08 §5): requests, rollups and ledger agree to the nano."""

import os
import random
import signal
import subprocess
import threading
import time
from datetime import datetime, timezone

import pytest

from harness.load import Load
from harness.stack import ROOT
from harness.tenants import billing
from harness.together import eventually

SEED = int(os.environ.get("XEROTIER_TEST_SEED", "20261125"))


class Workers:
    """Two billing workers beside the stack's own, which roll up all the time; one after the other is killed."""

    def __init__(self, chance: random.Random):
        self.chance = chance
        self.kills = 0
        self.stopped = threading.Event()
        self.running = [self.begin() for _ in range(2)]
        self.thread = threading.Thread(target=self.work, daemon=True)

    @staticmethod
    def begin() -> subprocess.Popen:
        environment = os.environ | {"XEROTIER_ROLLUP_SECONDS": "0.05"}
        return subprocess.Popen([ROOT / ".build" / "release" / "billing", "work"], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def work(self):
        while not self.stopped.wait(self.chance.uniform(0.1, 0.6)):
            victim = self.chance.randrange(len(self.running))
            assert self.running[victim].poll() is None, "a worker ended by itself"
            self.running[victim].send_signal(signal.SIGKILL)
            self.running[victim].wait()
            self.running[victim] = self.begin()
            self.kills += 1

    def __enter__(self) -> "Workers":
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join(10)
        for worker in self.running:
            worker.terminate()
            # One that has only begun does not know its signals yet.
            assert worker.wait(30) in (0, -signal.SIGTERM)


def sums(usage, project_id: str) -> tuple:
    """Requests, tokens and nano-USD: those of the rows that are said to be added, and those that were added. In one statement."""
    row = usage.query(
        "SELECT e.*, d.* FROM (SELECT count(*) AS n, coalesce(sum(input_tokens + output_tokens), 0)::bigint AS tokens, coalesce(sum(cost_nano), 0)::bigint AS cost "
        "FROM usage_events WHERE project_id = %s AND xid < (SELECT watermark FROM usage_progress)) e, "
        "(SELECT coalesce(sum(requests), 0)::bigint AS rn, coalesce(sum(input_tokens + output_tokens), 0)::bigint AS rtokens, coalesce(sum(cost_nano), 0)::bigint AS rcost "
        "FROM daily_usage_rollups WHERE project_id = %s) d", project_id, project_id)[0]
    return (row["n"], row["tokens"], row["cost"]), (row["rn"], row["rtokens"], row["rcost"])


def days_of(rows: list) -> set:
    return {row["created_at"].astimezone(timezone.utc).date() for row in rows}


@pytest.mark.short
@pytest.mark.limit(300)
def test_requests_rollups_and_ledger_agree_after_gateways_and_workers_were_killed(victim, processes, usage, ledger):
    """The day's sums are compared when all of it is settled and added, as they are in the night after it has ended: `--day` names it."""
    chance = random.Random(SEED)
    project_id = victim.project.id
    seen = set()
    with Load(victim, threads=12, tokens=8, delay_ms=4) as load, Workers(random.Random(SEED)) as workers:
        while len(load.outcomes) < 600:
            for _ in range(5):
                time.sleep(chance.uniform(0.05, 0.3))
                raw, rolled = sums(usage, project_id)
                assert raw == rolled
                seen.add(rolled)
            load.note_kill()
            # One that has just been killed may still be on its way.
            processes.kill(chance.choice([name for name in processes.gateways if name.startswith("gateway-")]))
    assert workers.kills > 5 and len(seen) > 5, (workers.kills, len(seen))
    processes.wait_until_back()
    load.check_rows(usage)
    ledger.wait_until_nothing_is_held(project_id)

    def is_added():
        billing("rollup")
        return sums(usage, project_id)[0][0] == len(usage.of_project(project_id))

    eventually(is_added, seconds=30)
    rows = usage.of_project(project_id)
    ledger.check(project_id, rows)
    raw, rolled = sums(usage, project_id)
    settled = sum(each["nano"] for each in ledger.settled(project_id)) + ledger.written_off(project_id)
    assert raw == rolled and raw[2] == settled == sum(row["cost_nano"] for row in rows) > 0
    for day in days_of(rows) | {datetime.now(timezone.utc).date()}:
        assert billing("verify", "--day", day.isoformat()).splitlines()[-1] == "ok"
        assert project_id not in billing("rollup", "--day", day.isoformat())
