"""The XIM agent's program, and its session on the mesh (spec 05 §11-13, §16)."""

import contextlib
import os
import pathlib
import signal
import stat
import subprocess

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


class Agent:
    """The program with a home of its own."""

    def __init__(self, home: pathlib.Path, origin: str):
        self.environment = {"HOME": str(home), "PATH": os.environ["PATH"], "XEROTIER_AGENT_ROUTER_URL": origin, "XEROTIER_AGENT_ALLOW_INSECURE": "1", "XEROTIER_AGENT_ENGINE_URL": "http://127.0.0.1:1"}
        self.state = home / ".config" / "xerotier"
        self.log = home / "log"

    def call(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([BINARY, *arguments], env=self.environment, capture_output=True, text=True, timeout=60)

    @contextlib.contextmanager
    def running(self):
        with self.log.open("a") as log:
            process = subprocess.Popen([BINARY, "run"], env=self.environment, stderr=log, stdout=log)
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
    with agent.running() as process:
        eventually(lambda: listed(admin)[0]["status"] == "active", 30)
        assert admin.send("DELETE", f"{AGENTS}/{listed(admin)[0]['id']}", {}).status_code == 200
        assert process.wait(30) != 0
        assert "revoked" in agent.log.read_text()
    with agent.running() as process:
        eventually(lambda: "does not let this agent in" in agent.log.read_text(), 30)
        assert process.poll() is None and listed(admin) == []


def test_a_second_start_takes_the_place_of_the_first(admin, agent):
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "twice").returncode == 0
    with agent.running() as first:
        eventually(lambda: "connected" in agent.log.read_text(), 30)
        with agent.running() as second:
            assert first.wait(30) != 0 and "another process runs as this agent" in agent.log.read_text()
            eventually(lambda: listed(admin)[0]["status"] == "active", 30)
            assert second.poll() is None


def test_an_agent_finds_a_router_that_was_killed_again(admin, agent, stack):
    processes = Processes(stack)
    assert agent.call("enroll", "--join-key", join_key(admin), "--name", "steady").returncode == 0
    with agent.running() as process:
        eventually(lambda: agent.log.read_text().count("connected") == 1, 30)
        processes.kill("mesh")
        eventually(lambda: agent.log.read_text().count("connected") == 2, 60)
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
    before = refused()
    with other.running():
        eventually(lambda: refused() > before, 30)
        assert "connected" not in other.log.read_text()
        assert {line["status"] for line in listed(admin)} == {"pending"}


def refused() -> float:
    port = int(os.environ["XEROTIER_STACK_PORT_BASE"]) + 925
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if "mesh_refused_total{" in line and 'reason="name"' in line)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["enroll"], "--join-key"),
        (["enroll", "--join-key", "xjk_x", "--name", "No Name"], "--name"),
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
