"""The processes of the running stack: where they are, how to kill them, how to wait until service is back."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from .stack import ROOT, Stack
from .together import eventually

STACK = ROOT / "infra" / "stack"
BACK_WITHIN_S = 60

sys.path.insert(0, str(ROOT / "infra"))


def list_routes(stack: Stack) -> list:
    """What `gateway --list-routes` says of each route: method, path, families, access, meter."""
    binaries = json.loads((stack.folder / "settings.json").read_text())["binaries"]
    done = subprocess.run([f"{binaries}/gateway", "--list-routes"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


class Processes:
    def __init__(self, stack: Stack):
        if stack.folder is None:
            pytest.fail("XEROTIER_STACK_DIR is not set: fault tests need the folder given to infra/stack up --dir", pytrace=False)
        from stackd.processes import leader, read
        from stackd.supervisor import Supervisor

        self.folder = stack.folder
        self.prober = None  # the tenant whose chats tell whether service is back; its rows count for no test
        self.supervisor = Supervisor(stack.folder)
        self.recorded = lambda name: [record.pid for record in read(stack.folder / "pids" / name) if leader(record)]

    def run(self, *arguments, timeout: float = 600) -> str:
        done = subprocess.run([str(STACK), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, f"infra/stack {' '.join(arguments)}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
        return done.stdout

    @property
    def programs(self) -> dict:
        """Name -> pid of each program that runs under supervisord."""
        return {name: state["pid"] for name, state in self.supervisor.states().items() if state["statename"] in ("RUNNING", "STARTING") and state["pid"]}

    @property
    def gateways(self) -> list:
        return [name for name in self.programs if name.startswith(("gateway-", "platform-", "uploads-"))]

    def kill(self, name: str):
        pid = self.recorded("supervisord")[0] if name == "supervisord" else self.programs[name]
        os.kill(pid, signal.SIGKILL)

    def stop(self, name: str):
        """A stop that lasts: what is killed, supervisord starts again at once."""
        self.supervisor.stop(name)

    def start(self, name: str):
        self.supervisor.start(name)
        eventually(lambda: name in self.programs, seconds=30)

    def restart_gateways(self):
        self.run("restart-gateways", "--dir", str(self.folder))

    def bring_up(self):
        """What the next `make run` does: ends recorded orphans and restores service, with the settings of before."""
        saved = json.loads((self.folder / "settings.json").read_text())
        overrides = [part for key, value in saved["overrides"].items() for part in ("--set", f"{key}={value}")]
        self.run("up", "--dir", str(self.folder), "--port-base", str(saved["port_base"]), "--bin", saved["binaries"], "--engine", saved["engine"], *overrides)

    def wait_until_back(self, seconds: float = BACK_WITHIN_S) -> float:
        """Until five chats in a row succeed; the seconds it took."""
        started = time.monotonic()

        def works():
            try:
                return all(self.chat_works() for _ in range(5))
            except httpx.TransportError:
                return False

        eventually(works, seconds=seconds, every=0.2)
        return time.monotonic() - started

    def chat_works(self) -> bool:
        tenant = self.prober
        headers = tenant.caller.headers(None, "own")
        return tenant.caller.client.post("/v1/chat/completions", json=tenant.body("hi"), headers=headers).status_code == 200
