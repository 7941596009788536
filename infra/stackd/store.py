"""The stack's own object store: OpenStack Swift with its S3 API, four processes (infra/s3/server.py). Its data lies in D/store."""

import base64
import email.utils
import hashlib
import hmac
import http.client
import os
import pathlib
import secrets
import subprocess

from .files import replace_file
from .say import Problem
from .settings import ROOT, Settings

# Debian's own Python: only that one has Debian's packages.
PYTHON = "/usr/bin/python3"
SERVER = ROOT / "infra" / "s3" / "server.py"
CACHE = ROOT / "infra" / "s3" / "memory_cache.py"
PACKAGE = pathlib.Path("/usr/lib/python3/dist-packages/swift/common/wsgi.py")
# The one that clients ask comes last.
SERVERS = {"store-account": 3, "store-container": 2, "store-object": 1, "store-proxy": 0}
BUCKET = "xerotier"
ACCESS_KEY = "xerotier:store"


def place(settings: Settings) -> pathlib.Path:
    return settings.directory / "store"


def secret(settings: Settings) -> str:
    """What signs requests to this store, made once."""
    path = settings.directory / "state" / "store.key"
    if not path.exists():
        replace_file(path, secrets.token_hex(32))
    return path.read_text()


def port(settings: Settings, name: str) -> int:
    return settings.store_port + SERVERS[name]


def command(settings: Settings, name: str) -> list[str]:
    return [PYTHON, str(SERVER), str(place(settings)), str(settings.store_port), name.removeprefix("store-")]


def create(settings: Settings) -> None:
    """Writes its configuration; data that is there stays."""
    environment = os.environ | {"S3_ACCESS_KEY": ACCESS_KEY, "S3_SECRET_KEY": secret(settings)}
    done = subprocess.run(command(settings, "store-init"), env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Problem(f"the object store cannot be set up: {(done.stderr.strip().splitlines() or ['?'])[-1]}")


def prepare(settings: Settings) -> None:
    """Makes the bucket, with Signature V2: to make one that is there changes nothing."""
    date = email.utils.formatdate(usegmt=True)
    digest = hmac.new(secret(settings).encode(), f"PUT\n\n\n{date}\n/{BUCKET}".encode(), hashlib.sha1).digest()
    headers = {"Date": date, "Authorization": f"AWS {ACCESS_KEY}:{base64.b64encode(digest).decode()}", "Content-Length": "0"}
    connection = http.client.HTTPConnection("127.0.0.1", settings.store_port, timeout=30)
    try:
        connection.request("PUT", f"/{BUCKET}", headers=headers)
        status = connection.getresponse().status
    except OSError as error:
        raise Problem(f"the object store does not answer: {error}; see log/store-proxy.log") from None
    finally:
        connection.close()
    if status not in (200, 409):
        raise Problem(f"the object store refuses to make a bucket: {status}; see log/store-proxy.log")
