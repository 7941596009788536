"""Measures jobs and deliveries of the running stack; see infra/bench/jobs."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from harness.tenants import Project
from harness.usage import UsageRows
from harness.webhooks import Receiver, Webhooks, emit

BINARIES = sys.argv[1]
ENVIRONMENT = json.loads((Path(os.environ["XEROTIER_STACK_DIR"]) / "programs" / "sweeper.json").read_text())["environment"]
ENVIRONMENT = {name: value for name, value in ENVIRONMENT.items() if name != "XEROTIER_WORKER_METRICS_PORT"} | {"XEROTIER_LOG_LEVEL": "error"}


def bench(*arguments, **options) -> subprocess.Popen:
    return subprocess.Popen([f"{BINARIES}/jobs-bench", *map(str, arguments)], env=ENVIRONMENT, **options)


def execute(script: str):
    with psycopg.connect(os.environ["XEROTIER_DATABASE_URL"], autocommit=True) as connection:
        return connection.execute(script)


def wait(usage: UsageRows, sql: str, count: int):
    while usage.query(sql)[0]["n"] < count:
        time.sleep(0.02)


def main():
    usage = UsageRows(os.environ["XEROTIER_DATABASE_URL"])
    execute("CREATE TABLE job_effects (number integer, attempt integer, waited double precision); GRANT SELECT, INSERT ON job_effects TO xerotier_system")
    effects = "SELECT count(*) AS n FROM job_effects"
    workers = [bench("work", "--threads", 8) for _ in range(2)]
    time.sleep(2)

    bench("enqueue", "--jobs", 500, "--pause", 5, stdout=subprocess.DEVNULL).wait()
    wait(usage, effects, 500)
    waits = sorted(row["waited"] * 1_000 for row in usage.query("SELECT waited FROM job_effects"))
    print(f"enqueue to start, one job each 5 ms: p50 {statistics.median(waits):.1f} ms, p99 {waits[int(len(waits) * 0.99)]:.1f} ms")

    execute("TRUNCATE job_effects")
    start = time.monotonic()
    bench("enqueue", "--jobs", 5_000, "--together", 20, stdout=subprocess.DEVNULL).wait()
    wait(usage, effects, 5_000)
    print(f"jobs written and done by 2 workers of 8 threads: {5_000 / (time.monotonic() - start):.0f} /s")
    for worker in workers:
        worker.terminate()
        worker.wait()

    receiver = Receiver()
    hooks = Webhooks(os.environ["XEROTIER_HTTP_URL"].removesuffix("/v1"), Project.create("bench", credit=None))
    hooks.create(receiver.url("/a"), ["*"])
    # One webhook has eight calls at a time; several share the events of a busy project.
    for path in ("/b", "/c", "/d"):
        hooks.create(receiver.url(path), ["*"])
    start = time.monotonic()
    emit(usage, hooks.project, count=750)
    subprocess.run([f"{BINARIES}/sweeper", "--once"], env=ENVIRONMENT, check=True)
    wait(usage, "SELECT count(*) AS n FROM webhook_deliveries WHERE status = 'succeeded'", 3_000)
    print(f"deliveries to 4 webhooks of a receiver in Python: {3_000 / (time.monotonic() - start):.0f} /s")

    receiver.answers["/slow"] = lambda count: time.sleep(30) or 200
    slow, fast = (Webhooks(hooks.caller.client.base_url, Project.create("bench", credit=None)) for _ in range(2))
    slow.create(receiver.url("/slow"), ["*"])
    fast.create(receiver.url("/fast"), ["*"])
    emit(usage, slow.project, count=200)
    subprocess.run([f"{BINARIES}/sweeper", "--once"], env=ENVIRONMENT, check=True)
    time.sleep(1)
    delays = []
    for number in range(30):
        at = time.time()
        emit(usage, fast.project)
        subprocess.run([f"{BINARIES}/sweeper", "--once"], env=ENVIRONMENT, check=True)
        received = receiver.wait("/fast", number + 1)
        delays.append((received[-1].at - at) * 1_000)
    print(f"event to a fast receiver beside one of 30 s, with a sweep to ring for it: p50 {statistics.median(delays):.0f} ms")
    receiver.close()


main()
