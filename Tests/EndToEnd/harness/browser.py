"""A real browser, headless: Debian's Chromium, with a page that tests write and that reports what it found."""

import base64
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading

import pytest

from .stack import ROOT, Stack, in_ci

# Kept when the stack of a run is gone.
ARTEFACTS = ROOT / ".run" / "artefacts"


class Page:
    """One page on an origin of its own: a free port of this machine. It reports by `report(value)`, and its screenshot is taken after that."""

    def __init__(self, script: str, title: str):
        self.reported = None
        self.done = threading.Event()
        self.html = HTML.replace("TITLE", title).replace("SCRIPT", script).encode()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.origin = f"http://127.0.0.1:{self.server.server_port}"

    def handler(page):  # noqa: N805
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                # The browser takes its screenshot when all that the page names is there, and so not before the report.
                if self.path == "/reported":
                    page.done.wait(60)
                    return self.answer(b"", "image/png", 404)
                if self.path != "/":
                    return self.answer(b"", "text/plain", 404)
                self.answer(page.html, "text/html; charset=utf-8")

            def do_POST(self):
                page.reported = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.answer(b"", "text/plain")
                page.done.set()

            def answer(self, body: bytes, kind: str, status: int = 200):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler

    def __enter__(self) -> "Page":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.server.shutdown()
        self.server.server_close()

    def open(self, stack: Stack, screenshot: str):
        """What the page reports. Chromium trusts the stack's certificate by the hash of its public key, and no other one."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        picture = ARTEFACTS / screenshot
        picture.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="browser-") as profile:
            command = [
                browser(), "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={profile}",
                f"--ignore-certificate-errors-spki-list={public_key_hash(stack)}", "--window-size=1000,700", "--hide-scrollbars", f"--screenshot={picture}",
                self.origin + "/",
            ]
            # Chromium's sandbox cannot be made by root.
            if os.geteuid() == 0:
                command.insert(1, "--no-sandbox")
            done = subprocess.run(command, capture_output=True, text=True, timeout=90, env={**os.environ, "HOME": profile})
        assert self.reported is not None, f"the page has reported nothing: {done.stderr[-2000:]}"
        assert picture.stat().st_size > 1000, done.stderr[-2000:]
        print(f"screenshot: {picture}")
        return self.reported


def browser() -> str:
    found = shutil.which("chromium")
    if not found:
        reason = "there is no chromium: infra/setup installs it"
        pytest.fail(reason, pytrace=False) if in_ci() else pytest.skip(reason)
    return found


def public_key_hash(stack: Stack) -> str:
    """Base64 of the SHA-256 of the server's SubjectPublicKeyInfo."""
    certificate = pathlib.Path(stack.ca_file).with_name("server.pem")
    pem = subprocess.run(["openssl", "x509", "-in", certificate, "-pubkey", "-noout"], capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=pem, capture_output=True, check=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


HTML = """<!doctype html><meta charset="utf-8"><title>TITLE</title>
<style>body { font: 16px sans-serif; margin: 2em } pre { background: #eee; padding: 1em; white-space: pre-wrap; overflow-wrap: anywhere }</style>
<h1>TITLE</h1><p>This page is on <b id="here"></b>.</p><pre id="shown"></pre><img src="/reported" alt="">
<script>
const shown = document.getElementById("shown");
document.getElementById("here").textContent = location.origin;
function show(text) { shown.textContent += text }
function report(value) { return fetch("/report", {method: "POST", body: JSON.stringify(value)}) }
(async () => { SCRIPT })().catch(error => { show("\\n" + error); report({error: String(error)}) });
</script>
"""
