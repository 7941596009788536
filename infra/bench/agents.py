"""An agent in front of the mock, and the stack as those see it whose models it serves."""

import http.client
import json
import os
import pathlib
import shutil
import subprocess
import time
import urllib.request

from stackd.say import Problem

from .sides import Stack

PROJECT = "bench-mesh"
# As many as an agent may say; a run asks for fewer.
CONCURRENT = 4096
READY_WITHIN_S = 30


class Agent:
    """Enrolled and running; a context manager. `port` and `key` are where a chat that it answers goes, as for any side of a bench."""

    name = "mesh"

    def __init__(self, stack: Stack, directory: pathlib.Path):
        self.stack, self.directory, self.port = stack, directory, stack.port

    def __enter__(self):
        self.stack.migrate("project", "set", "--slug", PROJECT, "--name", PROJECT)
        self.stack.migrate("endpoint", "set", "--project", PROJECT, "--slug", "bench", "--tier", "demo", "--model", "mock")
        self.stack.run("billing", "grant", "--project", PROJECT, "--usd", "1000000", "--key", f"grant:{PROJECT}")
        scopes = ["--scopes", "inference,management"]
        key = self.stack.migrate("key", "create", "--project", PROJECT, "--name", "bench", *scopes)
        # As for the other side, a quota that is counted and never reached.
        self.stack.migrate("key", "quota", "--id", key["id"], "--requests", "1000000000", "--tokens", "1000000000", "--window-seconds", "86400")
        self.key = key["key"]
        join = self._ask("POST", "/v1/management/join-keys", {"supported_tiers": ["demo"], "region": "local"})["key"]
        environment = {
            "HOME": str(self.directory), "PATH": os.environ["PATH"], "XEROTIER_AGENT_ROUTER_URL": f"http://127.0.0.1:{self.port}",
            "XEROTIER_AGENT_ALLOW_INSECURE": "1", "XEROTIER_AGENT_ENGINE": "openai",
            "XEROTIER_AGENT_ENGINE_URL": f"http://127.0.0.1:{self.stack.mock.port}", "XEROTIER_AGENT_MAX_CONCURRENT": str(CONCURRENT),
            "XEROTIER_AGENT_REGISTRATION_NAME": "bench", "XEROTIER_AGENT_DISABLE_METRICS_SERVER": "1", "XEROTIER_AGENT_JOIN_KEY": join,
        }
        # What another run enrolled is known to no router any more.
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        with (self.directory / "log").open("w") as log:
            self.process = subprocess.Popen([self.stack.binaries / "xerotier-xim-agent"], env=environment, stdout=log, stderr=log)
        try:
            self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def wait_until_ready(self) -> None:
        """Until the router knows its model: what is asked then is answered."""
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and self.process.poll() is None:
            agents = self._ask("GET", "/v1/management/agents")["data"]
            if any(agent["status"] == "active" and agent["models"] for agent in agents):
                return
            time.sleep(0.2)
        raise Problem(f"the agent does not serve; see {self.directory / 'log'}")

    def groups(self) -> dict[str, list[int]]:
        return self.stack.groups() | {"mesh": self.stack.process("mesh"), "agent": [self.process.pid]}

    def router_metrics(self) -> dict[str, float]:
        """Counters of the router, over all labels."""
        found: dict[str, float] = {}
        with urllib.request.urlopen(f"http://127.0.0.1:{self.stack.port_base + 925}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if not line.startswith("#"):
                    name, _, value = line.rpartition(" ")
                    name = name.partition("{")[0].removeprefix("xerotier_")
                    found[name] = found.get(name, 0) + float(value)
        return found

    def _ask(self, method: str, path: str, body: dict | None = None) -> dict:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        text = json.dumps(body) if body else None
        connection.request(method, path, text, {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read().decode()
        if answer.status >= 300:
            raise Problem(f"{method} {path}: {answer.status} {said}")
        return json.loads(said)
