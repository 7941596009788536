"""The XIM agent's program, and its session on the mesh (spec 05 §11-13, §16)."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import time

import httpx
import pytest

from harness.calls import Caller
from harness.processes import Processes
from harness.tenants import Project
from harness.together import eventually

BINARY = pathlib.Path(__file__).resolve().parents[2] / ".build" / "release" / "xerotier-xim-agent"
AGENTS = "/v1/management/agents"


@pytest.fixture
def admin(stack):
    project = Project.create("xim", credit=None)
    caller = Caller(stack.origin, project.key("management").key)
    caller.project = project
    return caller


def forget_enrolments():
    """Ten of an address are let in a minute, and all agents of these tests come from one."""
    script = "for _, name in ipairs(redis.call('KEYS', 'enroll:127.0.0.1:*')) do redis.call('DEL', name) end return 0"
    with socket.socket(socket.AF_UNIX) as redis:
        redis.connect(os.environ["XEROTIER_REDIS_SOCKET"])
        redis.sendall(f"*3\r\n$4\r\nEVAL\r\n${len(script)}\r\n{script}\r\n$1\r\n0\r\n".encode())
        assert redis.recv(64) == b":0\r\n"


class Agent:
    """The program with a home of its own."""

    def __init__(self, home: pathlib.Path, origin: str):
        forget_enrolments()
        self.environment = {"HOME": str(home), "PATH": os.environ["PATH"], "XEROTIER_AGENT_ROUTER_URL": origin, "XEROTIER_AGENT_ALLOW_INSECURE": "1"}
        # Nothing answers there: these tests send no requests.
        self.environment |= {"XEROTIER_AGENT_ENGINE_URL": "http://127.0.0.1:9", "XEROTIER_AGENT_DISABLE_METRICS_SERVER": "1"}
        self.environment |= {"XEROTIER_AGENT_ENV_FILE": str(home / "xim-agent.env")}
        self.home = home
        self.state = home / ".config" / "xerotier"
        self.log = home / "log"

    def call(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([BINARY, *arguments], env=self.environment, capture_output=True, text=True, timeout=60)

    @contextlib.contextmanager
    def running(self, command: list = ["run"]):
        with self.log.open("a") as log:
            process = subprocess.Popen([BINARY, *command], env=self.environment, stderr=log, stdout=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def agent(tmp_path, stack):
    return Agent(tmp_path, stack.origin)


def join_key(admin) -> str:
    return admin.send("POST", "/v1/management/join-keys", {}).json()["key"]


def listed(admin) -> list[dict]:
    return admin.get(AGENTS).json()["data"]


def test_with_only_a_join_key_an_agent_becomes_active_and_leaves(admin, agent):
    assert agent.call("status").returncode == 1
    key = join_key(admin)
    done = agent.call("enroll", "--join-key", key, "--name", "gpu-01", "--max-concurrent", "3")
    assert done.returncode == 0, done.stderr
    worker = listed(admin)[0]["worker_id"]
    assert done.stdout == f"enrolled as {worker}\n"
    assert sorted(path.name for path in agent.state.iterdir()) == ["agent-curve-key.hex", "agent-signing-key.hex", "enrollment.json"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in agent.state.iterdir())
    again = agent.call("enroll", "--join-key", key)
    assert again.returncode == 0 and "already" in again.stdout and len(listed(admin)) == 1
    status = agent.call("status")
    assert status.returncode == 0 and worker in status.stdout
    secrets = [path.read_text().strip() for path in agent.state.glob("*.hex")]
    assert not any(secret in status.stdout for secret in secrets) and key not in status.stdout + (agent.state / "enrollment.json").read_text()

    assert listed(admin)[0]["status"] == "pending"
    with agent.running() as process:
        eventually(lambda: listed(admin)[0]["status"] == "active", 30)
        assert listed(admin)[0]["last_heartbeat_at"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_revoked_agent_is_cut_off_and_never_let_in_again(admin, agent):
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "gone").returncode == 0
    kept = {path.name: path.read_text() for path in agent.state.iterdir()}
    with agent.running() as process:
        eventually(lambda: listed(admin)[0]["status"] == "active", 30)
        assert admin.send("DELETE", f"{AGENTS}/{listed(admin)[0]['id']}", {}).status_code == 200
        assert process.wait(30) != 0
        assert "revoked" in agent.log.read_text()
    assert agent.call("run").returncode == 1 and "not enrolled" in agent.call("run").stderr
    for name, text in kept.items():
        (agent.state / name).write_text(text)
    with agent.running() as process:
        eventually(lambda: "does not let this agent in" in agent.log.read_text(), 30)
        assert process.poll() is None and listed(admin) == []


def test_a_second_start_takes_the_place_of_the_first(admin, agent):
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "twice").returncode == 0
    with agent.running() as first:
        eventually(lambda: '"connected"' in agent.log.read_text(), 30)
        with agent.running() as second:
            assert first.wait(30) != 0 and "another process runs as this agent" in agent.log.read_text()
            eventually(lambda: listed(admin)[0]["status"] == "active", 30)
            assert second.poll() is None


def test_an_agent_whose_credentials_are_revoked_is_cut_off_within_a_second(admin, agent):
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "phoenix").returncode == 0
    with agent.running() as process:
        eventually(lambda: listed(admin)[0]["status"] == "active", 30)
        before = listed(admin)[0]
        assert admin.post(f"{AGENTS}/{before['id']}/revoke-credentials", {}).status_code == 202
        assert process.wait(30) != 0 and listed(admin)[0]["status"] == "revoked"
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "phoenix").returncode == 0
    with agent.running():
        eventually(lambda: listed(admin)[0]["status"] == "active", 30)
        assert listed(admin)[0]["id"] == before["id"]


def test_coming_and_going_is_in_the_history_and_told_to_webhooks(admin, agent, usage):
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "commuter").returncode == 0
    mine = listed(admin)[0]["id"]
    with agent.running() as process:
        eventually(lambda: listed(admin)[0]["status"] == "active", 30)
        now = listed(admin)[0]
        assert now["lease_until"] >= now["last_heartbeat_at"] and now["in_flight"] == 0
        process.terminate()
        assert process.wait(30) == 0
    eventually(lambda: listed(admin)[0]["status"] == "disconnected", 30)
    events = admin.get(f"{AGENTS}/{mine}/events", params={"order": "asc"}).json()["data"]
    assert [(event["type"], event["reason"]) for event in events] == [("agent.enrolled", None), ("agent.online", None), ("agent.offline", "shutdown")]
    told = usage.query("SELECT kind, payload FROM outbox WHERE project_id = %s AND kind LIKE 'agent.%%' ORDER BY created_at", admin.project.id)
    assert [row["kind"] for row in told] == [event["type"] for event in events]
    assert [row["payload"]["state"] for row in told] == ["pending", "active", "disconnected"] and told[2]["payload"]["reason"] == "shutdown"


def test_an_agent_that_nobody_hears_of_goes_offline_once(admin, agent, usage):
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "lost").returncode == 0
    mine = listed(admin)[0]["id"]
    with agent.running() as process:
        eventually(lambda: listed(admin)[0]["status"] == "active", 30)
        process.kill()
        process.wait()
    # What half a minute of silence leads to.
    eventually(lambda: usage.query("UPDATE agents SET lease_until = now() WHERE id = %s AND last_heartbeat_at < now() - interval '1 second' RETURNING 1", mine), 30)
    eventually(lambda: listed(admin)[0]["status"] == "disconnected", 30)
    assert [event["type"] for event in admin.get(f"{AGENTS}/{mine}/events").json()["data"]][:2] == ["agent.offline", "agent.online"]


def test_a_drained_agent_ends_and_is_active_when_it_comes_back(admin, agent):
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "drained").returncode == 0
    mine = listed(admin)[0]["id"]
    with agent.running() as process:
        eventually(lambda: listed(admin)[0]["status"] == "active", 30)
        assert admin.post(f"{AGENTS}/{mine}/drain", {"deadline_s": 600}).json()["status"] == "draining"
        assert process.wait(30) == 0
    eventually(lambda: listed(admin)[0]["status"] == "disconnected", 30)
    with agent.running():
        eventually(lambda: listed(admin)[0]["status"] == "active", 30)


def test_a_rotated_key_is_the_only_one_after_a_minute(admin, agent, usage):
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "rotor").returncode == 0
    mine = listed(admin)[0]["id"]
    old = (agent.state / "agent-curve-key.hex").read_text()

    def stored() -> dict:
        return usage.query("SELECT curve_public_key AS key, previous_curve_key AS before, rotation_nonce AS nonce FROM agents WHERE id = %s", mine)[0]

    first = stored()["key"]
    with agent.running() as process:
        eventually(lambda: listed(admin)[0]["status"] == "active", 30)
        assert admin.post(f"{AGENTS}/{mine}/curve-rotate", {"reason": "yearly"}).status_code == 202
        eventually(lambda: stored()["nonce"] is None and stored()["before"] == first != stored()["key"], 30)
        eventually(lambda: agent.log.read_text().count('"connected"') == 2, 30)
        assert (agent.state / "agent-curve-key.hex").read_text() != old and not (agent.state / "agent-curve-key.new.hex").exists()
        assert process.poll() is None and listed(admin)[0]["status"] == "active"
    types = [event["type"] for event in admin.get(f"{AGENTS}/{mine}/events").json()["data"]]
    assert types.count("agent.curve_rotated") == 1 and "agent.offline" not in types
    new = (agent.state / "agent-curve-key.hex").read_text()
    (agent.state / "agent-curve-key.hex").write_text(old)
    with agent.running():
        eventually(lambda: agent.log.read_text().count('"connected"') == 3, 30), "for a minute the old one is good"
    usage.query("UPDATE agents SET previous_curve_key_until = now() WHERE id = %s RETURNING 1", mine)
    with agent.running():
        eventually(lambda: "does not let this agent in" in agent.log.read_text(), 30)
    (agent.state / "agent-curve-key.hex").write_text(new)
    with agent.running():
        eventually(lambda: agent.log.read_text().count('"connected"') == 4, 30)


def test_an_agent_finds_a_router_that_was_killed_again(admin, agent, stack):
    processes = Processes(stack)
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "steady").returncode == 0
    with agent.running() as process:
        eventually(lambda: agent.log.read_text().count('"connected"') == 1, 30)
        processes.kill("mesh")
        eventually(lambda: agent.log.read_text().count('"connected"') == 2, 60)
        eventually(lambda: listed(admin)[0]["status"] == "active", 30)
        assert process.poll() is None


def test_an_agent_with_a_stolen_identity_gets_no_answer(admin, agent, tmp_path, stack):
    """A known key that claims another worker's id is heard by nobody."""
    other = Agent(tmp_path / "other", stack.origin)
    (tmp_path / "other").mkdir()
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "victim").returncode == 0
    assert other.call("enroll", "--join-key", join_key(admin), "--name", "thief").returncode == 0
    mine = next(line for line in listed(admin) if line["name"] == "victim")
    state = other.state / "enrollment.json"
    theirs = next(line for line in listed(admin) if line["name"] == "thief")
    state.write_text(state.read_text().replace(theirs["worker_id"], mine["worker_id"]).replace(theirs["id"], mine["id"]))
    with agent.running():
        eventually(lambda: next(line for line in listed(admin) if line["name"] == "victim")["status"] == "active", 30)
        before = refused()
        with other.running():
            eventually(lambda: refused() > before, 30)
            assert '"connected"' not in other.log.read_text()
            assert {line["name"]: line["status"] for line in listed(admin)} == {"victim": "active", "thief": "pending"}


