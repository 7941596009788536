"""What a bench runs against: the mock model server, bare nginx, and our stack. Each ends what it started, and nothing else, on leaving."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import time

from stackd import nginx, postgres, processes
from stackd.say import Problem, say
from stackd.settings import ROOT, Settings, parse_overrides

HERE = pathlib.Path(__file__).resolve().parent


def build(directory: pathlib.Path) -> pathlib.Path:
    """Compiles the mock and the load generator; answers the folder they are in."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise Problem("neither gcc nor clang is there to compile infra/bench/*.c")
    directory.mkdir(parents=True, exist_ok=True)
    for name in ["mock", "load"]:
        subprocess.run([compiler, "-O2", "-Wall", "-o", directory / name, HERE / f"{name}.c"], check=True, timeout=60)
    return directory


def wait_for_port(port: int, program: subprocess.Popen) -> None:
    deadline = time.monotonic() + 10
    while program.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise Problem(f"{program.args[0]} does not listen on port {port}")


def configure(directory: pathlib.Path, template: str, **values: object) -> None:
    """Writes the directory's nginx.conf."""
    text = (HERE / template).read_text()
    for name, value in {"directory": directory, "user": "user root;" if os.geteuid() == 0 else "", **values}.items():
        text = text.replace("{{" + name + "}}", str(value))
    (directory / "nginx.conf").write_text(text)


class Program:
    """One process of the bench's own, which listens on a port."""

    def __init__(self, command: list[object], port: int):
        self.command, self.port = [str(part) for part in command], port

    def __enter__(self):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                raise Problem(f"port {self.port} is taken: another bench? (--port-base)")
        self.process = subprocess.Popen(self.command)
        try:
            wait_for_port(self.port, self.process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


class Mock(Program):
    def __init__(self, binary: pathlib.Path, port: int):
        super().__init__([binary, port], port)


class BareNginx(Program):
    name, key = "bare", "none"

    def __init__(self, directory: pathlib.Path, port: int, mock: Mock):
        directory.mkdir(exist_ok=True)
        configure(directory, "nginx.conf.template", port=port, mock_port=mock.port)
        super().__init__([nginx.BINARY, "-p", directory, "-e", "stderr", "-c", directory / "nginx.conf"], port)

    def groups(self) -> dict[str, list[int]]:
        return {"nginx": [self.process.pid]}


class Stack:
    """Our whole system, in a directory of its own that is deleted at the end."""

    name = "ours"

    def __init__(self, directory: pathlib.Path, port_base: int, binaries: pathlib.Path, mock: Mock, engine: str = "none"):
        self.directory, self.port_base, self.binaries, self.mock, self.engine = directory, port_base, binaries.resolve(), mock, engine
        self.port = port_base + 80
        self.key = self.free_key = ""

    def __enter__(self):
        self._stack("down", "--remove")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack("down", "--remove")

    def up(self, *settings: str) -> None:
        """Starts it, or starts it again with other settings; the database stays."""
        self.settings = [f"egress.allow_hosts=127.0.0.1:{self.mock.port}", *settings]
        say(f"starting the stack with {' '.join(settings) or 'its usual settings'}")
        self._stack("up", "--port-base", self.port_base, "--bin", self.binaries, "--engine", self.engine, *(f"--set={setting}" for setting in self.settings))
        if not self.key:
            self._seed()

    def groups(self) -> dict[str, list[int]]:
        """The first process of each program, by group; their children are found below them."""
        found: dict[str, list[int]] = {"nginx": [], "gateway": [], "redis": [], "postgres": []}
        for path in (self.directory / "pids").iterdir():
            group = "gateway" if path.name.startswith(("gateway-", "platform-", "uploads-")) else path.name
            if group in found:
                found[group] += self.process(path.name)
        return found

    def process(self, name: str) -> list[int]:
        return [process.pid for record in processes.read(self.directory / "pids" / name)[-1:] if (process := processes.leader(record))]

    def engine_groups(self) -> dict[str, list[int]]:
        return {"engine": self.process("engine")}

    def gateway(self, number: int) -> int:
        return processes.read(self.directory / "pids" / f"gateway-{number}")[-1].pid

    def stop_gateway(self, number: int) -> None:
        """One process then takes all; supervisord is asked, so that it does not start it again."""
        from stackd.supervisor import Supervisor

        Supervisor(self.directory).stop(f"gateway-{number}")

    def usage_rows(self) -> dict[str, int]:
        text = "SELECT count(*), count(DISTINCT request_id), count(*) FILTER (WHERE status_code = 200 AND error_code IS NULL) FROM usage_events"
        return dict(zip(["rows", "ids", "good"], self._counts(text), strict=True))

    def ledger_rows(self) -> dict[str, int]:
        """Of everything since the stack was made: requests that cost something, and the rows of the ledger."""
        text = """SELECT (SELECT count(*) FROM usage_events WHERE cost_nano > 0), (SELECT count(*) FROM ledger_transactions WHERE kind = 'settle'),
            (SELECT count(*) FROM ledger_transactions), (SELECT count(*) FROM ledger_entries)"""
        return dict(zip(["paid requests", "settlements", "transactions", "entries"], self._counts(text), strict=True))

    def _counts(self, text: str) -> list[int]:
        settings = Settings(self.directory, self.port_base, self.binaries, self.engine, parse_overrides(self.settings))
        return list(map(int, postgres.locate(settings).query(text, "xerotier").split("|")))

    def redis_calls(self) -> dict[str, int]:
        """How often each command ran, scripts' own calls included."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.directory / "sock" / "redis.sock"))
            connection.sendall(b"INFO commandstats\r\nQUIT\r\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        lines = [line.removeprefix("cmdstat_").split(":calls=") for line in text.splitlines() if ":calls=" in line]
        return {name: int(rest.split(",")[0]) for name, rest in lines}

    def _stack(self, command: str, *rest: object) -> None:
        done = subprocess.run(
            [ROOT / "infra" / "stack", command, "--dir", self.directory, *map(str, rest)], capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            raise Problem(f"infra/stack {command}: {done.stderr.strip() or done.stdout.strip()}")

    def _seed(self) -> None:
        """A project with credit, on the priced and uncapped tier, whose key has a quota; and one whose requests cost nothing and are counted by no quota."""
        key = self._project("bench", "demo")
        self.run("billing", "grant", "--project", "bench", "--usd", "1000000", "--key", "grant:bench")
        # A quota that is never reached: it is counted for each request all the same.
        self.migrate("key", "quota", "--id", key["id"], "--requests", "1000000000", "--tokens", "1000000000", "--window-seconds", "86400")
        self.migrate("tier", "set", "--slug", "gratis", "--price-nano-per-mtok", "0", "--tokens-per-minute", "none", "--requests-per-minute", "none", "--concurrent", "100000")
        self.key, self.free_key = key["key"], self._project("bench-free", "gratis")["key"]

    def _project(self, slug: str, tier: str) -> dict:
        """Answers its key."""
        self.migrate("project", "set", "--slug", slug, "--name", slug)
        self.endpoint(slug, "bench", "--tier", tier)
        return self.migrate("key", "create", "--project", slug, "--name", "bench", "--scopes", "inference")

    def endpoint(self, project: str, slug: str, *more: str, url: str = "") -> None:
        """On the mock, unless a URL is given."""
        url = url or f"http://127.0.0.1:{self.mock.port}/v1"
        self.migrate("endpoint", "set", "--project", project, "--slug", slug, "--model", "mock", "--upstream-url", url, "--max-concurrent", "4096", *more)

    def migrate(self, *arguments: str) -> dict:
        return json.loads(self.run("migrate", *arguments))

    def run(self, program: str, *arguments: str) -> str:
        lines = (self.directory / "stack.env").read_text().splitlines()
        environment = {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}
        done = subprocess.run([self.binaries / program, *arguments], env=os.environ | environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Problem(f"{program} {' '.join(arguments[:2])} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout


class Free:
    """The stack without ledger and quota: requests of a project that pays nothing, by a key without a quota."""

    name = "free"

    def __init__(self, stack: Stack):
        self.port, self.key, self.groups = stack.port, stack.free_key, stack.groups
