"""Callbacks of the card processor, through nginx: only what it signed is believed, and each payment is credited once."""

import hashlib
import hmac
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.parse

import httpx
import pytest

from harness.stack import ROOT

SECRETS = os.environ.get("XEROTIER_BILLING_STRIPE_WEBHOOK_SECRETS", "").split(",")
pytestmark = pytest.mark.skipif(not SECRETS[0], reason="XEROTIER_BILLING_STRIPE_WEBHOOK_SECRETS is not set: the stack takes no callbacks (see infra/test)")
PORT = int(os.environ.get("XEROTIER_TEST_UPSTREAM_PORTS", "19189").split()[-1])


class Stripe(http.server.BaseHTTPRequestHandler):
    """Just enough of docs.stripe.com/api for a checkout."""

    calls = []

    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        Stripe.calls.append((self.path, self.headers, form))
        number = len(Stripe.calls)
        answer = {"id": f"cus_{number}"} if self.path == "/v1/customers" else {"id": f"cs_{number}", "url": f"https://checkout.stripe.com/{number}"}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def stripe():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Stripe)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Stripe
    server.shutdown()
    server.server_close()


def billing(*arguments, **settings):
    environment = os.environ | {"XEROTIER_BILLING_STRIPE_SECRET_KEY": "sk_test_1"} | settings
    done = subprocess.run([ROOT / ".build/release/billing", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    return done


@pytest.fixture
def order(project, stripe):
    done = billing(
        "checkout", "--project", project.slug, "--usd", "10", "--return-url", "https://example.com/back", "--provider", "stripe",
        XEROTIER_BILLING_STRIPE_URL=f"http://127.0.0.1:{PORT}",
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["url"].startswith("https://checkout.stripe.com/")
    return answer["order"]


def event(order: dict, name: str, **changes) -> bytes:
    paid = {"client_reference_id": order["id"], "payment_intent": f"pi_{name}", "payment_status": "paid", "amount_total": 1000, "currency": "usd"} | changes
    return json.dumps({"id": f"evt_{name}", "type": "checkout.session.completed", "data": {"object": paid}}).encode()


def sign(body: bytes, secret: str = SECRETS[0], at: float | None = None) -> str:
    moment = int(at or time.time())
    return f"t={moment},v1={hmac.new(secret.encode(), f'{moment}.'.encode() + body, hashlib.sha256).hexdigest()}"


def deliver(stack, body: bytes, signature: str | None) -> httpx.Response:
    headers = {"Content-Type": "application/json; charset=utf-8"} | ({"Stripe-Signature": signature} if signature is not None else {})
    return httpx.post(f"{stack.origin}/billing/stripe/webhook", content=body, headers=headers, timeout=30)


@pytest.fixture
def cash(usage, project):
    def read() -> int:
        return usage.query("SELECT balance_nano FROM ledger_accounts WHERE project_id = %s AND kind = 'cash'", project.id)[0]["balance_nano"]

    return read


def test_a_signed_callback_credits_once(stack, order, cash):
    before, name = cash(), order["id"]
    body = event(order, name)
    answers = [deliver(stack, body, sign(body)), deliver(stack, body, sign(body, SECRETS[-1])), deliver(stack, body, sign(body))]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[0].json() == {"received": True}
    again = event(order, name + "b", payment_intent=f"pi_{name}")
    assert deliver(stack, again, sign(again)).status_code == 200
    assert cash() == before + 10_000_000_000


def test_a_forged_or_old_callback_gets_400_and_changes_nothing(stack, order, cash):
    before, body = cash(), event(order, order["id"] + "f")
    for signature in (None, "", "t=1,v1=00", sign(body, "whsec_wrong"), sign(body, at=time.time() - 301), sign(body + b" ")):
        answer = deliver(stack, body, signature)
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_request", signature
    broken = b'{"id": "evt_x"}'
    assert deliver(stack, broken, sign(broken)).status_code == 400
    for changes in ({"amount_total": -1000}, {"amount_total": "1000"}, {"amount_total": 10.5}, {"currency": "eur"}):
        body = event(order, "bad", **changes)
        assert deliver(stack, body, sign(body)).status_code == 400
    wrong = event(order, order["id"] + "w", amount_total=5)
    assert deliver(stack, wrong, sign(wrong)).status_code == 200
    assert cash() == before


@pytest.mark.parametrize("usd", ["-5", "0", "4.99", "5001", "99999999999999999999", "NaN", "ten", "1e2", "5.001", "", "Infinity"])
def test_a_bad_amount_is_refused_and_asks_nobody(project, stripe, cash, usd):
    calls, before = len(stripe.calls), cash()
    for command in (["checkout", "--return-url", "https://example.com", "--provider", "stripe"], ["topup", "--reference", f"r{usd}"]):
        if command[0] == "topup" and usd in ("4.99", "5001", "5.001"):
            continue
        done = billing(*command, "--project", project.slug, f"--usd={usd}", XEROTIER_BILLING_STRIPE_URL=f"http://127.0.0.1:{PORT}")
        assert done.returncode != 0 and done.stdout == "" and "usd" in done.stderr.lower(), (usd, done)
    assert len(stripe.calls) == calls and cash() == before


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "https://127.0.0.1", "https://2130706433", "https://0x7f.1", "https://[::ffff:127.0.0.1]", "https://localhost", "https://169.254.169.254"]
)
def test_a_private_base_url_is_refused(project, usage, url):
    orders = usage.query("SELECT id FROM orders WHERE project_id = %s", project.id)
    done = billing(
        "checkout", "--project", project.slug, "--usd", "10", "--return-url", "https://example.com", "--provider", "stripe", XEROTIER_BILLING_STRIPE_URL=url
    )
    assert done.returncode != 0 and done.stdout == "" and "billing.stripe_url" in done.stderr
    assert usage.query("SELECT id FROM orders WHERE project_id = %s", project.id) == orders


def test_a_topup_is_booked_once_for_each_reference(project, cash):
    reference, before = f"bank {project.id}", cash()
    done = [billing("topup", "--project", project.slug, "--usd", "12.50", "--reference", reference) for _ in range(2)]
    assert [each.returncode for each in done] == [0, 0], done[0].stderr
    assert done[0].stdout.startswith("posted: topup of 12.5 USD") and done[1].stdout.startswith("already posted: topup of 12.5 USD")
    other = billing("topup", "--project", project.slug, "--usd", "13", "--reference", reference)
    assert other.returncode != 0 and "reference" in other.stderr
    assert cash() == before + 12_500_000_000