def refused() -> float:
    port = int(os.environ["XEROTIER_STACK_PORT_BASE"]) + 925
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if "mesh_refused_total{" in line and 'reason="name"' in line)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["enroll"], "--join-key"),
        (["enroll", "--join-key", "xjk_x", "--name", "No Name"], "REGISTRATION_NAME"),
        (["enroll", "--join-key", "xjk_x", "--max-concurrent", "5000"], "--max-concurrent"),
        (["enroll", "--join-key", "xjk_x", "--name", "a", "--router-url", "ftp://x"], "--router-url"),
        (["enroll", "--join-key", "xjk_x", "--name", "a"], "invalid_join_key"),
        (["enroll", "--join-key", "xjk_x", "--name", "a", "--router-url", "http://127.0.0.1:1"], "cannot be reached"),
        (["run"], "not enrolled"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_no_enrolment(agent, arguments, words):
    done = agent.call(*arguments)
    assert done.returncode != 0 and words in done.stderr, done.stderr
    assert not (agent.state / "enrollment.json").exists()


@pytest.mark.parametrize(
    "variable, value",
    [("MAX_CONCURRENT", "4097"), ("LOG_LEVEL", "loud"), ("STARTUP_TIMEOUT_S", "5"), ("MODEL_CACHE_DIR", "/models"), ("MAX_CONCURENT", "4")],
)
def test_a_setting_that_cannot_be_ends_with_2_and_names_it(agent, variable, value):
    for changes in ({f"XEROTIER_AGENT_{variable}": value}, {}):
        if not changes:
            (agent.home / "xim-agent.env").write_text(f"XEROTIER_AGENT_{variable}={value}\n")
        done = subprocess.run([BINARY, "run"], env=agent.environment | changes, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and f"XEROTIER_AGENT_{variable} (--{variable.lower().replace('_', '-')}): " in done.stderr, done.stderr
    flag = subprocess.run([BINARY, "run", "--no-such-flag", "1"], env=agent.environment, capture_output=True, text=True, timeout=60)
    assert flag.returncode == 2 and "--no-such-flag" in flag.stderr


def test_without_a_command_it_enrols_and_runs(admin, agent):
    assert agent.call().returncode == 1
    agent.environment |= {"XEROTIER_AGENT_JOIN_KEY": join_key(admin), "XEROTIER_AGENT_REGISTRATION_NAME": "bare"}
    with agent.running(command=[]) as process:
        eventually(lambda: listed(admin) and listed(admin)[0]["status"] == "active", 30)
        process.terminate()
        assert process.wait(30) == 0
    del agent.environment["XEROTIER_AGENT_JOIN_KEY"]
    with agent.running(command=[]):
        eventually(lambda: listed(admin)[0]["status"] == "active", 30)


def test_hup_reads_the_file_again(admin, agent):
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "reader").returncode == 0
    with agent.running() as process:
        eventually(lambda: '"connected"' in agent.log.read_text(), 30)
        (agent.home / "xim-agent.env").write_text("XEROTIER_AGENT_MAX_CONCURRENT=9999\n")
        process.send_signal(signal.SIGHUP)
        eventually(lambda: "settings stay as they are" in agent.log.read_text(), 30)
        (agent.home / "xim-agent.env").write_text("XEROTIER_AGENT_MAX_CONCURRENT=7\n")
        process.send_signal(signal.SIGHUP)
        eventually(lambda: "settings are read again" in agent.log.read_text(), 30)
        assert process.poll() is None
    for line in agent.log.read_text().splitlines():
        assert {"ts", "level", "message"} <= set(json.loads(line))


def set_refresh(agent, seconds: float):
    """As if the token had been given so long ago that it is due in so many seconds."""
    state = agent.state / "enrollment.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"refresh_after": int(time.time() + seconds)}))


def test_a_token_is_refreshed_when_it_is_due_and_the_state_file_is_replaced(admin, agent):
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "steady").returncode == 0
    state = agent.state / "enrollment.json"
    first = json.loads(state.read_text())
    assert first["refresh_after"] - time.time() == pytest.approx(64_800, abs=120), "three quarters of a day"
    with agent.running() as process:
        eventually(lambda: '"connected"' in agent.log.read_text(), 30)
        assert json.loads(state.read_text()) == first, "it is not due"
        process.terminate()
        assert process.wait(30) == 0
    set_refresh(agent, -1)
    # Tokens of one second are the same token.
    time.sleep(1)
    due, inode = json.loads(state.read_text()), state.stat().st_ino
    with agent.running() as process:
        eventually(lambda: json.loads(state.read_text())["refresh_after"] > time.time(), 30)
        now = json.loads(state.read_text())
        assert now["token"] != first["token"] and {**now, "token": 0, "refresh_after": 0, "token_expires_at": 0} == {
            **due, "token": 0, "refresh_after": 0, "token_expires_at": 0}
        assert state.stat().st_ino != inode and stat.S_IMODE(state.stat().st_mode) == 0o600
        assert process.poll() is None and now["token"] not in agent.log.read_text()


def test_an_agent_whose_refresh_says_that_it_is_revoked_ends_and_may_enrol_anew(admin, agent):
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "gone").returncode == 0
    assert admin.send("DELETE", f"{AGENTS}/{listed(admin)[0]['id']}", {}).status_code == 200
    set_refresh(agent, -1)
    with agent.running() as process:
        assert process.wait(60) == 1
    assert "revoked" in agent.log.read_text() and not (agent.state / "enrollment.json").exists()
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "gone").returncode == 0


def test_an_agent_that_cannot_refresh_serves_on_with_the_token_that_it_has(admin, agent):
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "steady").returncode == 0
    state = agent.state / "enrollment.json"
    # Nothing answers there.
    state.write_text(json.dumps(json.loads(state.read_text()) | {"refresh_after": 1, "router_url": "http://127.0.0.1:9"}))
    before = state.read_text()
    with agent.running() as process:
        eventually(lambda: "could not be refreshed" in agent.log.read_text() and '"connected"' in agent.log.read_text(), 30)
        assert process.poll() is None and state.read_text() == before
