"""Two routers of the mesh in the running stack, for tests of what several do together."""

import json

import pytest

from .agents import router_metric
from .processes import Processes
from .together import eventually


def set_meshes(processes: Processes, count: int):
    """Changes how many routers the stack has; its other settings stay."""
    saved = json.loads((processes.folder / "settings.json").read_text())
    overrides = saved["overrides"] | {"mesh.processes": str(count)}
    settings = [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]
    processes.run(
        "up", "--dir", str(processes.folder), "--port-base", str(saved["port_base"]), "--bin", saved["binaries"], "--engine", saved["engine"], *settings)


@pytest.fixture(scope="module")
def two_meshes(stack):
    processes = Processes(stack)
    set_meshes(processes, 2)
    yield ["mesh", "mesh-1"]
    set_meshes(processes, 1)


def asked(number: int) -> float:
    """Requests that have ended at a router."""
    return router_metric("router_requests_total", number=number)


def wait_until_on_both(agents: int):
    eventually(lambda: all(router_metric("mesh_sessions", number=number) >= agents for number in (0, 1)), 30)
