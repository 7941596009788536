"""What the operator sees of queues, and does with dead jobs: the tool `migrate jobs`, and the metrics of the workers."""

import json
import os
import pathlib
import uuid

import httpx
import pytest

from harness.tenants import MigrateFailed, Project, migrate
from harness.together import eventually
from harness.webhooks import Receiver, Webhooks, emit


@pytest.fixture
def queue(usage) -> str:
    """A queue of its own, that no worker does."""
    name = "tests_" + "".join(chr(ord("a") + int(digit, 16)) for digit in uuid.uuid4().hex[:12])
    yield name
    usage.query("DELETE FROM jobs WHERE queue = %s RETURNING 1", name)


def write(usage, queue: str, state: str, **values) -> str:
    """A job of the platform's own as workers leave it."""
    return usage.query(
        """INSERT INTO jobs (id, queue, kind, lane, priority, payload, state, run_at, attempt, max_attempts, last_error, ended_at, unique_key)
           VALUES ('job_' || left(replace(gen_random_uuid()::text, '-', ''), 24), %s, 'tidy', 'platform', 1, '{"secret": "x"}', %s, now(), 3, 3, %s,
               CASE WHEN %s = 'dead' THEN now() END, %s) RETURNING id""",
        queue, state, values.get("reason"), state, values.get("unique_key"))[0]["id"]


def readout(queue: str) -> dict | None:
    return next((each for each in migrate("jobs", "show") if each["queue"] == queue), None)


def test_queues_are_shown_and_dead_jobs_run_again(usage, queue):
    first, second, ready = (write(usage, queue, state, reason="No such file.") for state in ("dead", "dead", "ready"))
    shown = readout(queue)
    assert shown.pop("oldest_ready_seconds") >= 0
    assert shown == {"queue": queue, "waiting": 0, "ready": 1, "running": 0, "dead": 2}
    dead = migrate("jobs", "dead", "--queue", queue)
    assert {each["id"] for each in dead} == {first, second} and "secret" not in json.dumps(dead)
    assert {(each["kind"], each["attempts"], each["reason"]) for each in dead} == {("tidy", 3, "No such file.")}
    assert len(migrate("jobs", "dead", "--queue", queue, "--limit", 1)) == 1

    assert migrate("jobs", "replay", "--id", first) == {"replayed": [first]}
    assert usage.query("SELECT state, attempt FROM jobs WHERE id = %s", first) == [{"state": "ready", "attempt": 0}]
    assert migrate("jobs", "replay", "--queue", queue) == {"replayed": [second]}
    assert readout(queue)["dead"] == 0 and readout(queue)["ready"] == 3
    lines = usage.query("SELECT target_id FROM audit_log WHERE action = 'job.replay' AND target_id IN (%s, %s)", first, f"queue {queue}")
    assert len(lines) == 2


def test_a_replay_of_what_is_not_dead_is_refused(usage, queue):
    ready = write(usage, queue, "ready")
    for wrong in (["--id", ready], ["--id", "job_" + "0" * 24], ["--id", "x"], [], ["--id", ready, "--queue", queue]):
        with pytest.raises(MigrateFailed):
            migrate("jobs", "replay", *wrong)
    assert usage.query("SELECT state, attempt FROM jobs WHERE id = %s", ready) == [{"state": "ready", "attempt": 3}]


def test_a_dead_job_stays_dead_while_another_has_its_unique_key(usage, queue):
    write(usage, queue, "ready", unique_key="one")
    dead = write(usage, queue, "dead", unique_key="one")
    assert migrate("jobs", "replay", "--queue", queue) == {"replayed": []}
    assert usage.query("SELECT state FROM jobs WHERE id = %s", dead) == [{"state": "dead"}]


def metrics(program: str) -> dict:
    known = json.loads((pathlib.Path(os.environ["XEROTIER_STACK_DIR"]) / "programs" / f"{program}.json").read_text())["environment"]
    answer = httpx.get(f"http://127.0.0.1:{known['XEROTIER_WORKER_METRICS_PORT']}/metrics", timeout=10)
    assert answer.status_code == 200
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))}


def test_workers_count_what_they_do_and_the_sweeper_shows_how_queues_stand(stack, usage, queue):
    write(usage, queue, "dead")
    eventually(lambda: metrics("sweeper").get(f'xerotier_jobs{{queue="{queue}",state="dead"}}') == 1, seconds=60, every=0.2)
    done = 'xerotier_jobs_total{queue="webhooks",kind="deliver",outcome="done"}'
    before = metrics("webhooks").get(done, 0)
    receiver = Receiver()
    try:
        hooks = Webhooks(stack.origin, Project.create("hooks", credit=None))
        webhook = hooks.create(receiver.url("/counted"))
        emit(usage, hooks.project)
        hooks.wait_for(webhook, "succeeded")
        eventually(lambda: metrics("webhooks")[done] == before + 1, seconds=30, every=0.2)
    finally:
        receiver.close()
    assert any(name.startswith('xerotier_job_wait_seconds_count{queue="webhooks"') for name in metrics("webhooks"))
