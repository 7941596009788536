"""Up, down, status and the rolling restart of a stack."""

import base64
import contextlib
import fcntl
import http.client
import os
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator

from . import nginx, postgres, processes, programs, store, tls
from .files import replace_file
from .postgres import Postgres
from .say import Problem, say
from .settings import GROUPS, ROOT, WORKERS, Settings
from .supervisor import Supervisor, last_line, render

MIGRATIONS = ROOT / "infra" / "postgres" / "migrations"
MEBIBYTE = 1 << 20
# In the order of the engine's ports.
ENGINE_URLS = ["XEROTIER_ENGINE_URL", "XEROTIER_ENGINE_EMBEDDINGS_URL", "XEROTIER_ENGINE_RERANK_URL"]
NEEDED = ["/usr/bin/supervisord", "/usr/bin/redis-server", nginx.BINARY, nginx.STREAM_MODULE, "/usr/bin/openssl", "/usr/bin/setpriv", str(store.PACKAGE)]


@contextlib.contextmanager
def locked(directory: pathlib.Path) -> Iterator[None]:
    """One `up`, `down` or restart at a time in one directory."""
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another infra/stack in this directory")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(settings: Settings) -> None:
    settings.check()
    check_machine(settings)
    for name, mode in {"": 0o755, "log": 0o755, "pids": 0o700, "redis": 0o700, "sock": 0o700, "state": 0o700, "nginx": 0o700}.items():
        path = settings.directory / name
        if not path.is_dir():
            path.mkdir(mode=mode, parents=True)
            path.chmod(mode)
    with locked(settings.directory):
        bring_up(settings)


def bring_up(settings: Settings) -> None:
    tls.make(settings.directory / "tls")
    server = postgres.locate(settings)
    server.create()
    store.create(settings)
    encryption_key = secret(settings.directory / "state" / "encryption.key")
    secret(settings.mesh_key)
    settings.router_file.touch()
    supervisor = Supervisor(settings.directory)
    supervised = supervisor.alive()
    if not supervised:
        end_orphans(settings.directory)
    wanted = programs.everything(settings, server, encryption_key)
    check_ports(settings, supervisor.states() if supervised else {})
    changed = programs.save(settings.directory / "programs", wanted | {"supervisord": supervisord(settings)})
    regroup = replace_file(settings.directory / "supervisord.conf", render(settings))
    web = nginx.write(settings)
    if not supervised:
        say("starting supervisord")
        supervisor.begin(settings)
    elif regroup:
        supervisor.reload()

    ensure(supervisor, "postgres", changed)
    ensure(supervisor, "redis", changed)
    for name in store.SERVERS:
        ensure(supervisor, name, changed)
    if settings.engine == "default":
        ensure(supervisor, "engine", changed)
    else:
        supervisor.stop("engine")
    server.wait()
    server.prepare()
    wait_for("Redis", lambda: redis_answers(settings), settings.logs / "redis.log")
    # All four: with only the first one there, the store's first answers would be errors.
    for name in store.SERVERS:
        wait_for(name, lambda: http_status(store.port(settings, name), "/healthcheck") is not None, settings.logs / f"{name}.log")
    store.prepare(settings)
    write_environment(settings, server, encryption_key)
    migrate(settings, server, encryption_key)
    check_configuration(settings, wanted)
    for name in ["billing", *settings.workers]:
        ensure(supervisor, name, changed)
    ensure_gateways(supervisor, settings, changed)
    ensure_nginx(supervisor, settings, changed, web)
    wait_for("nginx", lambda: listens(settings.https_port) and listens(settings.http_port), settings.logs / "nginx.log")
    # supervisord takes a program that lived for a second as running, and what dies before that is not well.
    names = set(wanted) - {"supervisord", "agent"}
    wait_for("the whole stack", lambda: all(supervisor.states()[name]["statename"] == "RUNNING" for name in names), settings.logs / "supervisord.log")
    if settings.engine == "default":
        for name, port in settings.engine_ports.items():
            wait_for(f"the engine's {name}", lambda: http_status(port, "/health") == 200, settings.logs / "engine.log", patience=120)
    if settings.has_agent:
        ensure(supervisor, "agent", changed)
        wait_for("the agent", lambda: http_status(settings.agent_metrics_port, "/healthz") == 200, settings.logs / "agent.log")
    else:
        supervisor.stop("agent")


