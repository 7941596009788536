"""Jobs under kill -9 and without Redis: each effect in Postgres is there exactly once, and every event arrives (spec 01 §2, 08 §11)."""

import contextlib
import json
import random
import signal
import subprocess
import time

import psycopg
import pytest

from harness.stack import ROOT
from harness.tenants import Project
from harness.together import eventually
from harness.webhooks import Receiver, Webhooks, emit

# Beside the stack's own programs: gateways, nginx and an engine do no jobs, and have tests of their own.
KILLED = ["redis", "sweeper", "postgres", "redis"]


@pytest.fixture
def effects(stack, usage):
    """How often each job has taken effect."""
    def execute(script: str):
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute(script)

    execute("DROP TABLE IF EXISTS job_effects; CREATE TABLE job_effects (number integer, attempt integer, waited double precision); "
            "GRANT SELECT, INSERT ON job_effects TO xerotier_system; DELETE FROM jobs WHERE queue = 'bench'")
    yield lambda: usage.query("SELECT number, count(*) AS times FROM job_effects GROUP BY number")
    execute("DROP TABLE job_effects; DELETE FROM jobs WHERE queue = 'bench'")


@pytest.fixture
def bench(stack):
    """Starts our measuring program, whose jobs have one row each as their effect; what still runs at the end is ended."""
    binaries = json.loads((stack.folder / "settings.json").read_text())["binaries"]
    running = []
    # Leases and backoffs shorter than in real time, so that a killed worker's jobs are soon there again.
    known = json.loads((stack.folder / "programs" / "sweeper.json").read_text())["environment"]
    environment = {name: value for name, value in known.items() if name != "XEROTIER_WORKER_METRICS_PORT"} | {"XEROTIER_TIME_SCALE": "0.05", "XEROTIER_LOG_LEVEL": "error"}

    def start(name: str, *arguments) -> subprocess.Popen:
        running.append(subprocess.Popen([f"{binaries}/{name}", *map(str, arguments)], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL))
        return running[-1]

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def jobs_under_kills(usage, processes, bench, effects, jobs: int, kills: int):
    """Two workers, one of which is always being killed, a sweeper that looks often, and kills of what they stand on."""
    workers = [bench("jobs-bench", "work", "--threads", 4) for _ in range(2)]
    sweeper = bench("sweeper")
    writer = bench("jobs-bench", "enqueue", "--jobs", jobs, "--together", 5, "--milliseconds", 5, "--failing", 50, "--pause", 5)
    chance = random.Random(1)
    for number in range(kills):
        time.sleep(chance.uniform(0.2, 0.8))
        victim = chance.randrange(2)
        workers[victim].send_signal(signal.SIGKILL)
        workers[victim].wait()
        workers[victim] = bench("jobs-bench", "work", "--threads", 4)
        if number % 3 == 2:
            # A writer that meets a dead Postgres ends; what it had written is what counts.
            name = KILLED[number // 3 % len(KILLED)]
            eventually(lambda: name in processes.programs, seconds=30)
            processes.kill(name)
        if sweeper.poll() is not None:
            sweeper = bench("sweeper")
    writer.wait(timeout=240)
    processes.wait_until_back()
    for index, worker in enumerate(workers):
        if worker.poll() is not None:
            workers[index] = bench("jobs-bench", "work", "--threads", 4)

    def left() -> int:
        return usage.query("SELECT count(*) AS n FROM jobs WHERE queue = 'bench' AND state IN ('waiting', 'ready', 'running')")[0]["n"]

    eventually(lambda: left() == 0, seconds=120, every=0.5)
    written = usage.query("SELECT (payload->>'number')::integer AS number, state FROM jobs WHERE queue = 'bench'")
    assert {row["state"] for row in written} == {"done"}
    assert len(written) > jobs / 10
    assert sorted((row["number"], row["times"]) for row in effects()) == sorted((row["number"], 1) for row in written)


@pytest.mark.short
@pytest.mark.limit(300)
def test_each_effect_is_there_once_while_workers_redis_postgres_and_sweeper_are_killed(usage, processes, bench, effects, victim):
    jobs_under_kills(usage, processes, bench, effects, jobs=1_000, kills=9)


@pytest.mark.long
@pytest.mark.limit(1800)
def test_ten_thousand_jobs_survive_twenty_kills_of_each(usage, processes, bench, effects, victim):
    jobs_under_kills(usage, processes, bench, effects, jobs=10_000, kills=60)


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def events_under_faults(stack, usage, processes, receiver, count: int, kills: int, path: str):
    """A set checker: every event arrives at least once, and repeats have the same identifier and body."""
    hooks = Webhooks(stack.origin, Project.create("hooks", credit=None))
    chance = random.Random(2)
    receiver.answers[path] = lambda number: (lambda dice: 500 if dice < 0.2 else None if dice < 0.25 else (302, {"Location": "/x"}, b"") if dice < 0.3 else 200)(chance.random())
    webhook = hooks.create(receiver.url(path), ["*"])
    sent = set()
    for number in range(10):
        sent |= set(emit(usage, hooks.project, data={"number": number}, count=count // 10))
        if number < kills:
            eventually(lambda: "webhooks" in processes.programs, seconds=30)
            processes.kill("webhooks")
        time.sleep(0.2)
    known = json.loads((stack.folder / "programs" / "sweeper.json").read_text())
    for _ in range(kills):
        subprocess.run([*known["command"], "--once"], env=known["environment"], timeout=60, check=True)
    # Four in five are taken at once; the rest waits for its next attempt by the schedule, five seconds and then five minutes.
    usage.query("UPDATE jobs SET run_at = now() WHERE queue = 'webhooks' AND state = 'waiting' RETURNING 1")

    def arrived() -> bool:
        usage.query("UPDATE jobs SET run_at = now() WHERE queue = 'webhooks' AND state = 'waiting' RETURNING 1")
        usage.query("UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE queue = 'webhooks' AND state = 'running' AND lease_expires_at < now() + interval '35 seconds' RETURNING 1")
        subprocess.run([*known["command"], "--once"], env=known["environment"], timeout=60, check=True)
        open_ones = usage.query("SELECT count(*) AS n FROM webhook_deliveries WHERE webhook_id = %s AND status NOT IN ('succeeded', 'exhausted')", webhook["id"])
        return open_ones[0]["n"] == 0

    eventually(arrived, seconds=240, every=1)
    received = receiver.at(path)
    assert {each.id for each in received} == sent
    bodies = {}
    for each in received:
        assert bodies.setdefault(each.id, each.body) == each.body


@pytest.mark.short
@pytest.mark.limit(300)
def test_every_event_arrives_though_the_receiver_fails_and_the_worker_is_killed(stack, usage, processes, receiver, victim):
    events_under_faults(stack, usage, processes, receiver, count=200, kills=4, path="/faults")


@pytest.mark.long
@pytest.mark.limit(1800)
def test_ten_thousand_events_arrive(stack, usage, processes, receiver, victim):
    events_under_faults(stack, usage, processes, receiver, count=10_000, kills=10, path="/many")
