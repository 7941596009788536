"""The processes of the running stack: where they are, how to kill them, how to wait until service is back."""

import json
import os
import signal
import subprocess
import time

import httpx
import pytest

from .stack import ROOT, Stack, engine_ports
from .together import eventually

STACK = ROOT / "infra" / "stack"
BACK_WITHIN_S = 60


class Processes:
    def __init__(self, stack: Stack):
        if stack.folder is None:
            pytest.fail("XEROTIER_STACK_DIR is not set: fault tests need the folder given to infra/stack up --dir", pytrace=False)
        self.stack = stack

    def run(self, *arguments, timeout: float = 300) -> str:
        done = subprocess.run([str(STACK), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, f"infra/stack {' '.join(arguments)}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
        return done.stdout

    @property
    def programs(self) -> dict:
        """Name -> pid of each running program."""
        status = json.loads(self.run("status", "--dir", str(self.stack.folder), "--json"))
        return {each["name"]: each["pid"] for each in status["programs"] if each.get("pid")}

    def names(self, *parts: str) -> list:
        found = [name for name in self.programs if any(part in name.lower() for part in parts)]
        assert found, f"no program named like {parts} in {sorted(self.programs)}"
        return found

    @property
    def gateways(self) -> list:
        return self.names("gateway", "inference")

    def kill(self, name: str, number: int = signal.SIGKILL):
        os.kill(self.programs[name], number)

    def restart_gateways(self):
        self.run("restart-gateways", "--dir", str(self.stack.folder))

    def bring_up(self):
        """What the next `make run` does: ends recorded orphans and restores service."""
        port = self.stack.http_address[1]
        hosts = ",".join(f"127.0.0.1:{each}" for each in engine_ports())
        default = ["up", "--dir", str(self.stack.folder), "--port-base", str(port - 80), "--set", f"egress.allow_hosts={hosts}"]
        named = os.environ.get("XEROTIER_STACK_UP")
        self.run(*(named.split() if named else default))

    # A stop that lasts: supervisord starts what is killed at once.

    def supervisor(self, action: str, name: str):
        found = sorted(self.stack.folder.rglob("supervisord.conf"))
        assert found, f"no supervisord.conf below {self.stack.folder}"
        # supervisorctl's exit status also speaks of programs that were in the wished state before.
        subprocess.run(["supervisorctl", "-c", str(found[0]), action, name], capture_output=True, timeout=60)

    def stop(self, name: str):
        self.supervisor("stop", name)
        eventually(lambda: name not in self.programs, seconds=30)

    def start(self, name: str):
        self.supervisor("start", name)
        eventually(lambda: name in self.programs, seconds=30)

    def wait_until_back(self, tenant, seconds: float = BACK_WITHIN_S) -> float:
        """Until five chats in a row succeed; the seconds it took."""
        started = time.monotonic()

        def works():
            try:
                return all(tenant.caller.client.post("/v1/chat/completions", json=tenant.body("hi"), headers=tenant.caller.headers(None, "own")).status_code == 200 for _ in range(5))
            except httpx.TransportError:
                return False

        eventually(works, seconds=seconds, every=0.2)
        return time.monotonic() - started