def supervisord(settings: Settings) -> dict:
    description = programs.program(["/usr/bin/supervisord", "-n", "-c", str(settings.directory / "supervisord.conf")])
    # The programs get their environment from their own files; supervisord's is of no consequence to them.
    return description


def ensure(supervisor: Supervisor, name: str, changed: set[str]) -> None:
    running = supervisor.running(name)
    if running and name in changed:
        say(f"restarting {name}: its description changed")
        supervisor.stop(name)
        running = False
    if not running:
        say(f"starting {name}")
        supervisor.start(name)


def ensure_gateways(supervisor: Supervisor, settings: Settings, changed: set[str]) -> None:
    states = supervisor.states()
    for group in GROUPS:
        names = [f"{group}-{number}" for number in range(settings.processes(group))]
        idle = [name for name in names if states[name]["statename"] not in ("RUNNING", "STARTING")]
        for name in idle:
            say(f"starting {name}")
            supervisor.start(name)
        for name in idle:
            wait_for_gateway(settings, name)
        for name in names:
            if name in changed and name not in idle:
                say(f"restarting {name}: its description changed")
                restart_gateway(supervisor, settings, name)


def ensure_nginx(supervisor: Supervisor, settings: Settings, changed: set[str], web: str) -> None:
    """A changed configuration is taken over without a restart: the old workers finish what they are answering."""
    loaded = settings.directory / "nginx" / "loaded"
    if supervisor.running("nginx") and "nginx" not in changed:
        if loaded.exists() and loaded.read_text() == web:
            return
        say("nginx takes over its changed configuration")
        supervisor.signal("nginx", "HUP")
    else:
        ensure(supervisor, "nginx", changed)
    replace_file(loaded, web)


def restart_gateway(supervisor: Supervisor, settings: Settings, name: str) -> None:
    supervisor.stop(name)
    supervisor.start(name)
    wait_for_gateway(settings, name)


def restart_gateways(settings: Settings) -> None:
    """One process at a time: it drains while its siblings serve, and the next one waits until it answers again."""
    with locked(settings.directory):
        supervisor = Supervisor(settings.directory)
        if not supervisor.alive():
            raise Problem(f"nothing runs in {settings.directory}: infra/stack up starts it")
        for name in sorted(name for name in supervisor.states() if name.rpartition("-")[0] in GROUPS):
            say(f"restarting {name}")
            restart_gateway(supervisor, settings, name)


def restart_meshes(settings: Settings) -> None:
    """One router at a time: what runs on it ends while the others take what is new, and the next one waits until its agents are back."""
    with locked(settings.directory):
        supervisor = Supervisor(settings.directory)
        if not supervisor.alive():
            raise Problem(f"nothing runs in {settings.directory}: infra/stack up starts it")
        for name in settings.meshes:
            agents = mesh_sessions(settings, name)
            say(f"restarting {name}")
            supervisor.stop(name)
            supervisor.start(name)
            wait_for(name, lambda: http_status(settings.workers[name], "/metrics") == 200, settings.logs / f"{name}.log")
            # One that left meanwhile does not come: then all that are there have had their time.
            with contextlib.suppress(Problem):
                wait_for(f"an agent of {name}", lambda: mesh_sessions(settings, name) >= agents, settings.logs / f"{name}.log", patience=15)


