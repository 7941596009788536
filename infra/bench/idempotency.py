"""What an Idempotency-Key costs: latency and transactions of chats and key creations, without the header, with a new key each, and replayed.

    set -a; . .run/test/stack.env; set +a; infra/bench/idempotency.py [COUNT]      # a running stack; it starts a scripted engine
"""

import os
import pathlib
import secrets
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Tests"), str(ROOT / "Tests" / "EndToEnd")]

import psycopg  # noqa: E402
from harness.calls import Caller  # noqa: E402
from harness.stack import Stack, engine_ports  # noqa: E402
from harness.tenants import Project  # noqa: E402
from ScriptedEngine.process import EngineProcess  # noqa: E402

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
PARTS = 5


def transactions(connection) -> int:
    """Those of all sessions, once they have told of them."""
    connection.execute("SELECT pg_stat_clear_snapshot()")
    return connection.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()").fetchone()[0]


def measure(send, keys: list, connection) -> tuple:
    """Milliseconds of each call, and transactions for each."""
    time.sleep(1.5)
    before, times = transactions(connection), []
    for key in keys:
        started = time.perf_counter()
        answer = send({"Idempotency-Key": key} if key else {})
        times.append((time.perf_counter() - started) * 1000)
        assert answer.status_code in (200, 201), answer.text
        assert ("idempotent-replayed" in answer.headers) == (key is not None and key.startswith("again")), answer.headers
    time.sleep(1.5)
    return times, (transactions(connection) - before) / len(keys)


def main():
    stack = Stack.of_environment()
    project = Project.create("bench")
    with EngineProcess(engine_ports()[:1]) as process, psycopg.connect(stack.database_url, autocommit=True) as connection:
        endpoint = project.endpoint(process.engines[0].url)
        chat, admin = Caller(stack.origin, project.key().key), Caller(stack.origin, project.key("management").key)
        body = {"model": endpoint.slug, "messages": [{"role": "user", "content": "hi"}]}
        calls = {
            "chat": lambda more: chat.client.post("/v1/chat/completions", json=body, headers=chat.headers(more, "own")),
            "key creation": lambda more: admin.client.post("/v1/management/api-keys", json={"name": "n", "scopes": ["inference"]}, headers=admin.headers(more, "own")),
        }
        print(f"{os.uname().machine}, {os.cpu_count()} cores, {COUNT} calls of each kind one after the other, in {PARTS} parts that take turns")
        print(f"{'':14} {'header':8} {'p50 ms':>8} {'p95 ms':>8} {'transactions':>13}")
        for name, send in calls.items():
            again = f"again-{secrets.token_hex(8)}"
            send({"Idempotency-Key": again})
            for _ in range(20):
                send({})
            found = {"none": ([], []), "new": ([], []), "replay": ([], [])}
            for _ in range(PARTS):
                for kind, (times, counts) in found.items():
                    keys = [{"none": None, "new": f"new-{secrets.token_hex(8)}", "replay": again}[kind] for _ in range(COUNT // PARTS)]
                    took, count = measure(send, keys, connection)
                    times += took
                    counts.append(count)
            for kind, (times, counts) in found.items():
                p95 = statistics.quantiles(times, n=20)[18]
                print(f"{name:14} {kind:8} {statistics.median(times):8.2f} {p95:8.2f} {statistics.median(counts):13.2f}")


main()
