"""Jobs under kill -9 of all that runs, and with Redis emptied or away: each effect in Postgres is there exactly once (spec 01 §2)."""

import json
import os
import random
import signal
import subprocess
import time

import psycopg
import pytest
import redis

from harness.stack import ROOT
from harness.together import eventually

TIME_SCALE = 0.05


@pytest.fixture
def effects(stack, usage):
    """How often each job has taken effect."""
    def execute(script: str):
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute(script)

    execute("DROP TABLE IF EXISTS job_effects; CREATE TABLE job_effects (number integer, attempt integer, waited double precision); "
            "GRANT SELECT, INSERT ON job_effects TO xerotier_system; DELETE FROM jobs WHERE queue = 'bench'")
    yield lambda: {row["number"]: row["times"] for row in usage.query("SELECT number, count(*) AS times FROM job_effects GROUP BY number")}
    execute("DROP TABLE job_effects; DELETE FROM jobs WHERE queue = 'bench'")


class Bench:
    """Our measuring program, whose jobs have one row each as their effect, and a sweeper that looks often: what was killed is started again."""

    def __init__(self, stack, jobs: int):
        self.binaries = json.loads((stack.folder / "settings.json").read_text())["binaries"]
        known = json.loads((stack.folder / "programs" / "sweeper.json").read_text())["environment"]
        self.environment = {name: value for name, value in known.items() if name != "XEROTIER_WORKER_METRICS_PORT"}
        # Leases and backoffs shorter than in real time, so that a killed worker's jobs are soon there again.
        self.environment |= {"XEROTIER_TIME_SCALE": str(TIME_SCALE), "XEROTIER_LOG_LEVEL": "critical", "XEROTIER_SWEEP_SECONDS": "1"}
        self.jobs = jobs
        self.commands = {"worker 0": ["jobs-bench", "work", "--threads", "4"], "worker 1": ["jobs-bench", "work", "--threads", "4"], "bench sweeper": ["sweeper"]}
        self.running = {name: self.start(*command) for name, command in self.commands.items()}

    def start(self, name: str, *arguments) -> subprocess.Popen:
        return subprocess.Popen([f"{self.binaries}/{name}", *map(str, arguments)], cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self, name: str):
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()
        self.running[name] = self.start(*self.commands[name])

    def write(self, usage) -> bool:
        """Goes on writing where the last writer came to, which ends when it meets a dead Postgres. Answers whether all jobs are written."""
        writer = self.running.get("writer")
        if writer and writer.poll() is None:
            return False
        last = usage.query("SELECT max(n) AS n FROM (SELECT max((payload->>'number')::integer) n FROM jobs WHERE queue = 'bench' UNION SELECT max(number) FROM job_effects) a")
        first = 0 if last[0]["n"] is None else last[0]["n"] + 1
        if first >= self.jobs:
            return True
        self.running["writer"] = self.start(
            "jobs-bench", "enqueue", "--first", first, "--jobs", self.jobs, "--together", 5, "--milliseconds", 5, "--failing", 50, "--pause", 10)
        return False

    def close(self):
        for process in self.running.values():
            process.kill()
            process.wait()


def flush():
    redis.Redis(unix_socket_path=os.environ["XEROTIER_REDIS_SOCKET"]).flushall()


def survive(stack, usage, processes, effects, jobs: int, rounds: int, away: float):
    """In each round every process is killed once, Redis is emptied, and in the middle one it is away for so many seconds."""
    chance = random.Random(1)
    bench = Bench(stack, jobs)

    def writes() -> bool:
        """Whether all jobs are written; None while Postgres is away."""
        try:
            return bench.write(usage)
        except psycopg.OperationalError:
            return None

    try:
        for number in range(rounds):
            victims = [*bench.commands, *processes.programs, "flush"]
            chance.shuffle(victims)
            for victim in victims:
                eventually(lambda: writes() is not None, seconds=60)
                time.sleep(chance.uniform(0.05, 0.4))
                if victim == "flush":
                    flush()
                elif victim in bench.commands:
                    bench.kill(victim)
                else:
                    eventually(lambda: victim in processes.programs, seconds=60)
                    processes.kill(victim)
                    if victim == "redis":
                        eventually(lambda: victim in processes.programs, seconds=60)
            if number == rounds // 2:
                processes.stop("redis")
                time.sleep(away)
                processes.start("redis")
        processes.wait_until_back()
        eventually(writes, seconds=300, every=0.2)
        eventually(lambda: len(effects()) == jobs, seconds=180, every=0.2)
        left = "SELECT count(*) AS n FROM jobs WHERE queue = 'bench' AND state IN ('waiting', 'ready', 'running')"
        eventually(lambda: usage.query(left)[0]["n"] == 0, seconds=60, every=0.2)
        again = usage.query("SELECT count(*) AS n FROM job_effects WHERE attempt > 1 AND mod(number, 50) <> 0")[0]["n"]
        print(f"{jobs} jobs, {rounds} rounds of {len(victims)} faults: {len(effects())} effects, {again} of them in a later attempt that a fault caused")
        assert effects() == dict.fromkeys(range(jobs), 1)
        assert usage.query("SELECT count(*) AS n FROM jobs WHERE queue = 'bench' AND state = 'dead'")[0]["n"] == 0
    finally:
        bench.close()


@pytest.mark.short
@pytest.mark.limit(300)
def test_each_effect_is_there_once_while_every_process_is_killed_and_redis_emptied_and_away(stack, usage, processes, effects, victim):
    survive(stack, usage, processes, effects, jobs=1_000, rounds=1, away=3)


@pytest.mark.long
@pytest.mark.limit(2400)
def test_ten_thousand_jobs_survive_twenty_kills_of_every_process(stack, usage, processes, effects, victim):
    survive(stack, usage, processes, effects, jobs=10_000, rounds=20, away=60)
