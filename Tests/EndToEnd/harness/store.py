"""The stack's object store as it is, without the gateway: read with Signature V2. And what tests of files have in common."""

import base64
import email.utils
import hashlib
import hmac
import json
import os
import re
import subprocess

import httpx

from .stack import ROOT

# Programs of the stack, in the order in which they start.
SERVERS = ["store-account", "store-container", "store-object", "store-proxy"]


def ask(path: str, **query) -> httpx.Response:
    """GET of a path below the bucket."""
    date = email.utils.formatdate(usegmt=True)
    resource = f"/{os.environ['XEROTIER_STORE_BUCKET']}{path}"
    text = f"GET\n\n\n{date}\n{resource}".encode()
    signature = base64.b64encode(hmac.new(os.environ["XEROTIER_STORE_SECRET_KEY"].encode(), text, hashlib.sha1).digest()).decode()
    headers = {"Date": date, "Authorization": f"AWS {os.environ['XEROTIER_STORE_ACCESS_KEY']}:{signature}"}
    return httpx.get(os.environ["XEROTIER_STORE_URL"] + resource, params=query, headers=headers, timeout=30)


def raw_object(key: str) -> bytes:
    answer = ask(f"/{key}")
    assert answer.status_code == 200, answer.text
    return answer.content


def keys(prefix: str) -> list:
    answer = ask("", prefix=prefix)
    assert answer.status_code == 200, answer.text
    return re.findall(r"<Key>([^<]+)</Key>", answer.text)


def stored(usage, project) -> tuple:
    """Bytes used and reserved, and the rows of objects and files, of a project."""
    rows = usage.query("SELECT bytes, reserved FROM storage_usage WHERE project_id = %s", project.id)
    counted = (int(rows[0]["bytes"]), int(rows[0]["reserved"])) if rows else (0, 0)
    objects = usage.query("SELECT 1 FROM objects WHERE project_id = %s AND state <> 'deleted'", project.id)
    files = usage.query("SELECT 1 FROM files WHERE project_id = %s AND deleted_at IS NULL", project.id)
    return (*counted, len(objects), len(files))


def upload(caller, content: bytes, **values) -> httpx.Response:
    return caller.call("POST", "/v1/files", files={"file": ("a", content)}, data={"purpose": "user_data"}, **values)


def sweep(stack, scale: float):
    """One sweep in which time runs faster."""
    binaries = json.loads((stack.folder / "settings.json").read_text())["binaries"]
    environment = {**os.environ, "XEROTIER_TIME_SCALE": str(scale)}
    done = subprocess.run([f"{binaries}/sweeper", "--once"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
