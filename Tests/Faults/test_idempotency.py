"""Idempotency-Key (spec 04 §9) across gateways, restarts and deaths: one effect and one bill, whatever happens when."""

import json
import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psycopg
import pytest
import redis

from harness.calls import Caller, expect_error
from harness.together import eventually, together

CHAT = "/v1/chat/completions"
KEYS = "/v1/management/api-keys"


def header() -> dict:
    return {"Idempotency-Key": f"fault-{secrets.token_hex(8)}"}


class Post:
    """One kind of POST that has an effect, and how often it had it."""

    def __init__(self, name: str, tenant, admin: Caller, usage):
        self.name, self.tenant, self.admin, self.usage = name, tenant, admin, usage
        self.group = "platform-" if name == "key" else "gateway-"

    def send(self, more: dict, delay_ms: int = 0) -> httpx.Response:
        if self.name == "key":
            caller, path, body = self.admin, KEYS, {"name": "fault", "scopes": ["inference"]}
        else:
            script = {"text": "one two three", "first_delay_ms": delay_ms}
            caller, path, body = self.tenant.caller, CHAT, self.tenant.body(script=script, stream=self.name == "stream")
        return caller.client.post(path, json=body, headers=caller.headers(more, "own"), timeout=60)

    def effects(self) -> int:
        if self.name == "key":
            return len(self.usage.query("SELECT 1 FROM api_keys WHERE project_id = %s AND name = 'fault'", self.tenant.project.id))
        return len(self.usage.of_project(self.tenant.project.id))

    def bills(self) -> int:
        """Transactions of the ledger that charge for a request."""
        return len(self.usage.query("SELECT 1 FROM ledger_transactions WHERE project_id = %s AND kind = 'settle'", self.tenant.project.id))

    def check_once(self, *answers: httpx.Response):
        """These are all answers of one request that happened once."""
        for answer in answers:
            assert answer.status_code == (201 if self.name == "key" else 200), answer.text
            if self.name == "stream":
                assert answer.text.endswith("data: [DONE]\n\n")
        assert len({answer.headers["x-request-id"] for answer in answers}) == 1
        assert self.effects() == 1
        assert self.bills() == (0 if self.name == "key" else 1)


@pytest.fixture(params=["chat", "stream", "key"])
def post(request, victim, stack, usage) -> Post:
    return Post(request.param, victim, Caller(stack.origin, victim.project.key("management").key), usage)


@pytest.fixture
def making_a_key(victim, stack, usage) -> Post:
    return Post("key", victim, Caller(stack.origin, victim.project.key("management").key), usage)


@pytest.fixture
def lease_s(stack) -> float:
    overrides = json.loads((stack.folder / "settings.json").read_text())["overrides"]
    return float(overrides.get("idempotency.lease_seconds", 60))


class Hold:
    """Keeps transactions that complete a key at their COMMIT, for so long, or fails them there."""

    def __init__(self, stack, action: str):
        self.url, self.action = stack.database_url, action

    def execute(self, sql: str):
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql)

    def __enter__(self) -> "Hold":
        self.execute(
            f"""
            CREATE OR REPLACE FUNCTION test_hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {self.action}; RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER test_hold AFTER UPDATE ON idempotency_keys DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.status IS NOT NULL) EXECUTE FUNCTION test_hold();
            """)
        return self

    def __exit__(self, *_):
        self.execute("DROP TRIGGER IF EXISTS test_hold ON idempotency_keys; DROP FUNCTION IF EXISTS test_hold()")


@pytest.fixture
def superuser(stack):
    """Sees, and may end, what all roles do."""
    with psycopg.connect(stack.database_url, user="postgres", autocommit=True) as connection:
        yield connection


