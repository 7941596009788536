"""XIM agents beside the scripted engine, and projects whose models they serve."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

import httpx
import pytest

from .calls import Caller
from .stack import Stack
from .tenant import Tenant
from .tenants import Endpoint, Project, unique
from .together import eventually

MODEL = "scripted-model"
SUPERVISED = pathlib.Path(__file__).resolve().parents[2] / "SupervisionTests" / "scripted-engine"


def binary(stack: Stack) -> pathlib.Path:
    """The agent's program, of the same build as the stack's."""
    return pathlib.Path(json.loads((stack.folder / "settings.json").read_text())["binaries"]) / "xerotier-xim-agent"


class Agent:
    """One agent with a home of its own. It runs from `start` to `stop` or `kill`."""

    def __init__(self, stack: Stack, home: pathlib.Path, key: str, engine_url: str, *, concurrent: int = 8, grace: int = 30):
        home.mkdir(parents=True, exist_ok=True)
        self.program = binary(stack)
        self.environment = {
            "HOME": str(home), "PATH": os.environ["PATH"], "XEROTIER_AGENT_ROUTER_URL": stack.origin, "XEROTIER_AGENT_ALLOW_INSECURE": "1",
            "XEROTIER_AGENT_ENGINE_URL": engine_url, "XEROTIER_AGENT_ENGINE": "openai", "XEROTIER_AGENT_SHUTDOWN_GRACE_SECONDS": str(grace),
            "XEROTIER_AGENT_DISABLE_METRICS_SERVER": "1",
        }
        self.log = home / "log"
        self.enrolment = home / ".config" / "xerotier" / "enrollment.json"
        self.launcher = []  # what starts it, such as a network of its own
        self.process = None
        arguments = [self.program, "enroll", "--join-key", key, "--name", unique("agent")[:48].lower(), "--max-concurrent", str(concurrent)]
        while True:
            enrolled = subprocess.run(arguments, env=self.environment, capture_output=True, text=True, timeout=60)
            # Ten in a minute are let in from one address.
            if "rate_limit_exceeded" not in enrolled.stderr:
                break
            time.sleep(2)
        assert enrolled.returncode == 0, enrolled.stderr
        self.worker = enrolled.stdout.strip().removeprefix("enrolled as ")

    def start(self) -> "Agent":
        connected = self.connections
        with self.log.open("a") as log:
            self.process = subprocess.Popen([*self.launcher, self.program, "run"], env=self.environment, stderr=log, stdout=log)
        eventually(lambda: self.connections > connected, 60)
        return self

    @property
    def router(self) -> str:
        """The address that it dials, from its next start on."""
        return json.loads(self.enrolment.read_text())["router_addrs"][0]

    @router.setter
    def router(self, address: str):
        self.enrolment.write_text(json.dumps(json.loads(self.enrolment.read_text()) | {"router_addrs": [address]}))

    @property
    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    @property
    def connections(self) -> int:
        return self.text.count('"connected"')

    @property
    def routers(self) -> list:
        """Where the agent's state file says that routers are."""
        return json.loads((self.log.parent / ".config" / "xerotier" / "enrollment.json").read_text())["router_addrs"]

    @property
    def sessions(self) -> int:
        """Its threads for sessions with routers."""
        return sum(name.read_text() == "session\n" for name in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/comm"))

    def signal(self, number: int):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, as a supervisor sends it; the exit status."""
        self.process.terminate()
        return self.process.wait(60)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()


class EngineAgent(Agent):
    """It starts its engine itself: one that plays what the agent's model file says."""

    def __init__(self, stack: Stack, home: pathlib.Path, key: str, **values):
        super().__init__(stack, home, key, "http://127.0.0.1:9", **values)
        del self.environment["XEROTIER_AGENT_ENGINE_URL"]
        self.model = home / "model.gguf"
        self.load_within(0)
        self.environment |= {
            "XEROTIER_AGENT_ENGINE": "llamacpp", "XEROTIER_AGENT_LLAMACPP_PATH": str(SUPERVISED), "XEROTIER_AGENT_MODEL": str(self.model),
            "XEROTIER_AGENT_MODEL_NAME": MODEL,
        }

    def load_within(self, seconds: int):
        """So long the next engine takes."""
        self.model.write_text(json.dumps({"load": seconds}))

    def kill_engine(self):
        """And wait for the one after it."""
        starts = self.engines
        os.kill(starts[-1], signal.SIGKILL)
        eventually(lambda: len(self.engines) > len(starts), 60)

    @property
    def engines(self) -> list:
        """The processes of all that were started."""
        return [json.loads(line)["pid"] for line in (self.model.parent / "starts").read_text().splitlines()]


class Mesh:
    """A project whose endpoint is served by agents on the first two scripted engines."""

    def __init__(self, stack: Stack, folder: pathlib.Path, engines: list, tier: str):
        self.stack, self.folder, self.engines = stack, folder, engines
        self.project = Project.create("mesh")
        self.tiers = [tier]
        self.agents: list[Agent] = []
        self.admin = Caller(stack.origin, self.project.key("management,inference").key)
        self.key = self.project.key()
        self.tenant = self.tenant_of(tier)

    def tenant_of(self, tier: str) -> Tenant:
        """An endpoint of this tier, and who calls it."""
        body = {"slug": unique("ep"), "tier": tier, "model": MODEL, "context_length": 4096, "placement": {"allow_shared_fallback": True}}
        made = self.admin.send("POST", "/v1/endpoints", body)
        assert made.status_code == 201, made.text
        made = made.json()
        eventually(lambda: self.admin.get(f"/v1/endpoints/{made['id']}").json().get("status") == "active", 30)
        return Tenant(self.project, self.key, Endpoint(made["id"], made["slug"], MODEL), Caller(self.stack.origin, self.key.key))

    def agent(self, engine=None, *, region: str = "local", tiers: list | None = None, **values) -> Agent:
        engine = engine or self.engines[0]
        return self._start(Agent(self.stack, *self._place(region, tiers), engine.url, **values))

    def engine_agent(self, *, region: str = "local", **values) -> EngineAgent:
        return self._start(EngineAgent(self.stack, *self._place(region), **values))

    def _place(self, region: str, tiers: list | None = None) -> tuple[pathlib.Path, str]:
        """A home and a join key for an agent."""
        key = self.admin.send("POST", "/v1/management/join-keys", {"supported_tiers": tiers or self.tiers, "region": region})
        assert key.status_code == 201, key.text
        return self.folder / f"agent-{len(self.agents)}", key.json()["key"]

    def _start(self, agent: Agent) -> Agent:
        self.agents.append(agent)
        return agent.start()

    def wait_until_served(self):
        """Until a chat is answered: all routers know an agent."""
        eventually(lambda: self.tenant.chat(script={"text": "ready"}).status_code == 200, 30)

    def end(self):
        for agent in self.agents:
            agent.end()

    close = end


def most_at_once(records: list) -> int:
    """Of what an engine had to do, how much at one time."""
    moments = [(record["started_ms"], 1) for record in records] + [(record["finished_ms"], -1) for record in records]
    running = most = 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    return most


@pytest.fixture
def mesh(stack, engines, tmp_path):
    for engine in engines:
        engine.behave_well()
    made = Mesh(stack, tmp_path, engines, "demo")
    yield made
    made.end()


def router_metric(name: str, labels: str = "", number: int = 0) -> float:
    port = int(os.environ["XEROTIER_STACK_PORT_BASE"]) + 925 + number
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if re.match(rf"xerotier_{name}[ {{]", line) and labels in line)