def mesh_sessions(settings: Settings, name: str) -> float:
    """Agents that the router knows; 0 while it does not answer."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{settings.workers[name]}/metrics", timeout=2) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("xerotier_mesh_sessions "):
                return float(line.split()[-1])
    return 0


def running_workers(supervisor: Supervisor) -> list[str]:
    return sorted(name for name in supervisor.states() if name in WORKERS or name.startswith("mesh-"))


def wait_for_gateway(settings: Settings, name: str) -> None:
    group, _, number = name.rpartition("-")
    port = settings.metrics_port(group, int(number))
    wait_for(name, lambda: http_status(port, "/metrics") == 200, settings.logs / f"{name}.log")


def down(directory: pathlib.Path, remove: bool) -> None:
    # Only what an `up` has made is taken down, and above all only that is deleted.
    if not (directory / "pids").is_dir():
        return
    with locked(directory):
        supervisor = Supervisor(directory)
        if supervisor.alive():
            # From the client inwards, so that nothing is asked of what is already gone; Postgres last, when all rows are in.
            stop_all(supervisor, ["nginx"])
            stop_gateways(supervisor)
            stop_all(supervisor, ["agent", *running_workers(supervisor), "billing", "engine", *reversed(store.SERVERS), "redis", "postgres"])
            supervisor.shutdown()
            records = processes.read(directory / "pids" / "supervisord")
            with contextlib.suppress(Problem):
                wait_for("supervisord", lambda: not any(map(processes.leader, records)), directory / "log" / "supervisord.log", patience=20)
        end_orphans(directory)
        for record in (directory / "pids").glob("*"):
            record.unlink()
    if remove:
        postgres.remove(directory)
        shutil.rmtree(directory)


def stop_all(supervisor: Supervisor, names: list[str], wait: bool = True) -> None:
    states = supervisor.states()
    for name in names:
        if states.get(name, {}).get("statename") not in (None, "STOPPED", "STOPPING", "EXITED", "FATAL"):
            say(f"stopping {name}")
            supervisor.stop(name, wait)


def stop_gateways(supervisor: Supervisor) -> None:
    """All together. Their clients went with nginx, so what they still have to do is to settle; a long drain is for restarts."""
    names = sorted(name for name in supervisor.states() if name.rpartition("-")[0] in GROUPS)
    stop_all(supervisor, names, wait=False)
    deadline = time.monotonic() + 45
    while stopping := [name for name in names if supervisor.states()[name]["statename"] == "STOPPING"]:
        if time.monotonic() > deadline:
            for name in stopping:
                say(f"killing {name}: it did not stop in 45 s")
                supervisor.signal(name, "KILL")
            deadline = float("inf")
        time.sleep(0.1)


def end_orphans(directory: pathlib.Path, patience: float = 10) -> None:
    """Ends what earlier lives left behind: all recorded processes, supervisord first, else it would start the others again."""
    records = {path.name: processes.read(path) for path in (directory / "pids").glob("[!.]*")}
    ended = processes.end(records.pop("supervisord", []), patience)
    ended += processes.end([record for found in records.values() for record in found], patience)
    if ended:
        say(f"ended {ended} processes that were left over")


def status(directory: pathlib.Path) -> int:
    """Prints a line for each program; answers 0 only when all of them run."""
    supervisor = Supervisor(directory)
    if not supervisor.alive():
        records = [record for path in (directory / "pids").glob("[!.]*") for record in processes.read(path)]
        left = sum(len(processes.members(record)) for record in records)
        say(f"not running{f'; {left} processes without supervisord: `up` or `down` ends them' if left else ''}")
        return 3
    wanted = {path.stem for path in (directory / "programs").glob("*.json")}
    healthy = True
    for name, info in sorted(supervisor.states().items()):
        if name in wanted:
            say(f"{name:<15} {info['statename']:<9} {info['description']}")
            healthy = healthy and info["statename"] == "RUNNING"
    say(f"logs            {directory / 'log'}")
    return 0 if healthy else 3


def enrol_agent(settings: Settings, join_key: str) -> None:
    """Enrols an agent for the engine's chat model in the place of the one before, if there was one, and runs it."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(settings.agent_home)
    settings.agent_home.mkdir(mode=0o700)
    command = [settings.binaries / "xerotier-xim-agent", "enroll", "--name", "demo"]
    # The key is not on the command line, which everybody on the machine may read.
    environment = programs.BASE_ENVIRONMENT | programs.agent_environment(settings) | {"XEROTIER_AGENT_JOIN_KEY": join_key}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Problem(f"the agent could not enrol: {(done.stderr or done.stdout).strip()[-500:]}")
    say(done.stdout.strip())
    up(settings)


def check_machine(settings: Settings) -> None:
    missing = [path for path in NEEDED if not os.path.exists(path)]
    if missing:
        raise Problem(f"missing: {' '.join(missing)}; infra/setup installs what is needed")
    for name in ["gateway", "migrate", "billing", *WORKERS]:
        if not os.access(settings.binaries / name, os.X_OK):
            raise Problem(f"{settings.binaries / name} is missing: build it with `make build` (swift build -c release)")
    existing = next(path for path in [settings.directory, *settings.directory.parents] if path.exists())
    needed = 50 if (settings.directory / "postgres").exists() else 400
    free = shutil.disk_usage(existing).free // MEBIBYTE
    if free < needed:
        raise Problem(f"the disk of {existing} is full: {free} MiB are free, {needed} MiB are needed")


