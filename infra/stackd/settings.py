"""What a stack is made of: its directory, its ports, its configuration. Worked out once from the command line."""

import dataclasses
import os
import pathlib
import resource

from .say import Problem

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VENV = pathlib.Path(os.environ.get("XEROTIER_VENV") or ROOT / ".run" / "venv")

# A socket's path must fit into sockaddr_un (108 bytes with its end); the longest of ours is sock/.s.PGSQL.5432.
LONGEST_SOCKET_PATH = 107

# The FastCGI groups of nginx, all the same binary: many long streams, many short requests, a few large bodies.
GROUPS = {"gateway": "inference", "platform": "platform", "uploads": "uploads"}
METRICS = {"gateway": 900, "platform": 910, "uploads": 930}
STREAMS = {"gateway": 1024, "platform": 32, "uploads": 16}

# Workers that do jobs, or see to them, and where each shows its metrics. Of the mesh there may be several: `mesh`, `mesh-1`, …
WORKERS = {"sweeper": 920, "webhooks": 921, "mesh": 925}
MOST_MESHES = 4

# Kept by the stack for itself; every other key goes to the gateways under its environment name.
STACK_KEYS = {"platform.streams", "platform.processes", "uploads.streams", "uploads.processes"}
COMPUTED_KEYS = {"gateway.role", "gateway.number", "gateway.metrics_port", "worker.metrics_port", "state.dir", "runtime.dir", "mesh.number", "mesh.listen"}


@dataclasses.dataclass(frozen=True)
class Settings:
    directory: pathlib.Path
    port_base: int
    binaries: pathlib.Path
    engine: str
    overrides: dict[str, str]

    @property
    def https_port(self) -> int:
        return self.port_base + 443

    @property
    def http_port(self) -> int:
        return self.port_base + 80

    @property
    def engine_ports(self) -> dict[str, int]:
        """Of the default engine, by what is served there."""
        return {name: self.port_base + 180 + place for place, name in enumerate(["chat", "embeddings", "rerank"])}

    @property
    def receiver_port(self) -> int:
        """Where a receiver of webhooks may listen, on 127.0.0.2."""
        return self.port_base + 188

    @property
    def store_port(self) -> int:
        """Of the object store's S3 API; the servers behind it have the three ports above."""
        return self.port_base + 820

    @property
    def meshes(self) -> dict[str, int]:
        """The routers of the mesh: name -> number. The first is the only one unless `mesh.processes` says otherwise."""
        return {f"mesh-{number}" if number else "mesh": number for number in range(self._number("mesh.processes", 1))}

    @property
    def workers(self) -> dict[str, int]:
        """Name -> port of its metrics."""
        single = {name: self.port_base + port for name, port in WORKERS.items() if name != "mesh"}
        return single | {name: self.port_base + WORKERS["mesh"] + number for name, number in self.meshes.items()}

    def mesh_address(self, number: int) -> str:
        """Where agents reach a router."""
        return f"tcp://127.0.0.1:{self.port_base + 555 + number}"

    @property
    def mesh_key(self) -> pathlib.Path:
        return self.directory / "state" / "mesh.key"

    @property
    def router_file(self) -> pathlib.Path:
        """How the router chooses; empty = as by default. SIGHUP makes it read the file again."""
        return self.directory / "state" / "router.yaml"

    @property
    def agent_home(self) -> pathlib.Path:
        """Of the agent that serves the default engine's chat model over the mesh."""
        return self.directory / "agent"

    @property
    def enrolment(self) -> pathlib.Path:
        """What that agent keeps once it has enrolled."""
        return self.agent_home / ".config" / "xerotier" / "enrollment.json"

    @property
    def has_agent(self) -> bool:
        return self.engine == "default" and self.enrolment.exists()

    @property
    def agent_metrics_port(self) -> int:
        return self.port_base + WORKERS["mesh"] + MOST_MESHES

    def metrics_port(self, group: str, number: int = 0) -> int:
        return self.port_base + METRICS[group] + number

    def streams(self, group: str) -> int:
        return self._number(f"{group}.streams", STREAMS[group])

    def processes(self, group: str) -> int:
        return self._number(f"{group}.processes", 2, least=2)

    @property
    def nginx_workers(self) -> int:
        return self._number("gateway.nginx_workers", 2)

    @property
    def sockets(self) -> pathlib.Path:
        return self.directory / "sock"

    @property
    def logs(self) -> pathlib.Path:
        return self.directory / "log"

    @property
    def redis_socket(self) -> pathlib.Path:
        return self.sockets / "redis.sock"

    def gateway_socket(self, group: str) -> pathlib.Path:
        return self.sockets / f"{group}.sock"

    @property
    def open_files(self) -> int:
        """What every program may open: as much as this user is allowed, within reason."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        return 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)

    @property
    def allowed_hosts(self) -> str:
        """The upstreams that the operator allows: our own engine, and what --set adds."""
        hosts = [f"127.0.0.1:{port}" for port in self.engine_ports.values()] if self.engine == "default" else []
        added = [host for host in self.overrides.get("egress.allow_hosts", "").split(",") if host]
        return ",".join(dict.fromkeys(hosts + added))

    def _number(self, key: str, default: int, least: int = 1) -> int:
        text = self.overrides.get(key, str(default))
        if not text.isdigit() or int(text) < least:
            raise Problem(f"--set {key}={text}: a whole number of at least {least} is needed")
        return int(text)

    def check(self) -> None:
        longest = len(str(self.sockets / ".s.PGSQL.5432"))
        if longest > LONGEST_SOCKET_PATH:
            raise Problem(f"{self.directory} is too long a path: a socket below it would have {longest} characters, {LONGEST_SOCKET_PATH} at most")
        if not 1 <= self.port_base <= 65535 - 1000:
            raise Problem(f"--port-base {self.port_base}: from 1 to {65535 - 1000}")
        for group in GROUPS:
            if self.streams(group) % self.nginx_workers:
                raise Problem(f"{group}.streams={self.streams(group)} must be a multiple of gateway.nginx_workers={self.nginx_workers}")
            self.processes(group)
        if len(self.meshes) > MOST_MESHES:
            raise Problem(f"--set mesh.processes={len(self.meshes)}: a stack has {MOST_MESHES} at most")


def environment_name(key: str) -> str:
    return "XEROTIER_" + key.upper().replace(".", "_")


def parse_overrides(pairs: list[str]) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or "." not in key:
            raise Problem(f"--set {pair}: KEY=VALUE is needed, as in gateway.streams=64")
        if key in COMPUTED_KEYS:
            raise Problem(f"--set {key}: the stack works this one out itself")
        if key == "egress.allow_hosts" and key in overrides:
            value = f"{overrides[key]},{value}"
        overrides[key] = value
    return overrides
