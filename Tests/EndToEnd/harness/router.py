"""How the router chooses: what it says of a choice, and its file of weights."""

import json
import os
import signal

from .agents import Mesh
from .calls import script
from .processes import Processes
from .stack import Stack
from .together import eventually

EXPLAIN = "/v1/management/router/explain"
SIGNALS = [
    "model_affinity", "prefix_match", "latency_ewma", "kv_pressure", "queue_depth", "free_concurrency", "error_rate", "region_proximity",
    "fair_share", "tier_match", "slo_headroom", "heartbeat_freshness", "throughput_tps",
]


def prompt(text: str, /, **said) -> list:
    """A long beginning, and a script at the end."""
    return [{"role": "system", "content": text}, {"role": "user", "content": script(**said)}]


def explanation(mesh: Mesh, headers: dict | None = None, **values) -> dict:
    """Without the agents of the operator that other tests have started."""
    answer = mesh.admin.send("POST", EXPLAIN, mesh.tenant.body(**values), headers=headers or {})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    return told | {"data": [worker for worker in told["data"] if not worker["shared"]]}


def signals(mesh: Mesh, name: str, headers: dict | None = None, **values) -> dict:
    """One signal's value by worker."""
    return {worker["worker_id"]: worker["signals"][name] for worker in explanation(mesh, headers, **values)["data"]}


class RouterFile:
    """`router.yaml` of the stack's routers."""

    def __init__(self, stack: Stack, mesh: Mesh):
        self.path = stack.folder / "state" / "router.yaml"
        self.processes = Processes(stack)
        self.mesh = mesh

    @property
    def refusals(self) -> int:
        """How often a router has said that it does not take its file."""
        logs = (self.mesh.stack.folder / "log").glob("mesh*")
        return sum(log.read_text().count("the router's file is not taken") for log in logs)

    def write(self, text: str):
        self.path.write_text(text)
        for name, pid in self.processes.programs.items():
            if name.startswith("mesh"):
                os.kill(pid, signal.SIGHUP)

    def only(self, name: str, **others):
        """Until that signal alone counts."""
        self.write(json.dumps({"weights": {each: int(each == name) for each in SIGNALS}, **others}))
        eventually(lambda: explanation(self.mesh)["weights"][name] == 1, 30)

    def reset(self):
        self.write("")
        eventually(lambda: explanation(self.mesh)["weights"]["prefix_match"] < 1, 30)