def waiting(superuser, event: str) -> list:
    """Processes of the database that wait for this."""
    return [pid for (pid,) in superuser.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = %s", (event,))]


@contextmanager
def in_flight(post: Post, more: dict, delay_ms: int = 0):
    """The request is sent meanwhile; its end, which may be a cut, is the future's."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(post.send, more, delay_ms)


def kill_group(processes, post: Post):
    for name in [name for name in processes.gateways if name.startswith(post.group)]:
        processes.kill(name)


def again_until_answered(post: Post, more: dict, seconds: float) -> httpx.Response:
    """What a patient client gets: it waits while the request is in progress, or the service away."""

    def attempt():
        try:
            answer = post.send(more)
        except httpx.TransportError:
            return None
        assert answer.status_code in (200, 201, 409, 502, 503, 504), answer.text
        return answer if answer.status_code in (200, 201) else None

    return eventually(attempt, seconds=seconds, every=0.2)


@pytest.mark.short
@pytest.mark.limit(180)
def test_of_twenty_at_once_one_runs_and_the_others_wait_or_hear_its_answer(post, processes):
    """20 parallel POST with one key make one object, one bill; 19 get 409 or the replay."""
    assert len([name for name in processes.gateways if name.startswith(post.group)]) >= 2
    more = header()
    answers = together(20, lambda number: post.send(more, delay_ms=300))
    good = [answer for answer in answers if answer.status_code in (200, 201)]
    for answer in answers:
        if answer not in good:
            expect_error(answer, 409, "idempotency_in_progress")
            assert answer.headers["retry-after"] == "1"
    assert len([answer for answer in good if "idempotent-replayed" not in answer.headers]) == 1
    post.check_once(*good, post.send(more, delay_ms=300))


@pytest.mark.short
@pytest.mark.limit(180)
def test_an_emptied_and_restarted_redis_forgets_no_answer(post, processes):
    """After FLUSHALL and a restart the replay still works."""
    more = header()
    first = post.send(more)
    redis.Redis(unix_socket_path=os.environ["XEROTIER_REDIS_SOCKET"]).flushall()
    processes.stop("redis")
    processes.start("redis")
    post.check_once(first, post.send(more))
    # Nor do gateways that know of nothing.
    processes.restart_gateways()
    again = again_until_answered(post, more, 30)
    assert again.headers["idempotent-replayed"] == "true"
    post.check_once(first, again)


@pytest.mark.short
@pytest.mark.limit(180)
def test_a_gateway_killed_between_effect_and_answer_has_left_the_answer(post, processes, stack, superuser):
    more = header()
    with Hold(stack, "PERFORM pg_sleep(2)"), in_flight(post, more) as first:
        eventually(lambda: waiting(superuser, "PgSleep"))
        kill_group(processes, post)
        assert first.exception(30) or first.result().status_code >= 500 or not first.result().text.endswith("[DONE]\n\n")
        eventually(lambda: not waiting(superuser, "PgSleep"), seconds=10)
    assert post.effects() == 1
    again = again_until_answered(post, more, 60)
    assert again.headers["idempotent-replayed"] == "true"
    post.check_once(again)


@pytest.mark.short
@pytest.mark.limit(180)
def test_the_key_of_a_gateway_killed_mid_run_is_taken_over_when_its_lease_ends(victim, processes, stack, usage, engine, lease_s):
    post, more = Post("chat", victim, None, usage), header()
    with in_flight(post, more, delay_ms=5_000) as first:
        eventually(lambda: usage.query("SELECT 1 FROM idempotency_keys WHERE project_id = %s", victim.project.id))
        kill_group(processes, post)
        assert first.exception(30) or first.result().status_code >= 500
    started = time.monotonic()
    # The same request, byte for byte, by the clients of the delayed one.
    again = eventually(lambda: attempt(post, more), seconds=lease_s + 60, every=0.2)
    assert time.monotonic() - started < lease_s + 45
    assert "idempotent-replayed" not in again.headers
    post.check_once(again, attempt(post, more))


def attempt(post: Post, more: dict):
    try:
        answer = post.send(more, delay_ms=5_000)
    except httpx.TransportError:
        return None
    if answer.status_code == 409:
        expect_error(answer, 409, "idempotency_in_progress")
    return answer if answer.status_code == 200 else None


@pytest.mark.short
@pytest.mark.limit(180)
def test_a_run_that_outlasts_its_lease_keeps_its_key(victim, usage, lease_s):
    """The lease is renewed while the request runs."""
    if lease_s > 10:
        pytest.skip("start the stack with --set idempotency.lease_seconds=3")
    post, more, delay_ms = Post("chat", victim, None, usage), header(), int(2_500 * lease_s)
    with in_flight(post, more, delay_ms=delay_ms) as first:
        time.sleep(1.8 * lease_s)
        expect_error(post.send(more, delay_ms=delay_ms), 409, "idempotency_in_progress")
    post.check_once(first.result(), post.send(more, delay_ms=delay_ms))


@pytest.mark.short
@pytest.mark.limit(180)
def test_a_write_that_lost_its_key_changes_nothing(making_a_key, stack, superuser):
    """Another process took the key over, as after a lease that could not be renewed."""
    post, more = making_a_key, header()
    project = [post.tenant.project.id]
    with psycopg.connect(stack.database_url, user="postgres") as lock:
        # The write waits for this, after it has taken its key.
        lock.execute("LOCK TABLE api_keys IN SHARE MODE")
        with in_flight(post, more) as first:
            taken = "UPDATE idempotency_keys SET request_id = 'req_another' WHERE project_id = %s AND status IS NULL"
            eventually(lambda: superuser.execute(taken, project).rowcount)
            lock.commit()
            expect_error(first.result(), 409, "idempotency_in_progress", param="Idempotency-Key")
    assert post.effects() == 0
    assert superuser.execute("SELECT request_id, status FROM idempotency_keys WHERE project_id = %s", project).fetchall() == [("req_another", None)]


@pytest.mark.short
@pytest.mark.limit(180)
def test_a_post_that_got_500_and_is_sent_again_makes_one_object(making_a_key, stack):
    """A POST with a key that gets 500 and is re-sent creates exactly one object."""
    post, more = making_a_key, header()
    with Hold(stack, "RAISE EXCEPTION 'test' USING ERRCODE = 'XT000'"):
        expect_error(post.send(more), 500, "internal_error")
        assert post.effects() == 0
    first = post.send(more)
    assert "idempotent-replayed" not in first.headers
    post.check_once(first, post.send(more))


@pytest.mark.short
@pytest.mark.limit(180)
def test_a_post_whose_commit_was_not_heard_of_made_its_one_object(making_a_key, stack, superuser):
    """The answer is 503, and the object is there all the same: the database has committed, and its connection is lost."""
    post, more = making_a_key, header()
    with Hold(stack, "PERFORM pg_sleep(1)"), in_flight(post, more) as first:
        try:
            (pid,) = eventually(lambda: waiting(superuser, "PgSleep"))
            # Now its COMMIT will wait for a standby that never comes, after it has become durable here.
            superuser.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            superuser.execute("SELECT pg_reload_conf()")
            eventually(lambda: pid in waiting(superuser, "SyncRep"))
            superuser.execute("SELECT pg_terminate_backend(%s)", (pid,))
        finally:
            superuser.execute("ALTER SYSTEM RESET synchronous_standby_names")
            superuser.execute("SELECT pg_reload_conf()")
        expect_error(first.result(), 503, "service_unavailable")
    assert post.effects() == 1
    again = post.send(more)
    assert again.headers["idempotent-replayed"] == "true"
    post.check_once(again, post.send(more))


@pytest.mark.short
@pytest.mark.limit(180)
def test_an_answer_that_went_to_the_journal_is_replayed(victim, processes, usage):
    """While Postgres is away a run is settled in the journal, and its key with it."""
    post, more = Post("stream", victim, None, usage), header()
    with in_flight(post, more, delay_ms=2_500) as first:
        eventually(lambda: usage.query("SELECT 1 FROM idempotency_keys WHERE project_id = %s", victim.project.id))
        processes.stop("postgres")
        try:
            assert first.result().status_code == 200
        finally:
            processes.start("postgres")
    processes.wait_until_back()
    again = eventually(lambda: (answer := post.send(more, delay_ms=2_500)).status_code == 200 and answer, seconds=30, every=0.2)
    assert again.headers["idempotent-replayed"] == "true"
    post.check_once(again)
    assert "".join(words(first.result())) == "".join(words(again))


def words(answer: httpx.Response) -> list:
    chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    return [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
