"""A customer's server that receives webhooks, on the one address and port that a development stack opens for it."""

import hashlib
import hmac
import http.server
import json
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass

import openai
import standardwebhooks

from .calls import Caller
from .tenants import Project
from .together import eventually

WEBHOOKS = "/v1/webhooks"
ADDRESS = "127.0.0.2"


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict
    body: bytes
    at: float

    @property
    def event(self) -> dict:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """Answers 200 to all, unless a path has an `answer(count)`: it gives a status, or (status, headers, body), or None for a broken connection.
    `check(received)` may look at each call when it comes."""

    def __init__(self, port: int | None = None):
        self.port = port or int(os.environ["XEROTIER_EGRESS_PORTS"].split(",")[0])
        self.received: list = []
        self.answers: dict = {}
        self.counts: Counter = Counter()
        self.check = lambda received: None
        self.lock = threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.path, headers, body, time.time())
                receiver.check(received)
                with receiver.lock:
                    receiver.received.append(received)
                    receiver.counts[self.path] += 1
                    count = receiver.counts[self.path]
                answer = receiver.answers.get(self.path, lambda count: 200)(count)
                if answer is None:
                    self.close_connection = True
                    return
                status, more, content = answer if isinstance(answer, tuple) else (answer, {}, b"ok")
                self.send_response(status)
                for name, value in {**more, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_):
                pass  # a caller that did not wait

        self.server = Server((ADDRESS, self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://{ADDRESS}:{self.port}{path}"

    def at(self, path: str) -> list:
        with self.lock:
            return [each for each in self.received if each.path == path]

    def wait(self, path: str, count: int = 1, seconds: float = 60) -> list:
        return eventually(lambda: len(found := self.at(path)) >= count and found, seconds=seconds)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Webhooks:
    """Webhooks of one project, by the API."""

    def __init__(self, origin: str, project: Project):
        self.project = project
        self.caller = Caller(origin, project.key("management").key)

    def create(self, url: str, events=("ox.budget_alert",), **values) -> dict:
        answer = self.caller.post(WEBHOOKS, {"url": url, "events": list(events), **values})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, webhook: dict) -> dict:
        answer = self.caller.get(f"{WEBHOOKS}/{webhook['id']}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def deliveries(self, webhook: dict, **query) -> list:
        answer = self.caller.get(f"{WEBHOOKS}/{webhook['id']}/deliveries", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def wait_for(self, webhook: dict, status: str, seconds: float = 60) -> dict:
        """The newest delivery, once it has that status."""
        return eventually(lambda: (found := self.deliveries(webhook, limit=1)) and found[0]["status"] == status and found[0], seconds=seconds, every=0.2)


def emit(usage, project: Project, kind: str = "ox.budget_alert", data: dict | None = None, count: int = 1) -> list:
    """Writes events as the platform does, all in one transaction; the sweeper rings for them."""
    rows = usage.query(
        """INSERT INTO outbox (id, project_id, kind, payload)
           SELECT 'evt_' || left(replace(gen_random_uuid()::text, '-', ''), 24), %s, %s, %s::jsonb FROM generate_series(1, %s) RETURNING id""",
        project.id, kind, json.dumps(data or {"n": 1}), count)
    return [row["id"] for row in rows]


def ours(secret: str, received) -> bool:
    """As 08 §11 has it: hex HMAC-SHA256 of `timestamp.body`."""
    said = received.headers["x-webhook-timestamp"].encode() + b"." + received.body
    return hmac.new(secret.encode(), said, hashlib.sha256).hexdigest() in received.headers["x-webhook-signature"].split(",")


def standard(secret: str, received) -> bool:
    try:
        standardwebhooks.Webhook(secret).verify(received.body, received.headers)
        return True
    except standardwebhooks.WebhookVerificationError:
        return False


SDK = openai.OpenAI(api_key="none")


def official(secret: str, received) -> bool:
    try:
        SDK.webhooks.unwrap(received.body, received.headers, secret=secret)
        return True
    except openai.InvalidWebhookSignatureError:
        return False


SCHEMES = [ours, standard, official]
