"""The programs of a stack: what supervisord runs, each described by D/programs/NAME.json, which launch.py reads.

A description also names files by fingerprint, so that a rebuilt binary or a changed configuration changes it, and `up` restarts just that program.
"""

import json
import os
import pathlib

from . import nginx, processes, store
from .files import digest, replace_file
from .postgres import Postgres
from .say import Problem
from .settings import GROUPS, ROOT, STACK_KEYS, VENV, Settings, environment_name

BASE_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "TZ": "UTC"}


def fingerprint(path: pathlib.Path) -> str:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise Problem(f"{path} is missing: build it first (make build)") from None
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def program(command: list[str], environment: dict[str, str] | None = None, *, files: list[pathlib.Path] = [], stop: str = "TERM", leftovers: str = "end", remove: list[pathlib.Path] = []) -> dict:
    return {
        "command": command,
        "environment": BASE_ENVIRONMENT | {"HOME": os.environ.get("HOME", "/")} | (environment or {}),
        "files": [fingerprint(file) for file in files],
        "stop_signal": stop,
        "leftovers": leftovers,
        # Sockets of a killed process, which would not be bound again.
        "remove": [str(path) for path in remove],
    }


def postgres(server: Postgres) -> dict:
    # INT is Postgres' fast shutdown: it does not wait for clients, and writes everything out.
    return program(server.command(), stop="INT")


def redis(settings: Settings) -> dict:
    options = {
        "port": "0",
        "unixsocket": str(settings.redis_socket),
        "unixsocketperm": "700",
        "dir": str(settings.directory / "redis"),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        # Running requests are added and taken out all the time: in a list, as Redis keeps small sets, each would be searched for.
        "zset-max-listpack-entries": "0",
        "daemonize": "no",
        "logfile": "",
    }
    return program(["/usr/bin/redis-server", *(part for name, value in options.items() for part in (f"--{name}", value))])


def object_store(settings: Settings, name: str) -> dict:
    return program(store.command(settings, name), files=[store.SERVER, store.CACHE, store.PACKAGE])


def engine(settings: Settings) -> dict:
    folder = ROOT / "infra" / "engine"
    # What is made of the weights is kept beside the environment that they lie in, for all stacks.
    command = [str(VENV / "bin" / "python"), str(folder / "serve.py"), "--port", str(settings.engine_ports["chat"]), "--models", str(VENV.parent / "models")]
    # OpenMP threads that spin while they wait take the cores from everything else.
    return program(command, {"OMP_WAIT_POLICY": "PASSIVE"}, files=sorted(folder.glob("*.py")))


def configuration(settings: Settings, server: Postgres, encryption_key: str) -> dict[str, str]:
    """The configuration that every gateway and `migrate` share, as environment."""
    values = {
        "state.dir": str(settings.directory / "state"),
        "runtime.dir": str(settings.sockets),
        "completion.encryption_key": encryption_key,
        "router.file": str(settings.router_file),
        "mesh.secret_key": settings.mesh_key.read_text(),
        "mesh.addresses": ",".join(map(settings.mesh_address, settings.meshes.values())),
        "database.url": server.url,
        "redis.socket": str(settings.redis_socket),
        "store.url": f"http://127.0.0.1:{settings.store_port}",
        "store.bucket": store.BUCKET,
        "store.access_key": store.ACCESS_KEY,
        "store.secret_key": store.secret(settings),
        "gateway.nginx_workers": str(settings.nginx_workers),
        "gateway.access_log": str(settings.logs / "access.log"),
        "public.url": f"https://localhost:{settings.https_port}",
        # For receivers of webhooks on this machine: one address and one port; all others of this machine stay closed.
        "egress.allow_cidrs": "127.0.0.2/32",
        "egress.ports": str(settings.receiver_port),
    }
    values |= {key: value for key, value in settings.overrides.items() if key not in STACK_KEYS}
    values["egress.allow_hosts"] = settings.allowed_hosts
    return {environment_name(key): value for key, value in values.items() if value != ""}


def gateway(settings: Settings, group: str, number: int, shared: dict[str, str]) -> dict:
    binary = settings.binaries / "gateway"
    own = {
        "gateway.role": GROUPS[group],
        "gateway.streams": str(settings.streams(group)),
        "gateway.processes": str(settings.processes(group)),
        "gateway.number": str(number),
        "gateway.metrics_port": str(settings.metrics_port(group)),
    }
    return program([str(binary)], shared | {environment_name(key): value for key, value in own.items()}, files=[binary])


def worker(settings: Settings, name: str, shared: dict[str, str]) -> dict:
    own = {"worker.metrics_port": str(settings.workers[name])}
    number = settings.meshes.get(name)
    if number is not None:
        own |= {"mesh.number": str(number), "mesh.listen": settings.mesh_address(number)}
    binary = settings.binaries / ("mesh" if number is not None else name)
    return program([str(binary)], shared | {environment_name(key): value for key, value in own.items()}, files=[binary])


def billing(settings: Settings, shared: dict[str, str]) -> dict:
    binary = settings.binaries / "billing"
    return program([str(binary), "work"], shared, files=[binary])


def agent(settings: Settings) -> dict:
    binary = settings.binaries / "xerotier-xim-agent"
    return program([str(binary), "run"], agent_environment(settings), files=[binary, settings.enrolment])


def agent_environment(settings: Settings) -> dict[str, str]:
    # Over loopback http: the certificate of a development stack is its own.
    values = {
        "ROUTER_URL": f"http://127.0.0.1:{settings.http_port}",
        "ALLOW_INSECURE": "1",
        "ENGINE": "openai",
        "ENGINE_URL": f"http://127.0.0.1:{settings.engine_ports['chat']}/v1",
        "METRICS_PORT": str(settings.agent_metrics_port),
        "SHUTDOWN_GRACE_SECONDS": "20",
    }
    return {"HOME": str(settings.agent_home)} | {f"XEROTIER_AGENT_{name}": value for name, value in values.items()}


def web(settings: Settings) -> dict:
    # QUIT lets nginx finish what it is answering; so do the workers of a killed master, beside the new ones.
    return program(nginx.command(settings), stop="QUIT", leftovers="finish", remove=[nginx.http1_socket(settings), nginx.http2_socket(settings)])


def everything(settings: Settings, server: Postgres, encryption_key: str) -> dict[str, dict]:
    shared = configuration(settings, server, encryption_key)
    found = {
        "postgres": postgres(server),
        "redis": redis(settings),
        "nginx": web(settings),
        "billing": billing(settings, shared),
    }
    for name in settings.workers:
        found[name] = worker(settings, name, shared)
    for name in store.SERVERS:
        found[name] = object_store(settings, name)
    if settings.engine == "default":
        found["engine"] = engine(settings)
    if settings.has_agent:
        found["agent"] = agent(settings)
    for group in GROUPS:
        for number in range(settings.processes(group)):
            found[f"{group}-{number}"] = gateway(settings, group, number, shared)
    return found


def save(directory: pathlib.Path, wanted: dict[str, dict]) -> set[str]:
    """Writes the descriptions, removes those of programs that are no more, and answers the names of those that run from another one."""
    directory.mkdir(mode=0o700, exist_ok=True)
    for path in directory.glob("*.json"):
        if path.stem not in wanted:
            path.unlink()
    outdated = set()
    for name, description in wanted.items():
        text = json.dumps(description, indent=1)
        replace_file(directory / f"{name}.json", text)
        leaders = [record for record in processes.read(directory.parent / "pids" / name) if processes.leader(record)]
        if any(record.description != digest(text) for record in leaders[-1:]):
            outdated.add(name)
    return outdated
