"""nginx, Debian's binary with a configuration of the stack's own: everything that it writes lies in D."""

import getpass
import os
import pathlib
import re
import subprocess

from .files import digest, replace_file
from .say import Problem
from .settings import GROUPS, ROOT, Settings

BINARY = "/usr/sbin/nginx"
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
SOURCE = ROOT / "nginx"


def configuration_file(settings: Settings) -> pathlib.Path:
    return settings.directory / "nginx" / "nginx.conf"


def command(settings: Settings) -> list[str]:
    # -p and -e keep it away from /var/lib/nginx and /var/log/nginx, which belong to the machine's own nginx.
    return [BINARY, "-p", str(settings.directory / "nginx"), "-e", "stderr", "-c", str(configuration_file(settings)), "-g", "daemon off;"]


def http1_socket(settings: Settings) -> pathlib.Path:
    return settings.sockets / "http1.sock"


def http2_socket(settings: Settings) -> pathlib.Path:
    return settings.sockets / "http2.sock"


def values(settings: Settings) -> dict[str, object]:
    found: dict[str, object] = {
        # As root the workers stay root: D may lie below a directory that nobody else can enter.
        "user": "user root;" if os.geteuid() == 0 else f"# runs as {getpass.getuser()}",
        "workers": settings.nginx_workers,
        "open_files": settings.open_files,
        # A request over TLS holds four: the client's, both ends of the way to the http server, and the gateway's.
        "worker_connections": min(16384, settings.open_files - 512),
        "directory": settings.directory / "nginx",
        "http1_socket": http1_socket(settings),
        "http2_socket": http2_socket(settings),
        "tls": settings.directory / "tls",
        "https_port": settings.https_port,
        "http_port": settings.http_port,
    }
    for group, upstream in GROUPS.items():
        found[f"{upstream}_socket"] = settings.gateway_socket(group)
        found[f"{upstream}_connections"] = settings.streams(group) // settings.nginx_workers
    return found


def render(settings: Settings) -> str:
    known = values(settings)
    return re.sub(r"\{\{(\w+)\}\}", lambda name: str(known[name[1]]), (SOURCE / "xerotier.conf.template").read_text())


def write(settings: Settings) -> str:
    """Writes the configuration and the files that it includes into D and has nginx check it; answers its digest."""
    texts = {path.name: path.read_text() for path in sorted(SOURCE.glob("*.conf"))} | {"nginx.conf": render(settings)}
    for name, text in texts.items():
        replace_file(settings.directory / "nginx" / name, text)
    check(settings)
    return digest("".join(texts.values()))


def check(settings: Settings) -> None:
    done = subprocess.run([*command(settings)[:-2], "-t", "-q"], capture_output=True, text=True)
    if done.returncode:
        raise Problem(f"nginx refuses its configuration: {(done.stderr.strip().splitlines() or ['?'])[0]}")