def check_ports(settings: Settings, states: dict[str, dict]) -> None:
    """Each port must be free unless it is held by the program of ours that is to have it."""
    ports = {settings.https_port: "nginx", settings.http_port: "nginx"}
    if settings.engine == "default":
        ports |= dict.fromkeys(settings.engine_ports.values(), "engine")
    for name in store.SERVERS:
        ports[store.port(settings, name)] = name
    for group in GROUPS:
        for number in range(settings.processes(group)):
            ports[settings.metrics_port(group, number)] = f"{group}-{number}"
    for name, port in settings.workers.items():
        ports[port] = name
    if settings.has_agent:
        ports[settings.agent_metrics_port] = "agent"
    for port, name in ports.items():
        if ours(settings.directory, name) or states.get(name, {}).get("statename") in ("RUNNING", "STARTING"):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except PermissionError:
                raise Problem(f"port {port}, for {name}, needs root: choose another --port-base (PORT_BASE for make)") from None
            except OSError:
                raise Problem(f"port {port}, for {name}, is taken by another program: choose another --port-base (PORT_BASE for make)") from None


def ours(directory: pathlib.Path, name: str) -> bool:
    return any(processes.members(record) for record in processes.read(directory / "pids" / name))


def secret(path: pathlib.Path) -> str:
    """A key that is made once: without it the database cannot be read any more, or no agent knows the router again."""
    if not path.exists():
        new = path.with_name(f".{path.name}.new")
        new.touch(mode=0o600)
        new.write_text(base64.b64encode(os.urandom(32)).decode())
        new.replace(path)
    return path.read_text()


def write_environment(settings: Settings, server: Postgres, encryption_key: str) -> None:
    found = programs.configuration(settings, server, encryption_key) | {
        "XEROTIER_HTTP_URL": f"http://127.0.0.1:{settings.http_port}/v1",
        "XEROTIER_BASE_URL": f"https://localhost:{settings.https_port}/v1",
        "XEROTIER_CA_FILE": str(settings.directory / "tls" / "ca.pem"),
        **{name: f"http://127.0.0.1:{port}/v1" if settings.engine == "default" else "" for name, port in zip(ENGINE_URLS, settings.engine_ports.values(), strict=True)},
        "XEROTIER_STACK_DIR": str(settings.directory),
        "XEROTIER_STACK_PORT_BASE": str(settings.port_base),
        "DATABASE_URL": server.url,
    }
    lines = "".join(f"{name}='{value}'\n" for name, value in sorted(found.items()))
    replace_file(settings.directory / "stack.env", lines)


def migrate(settings: Settings, server: Postgres, encryption_key: str) -> None:
    environment = programs.BASE_ENVIRONMENT | programs.configuration(settings, server, encryption_key)
    done = subprocess.run([settings.binaries / "migrate", "up", "--migrations", MIGRATIONS], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Problem(f"migrate up failed: {(done.stderr or done.stdout).strip()[-500:]}")


def check_configuration(settings: Settings, wanted: dict[str, dict]) -> None:
    """The gateway itself says what is wrong with its configuration, before a good one is replaced."""
    for group in GROUPS:
        description = wanted[f"{group}-0"]
        done = subprocess.run([*description["command"], "--check-config"], env=description["environment"], capture_output=True, text=True)
        if done.returncode:
            raise Problem(f"the gateway refuses its configuration: {(done.stderr or done.stdout).strip()[-500:]}")


def wait_for(what: str, answers: Callable[[], bool], log: pathlib.Path, patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while not answers():
        if time.monotonic() > deadline:
            raise Problem(f"{what} does not answer after {patience:.0f} s: {last_line(log)} ({log})")
        time.sleep(0.05)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


def http_status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def redis_answers(settings: Settings) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        client.connect(str(settings.redis_socket))
        client.sendall(b"PING\r\n")
        return client.recv(16).startswith(b"+PONG")
    return False
