"""Webhooks (spec 08 §11): subscriptions, signatures, deliveries."""

import base64
import json
import re
import time

import openai
import pytest

from harness.budgets import Budgets
from harness.calls import Caller, expect_error
from harness.tenants import Project
from harness.together import eventually
from harness.webhooks import SCHEMES, WEBHOOKS, Receiver, Webhooks, emit, official, ours, standard
from test_endpoints_bad_input import FORBIDDEN_URLS

ALIAS = "/v1/webhook_endpoints"
OBJECT = {
    "id", "object", "url", "events", "event_types", "name", "description", "metadata", "active", "disabled_reason", "secret_hint", "signing_secret_hint",
    "previous_secret_expires_at", "failing_since", "generation", "created_at", "updated_at",
}
DELIVERY = {
    "id", "object", "webhook_id", "event_id", "event_type", "status", "attempt", "max_attempts", "attempts", "next_attempt_at", "created_at", "delivered_at",
}


@pytest.fixture(scope="module")
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def hooks(stack) -> Webhooks:
    return Webhooks(stack.origin, Project.create("hooks", credit=None))


@pytest.fixture(scope="module")
def shelf(stack) -> Webhooks:
    """A project in which nothing is delivered."""
    return Webhooks(stack.origin, Project.create("hooks", credit=None))


# Subscriptions


def test_a_webhook_is_made_read_changed_and_deleted(shelf):
    made = shelf.create("https://hooks.example.com/in?token=t", ["file.*", "ox.budget_alert"], description="In", metadata={"a": "b"})
    secret = made.pop("secret")
    assert made.pop("signing_secret") == secret and re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
    assert set(made) == OBJECT and re.fullmatch(r"whk_[0-9a-z]{24}", made["id"]) and made["object"] == "webhook"
    assert made["events"] == made["event_types"] == ["file.*", "ox.budget_alert"]
    assert (made["active"], made["disabled_reason"], made["description"], made["metadata"]) == (True, None, "In", {"a": "b"})
    assert made["secret_hint"].endswith(secret[-4:]) and secret not in json.dumps(made)
    path = f"{WEBHOOKS}/{made['id']}"
    read = shelf.caller.get(path)
    assert read.json() == made and read.headers["etag"] == '"1"'

    changed = shelf.caller.send("PATCH", path, {"events": ["*"], "description": None}, headers={"If-Match": '"1"'})
    assert changed.status_code == 200 and changed.headers["etag"] == '"2"'
    assert (changed.json()["events"], changed.json()["description"], changed.json()["url"]) == (["*"], None, made["url"])
    expect_error(shelf.caller.send("PATCH", path, {"active": False}, headers={"If-Match": '"1"'}), 412, "version_conflict", param="If-Match")
    replaced = shelf.caller.send("PUT", path, {"url": "https://hooks.example.com/other", "events": ["batch.completed"]})
    assert (replaced.json()["events"], replaced.json()["metadata"], replaced.json()["generation"]) == (["batch.completed"], {}, 3)

    assert shelf.caller.call("DELETE", path).json() == {"id": made["id"], "object": "webhook.deleted", "deleted": True}
    for answer in (shelf.caller.call("DELETE", path), shelf.caller.get(path), shelf.caller.get(f"{path}/deliveries")):
        expect_error(answer, 404, "webhook_not_found")


def test_the_sdk_manages_webhooks_under_openais_names(stack, shelf, sdk_http):
    client = openai.OpenAI(base_url=stack.https_url, api_key=shelf.caller.key, max_retries=0, http_client=sdk_http)
    made = client.webhooks.create(name="sdk", url="https://hooks.example.com/sdk", event_types=["batch.completed"])
    assert made.signing_secret.startswith("whsec_") and made.name == "sdk" and made.event_types == ["batch.completed"]
    assert client.webhooks.retrieve(made.id).url == made.url
    assert client.webhooks.update(made.id, event_types=["response.failed"]).event_types == ["response.failed"]
    assert made.id in [each.id for each in client.webhooks.list()]
    turned = client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=False)
    assert turned.signing_secret != made.signing_secret
    assert client.webhooks.delete(made.id).deleted


def test_both_lists_name_the_same_32_types_of_which_four_are_reserved(shelf):
    answers = [shelf.caller.get(path, schema="none").json() for path in (f"{WEBHOOKS}/event-types", "/v1/webhook_event_types")]
    assert answers[0] == answers[1] and len(answers[0]["data"]) == 32
    assert len({each["type"] for each in answers[0]["data"]}) == 32
    reserved = {each["type"] for each in answers[0]["data"] if each["reserved"]}
    assert reserved == {"exec.ambiguous", "exec.discovery_pending", "exec.workspace_created", "exec.workspace_budget_exhausted"}


def test_lists_page_and_both_names_show_the_same(hooks):
    made = [hooks.create(f"https://hooks.example.com/{number}")["id"] for number in range(5)]
    first = hooks.caller.get(WEBHOOKS, params={"limit": 2}).json()
    rest = hooks.caller.get(ALIAS, params={"limit": 10, "after": first["last_id"]}).json()
    assert [each["id"] for each in first["data"] + rest["data"]] == made[::-1] and first["has_more"] and not rest["has_more"]
    assert hooks.caller.get(f"/{hooks.project.slug}/v1/webhooks").json()["data"][0]["id"] == made[-1]
    expect_error(hooks.caller.get(WEBHOOKS, params={"after": "whk_" + "0" * 24}), 400, "invalid_cursor", param="after")


def test_a_project_has_twenty_at_most(hooks):
    for number in range(20):
        hooks.create(f"https://hooks.example.com/{number}")
    expect_error(hooks.caller.post(WEBHOOKS, {"url": "https://hooks.example.com/21", "events": ["*"]}), 429, "quota_exceeded")


def test_another_projects_webhooks_are_not_there(shelf, hooks, usage):
    made = shelf.create("https://hooks.example.com/mine")
    path = f"{WEBHOOKS}/{made['id']}"
    for answer in (
        hooks.caller.get(path), hooks.caller.send("PATCH", path, {"active": False}), hooks.caller.call("DELETE", path),
        hooks.caller.call("POST", f"{path}/rotate-secret"), hooks.caller.call("POST", f"{path}/test"), hooks.caller.get(f"{path}/deliveries"),
    ):
        expect_error(answer, 404, "webhook_not_found")
    assert shelf.get(made)["generation"] == 1
    inference = Caller(str(shelf.caller.client.base_url), shelf.project.key("inference").key)
    expect_error(inference.get(path), 403, "scope_insufficient")


def test_secrets_are_sealed_and_in_no_audit_line(shelf, usage):
    chosen = "whsec_" + base64.b64encode(b"k" * 32).decode()
    made = shelf.create("https://hooks.example.com/path-token", secret=chosen)
    assert made["secret"] == chosen
    shelf.caller.call("POST", f"{WEBHOOKS}/{made['id']}/rotate-secret")
    stored = usage.query("SELECT w::text AS text, secret FROM webhooks w WHERE id = %s", made["id"])[0]
    assert chosen not in stored["text"] and b"kkkk" not in bytes(stored["secret"])
    lines = usage.query("SELECT action, a::text AS text FROM audit_log a WHERE target_id = %s ORDER BY seq", made["id"])
    assert [line["action"] for line in lines] == ["webhook.create", "webhook.rotate_secret"]
    assert not any(word in line["text"] for line in lines for word in (chosen, "path-token"))


# Bad input


@pytest.fixture
def nothing_changes(shelf, usage):
    rows = "SELECT * FROM webhooks WHERE project_id = %s ORDER BY id"
    before = usage.query(rows, shelf.project.id)
    yield
    assert usage.query(rows, shelf.project.id) == before


@pytest.mark.parametrize("url", [url for url in FORBIDDEN_URLS if "?" not in url and "#" not in url])
def test_a_url_that_may_not_be_called_is_refused(shelf, nothing_changes, url):
    expect_error(shelf.caller.post(WEBHOOKS, {"url": url, "events": ["*"]}), 400, "egress_blocked", "invalid_value", param="url")


def test_next_to_the_receivers_address_all_stays_closed(shelf, receiver, nothing_changes):
    port = receiver.port
    for url in (f"http://127.0.0.1:{port}/", f"http://127.0.0.3:{port}/", f"http://127.0.0.2:{port + 1}/", f"http://[::1]:{port}/", f"http://hooks.example.com:{port}/"):
        expect_error(shelf.caller.post(WEBHOOKS, {"url": url, "events": ["*"]}), 400, "egress_blocked", param="url")


BAD_BODIES = [
    ({"events": ["*"]}, "missing_required_parameter", "url"), ({"url": "https://a.example.com"}, "missing_required_parameter", "events"),
    ({"events": []}, "invalid_value", "events"), ({"events": "*"}, "invalid_value", "events"), ({"events": [1]}, "invalid_value", "events[0]"),
    ({"events": ["file.uploaded", "file.renamed"]}, "invalid_event_type", "events[1]"), ({"events": ["webhook.test"]}, "invalid_event_type", "events[0]"),
    ({"events": ["nope.*"]}, "invalid_event_type", "events[0]"), ({"event_types": ["*"]}, "unsupported_combination", "event_types"),
    ({"url": 7}, "invalid_value", "url"), ({"url": "https://a.example.com/" + "x" * 2_048}, "invalid_value", "url"),
    ({"secret": "x" * 23}, "invalid_value", "secret"), ({"secret": "x" * 257}, "invalid_value", "secret"), ({"secret": "with a space in it 123456"}, "invalid_value", "secret"),
    ({"secret": "whsec_" + "!" * 40}, "invalid_value", "secret"), ({"secret": "whsec_" + base64.b64encode(b"k" * 65).decode()}, "invalid_value", "secret"),
    ({"secret": "ä" * 30}, "invalid_value", "secret"), ({"secret": 7}, "invalid_value", "secret"), ({"active": "yes"}, "invalid_value", "active"),
    ({"description": "x" * 513}, "invalid_value", "description"), ({"name": "x" * 65}, "invalid_value", "name"),
    ({"metadata": {"a": 1}}, "invalid_metadata", "metadata"), ({"metadata": {str(n): "" for n in range(17)}}, "invalid_metadata", "metadata"),
    ({"headers": {}}, "unsupported_parameter", "headers"),
]


@pytest.mark.parametrize("change,code,param", BAD_BODIES, ids=[f"{code}-{param}-{number}" for number, (_, code, param) in enumerate(BAD_BODIES)])
def test_a_body_that_is_wrong_is_refused_by_name(shelf, nothing_changes, change, code, param):
    body = change if code == "missing_required_parameter" else {"url": "https://a.example.com/", "events": ["*"], **change}
    expect_error(shelf.caller.post(WEBHOOKS, body), 400, code, param=param)


def test_a_secret_is_changed_by_rotation_alone(shelf):
    made = shelf.create("https://hooks.example.com/")
    for method, body in (("PATCH", {}), ("PUT", {"url": made["url"], "events": ["*"]})):
        expect_error(shelf.caller.send(method, f"{WEBHOOKS}/{made['id']}", {**body, "secret": "x" * 30}), 400, "unsupported_parameter", param="secret")
    expect_error(shelf.caller.post(f"{WEBHOOKS}/{made['id']}/rotate-secret", {"secret": "short"}), 400, "invalid_value", param="secret")
    assert shelf.get(made)["generation"] == 1


# Deliveries


def test_one_delivery_is_verified_by_all_three_schemes(hooks, receiver, usage):
    webhook = hooks.create(receiver.url("/schemes"))
    event = emit(usage, hooks.project, data={"budget_id": "bud_1", "threshold": 50})[0]
    received = receiver.wait("/schemes")[0]
    assert [scheme(webhook["secret"], received) for scheme in SCHEMES] == [True, True, True]
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    assert [scheme(other, received) for scheme in SCHEMES] == [False, False, False]
    assert received.headers["user-agent"] == "Xerotier-Webhooks/1" and received.headers["content-type"] == "application/json"
    assert received.headers["x-webhook-id"] == received.id == event
    assert abs(int(received.headers["webhook-timestamp"]) - time.time()) < 60
    assert set(received.event) == {"id", "object", "type", "created_at", "project_id", "data"}
    assert (received.event["id"], received.event["object"], received.event["type"]) == (event, "event", "ox.budget_alert")
    assert received.event["project_id"] == hooks.project.id and received.event["data"] == {"budget_id": "bud_1", "threshold": 50}
    delivery = hooks.wait_for(webhook, "succeeded")
    assert set(delivery) == DELIVERY and (delivery["event_id"], delivery["attempt"], delivery["max_attempts"]) == (event, 1, 6)
    assert (delivery["attempts"][0]["status_code"], delivery["attempts"][0]["response_excerpt"], delivery["next_attempt_at"]) == (200, "ok", None)
    assert hooks.caller.get(f"{WEBHOOKS}/{webhook['id']}/deliveries/{delivery['id']}").json() == delivery


def test_while_a_secret_is_rotated_both_verify_and_then_one(hooks, receiver, usage):
    webhook = hooks.create(receiver.url("/rotation"), secret="a-secret-of-a-customer-s-own")
    turned = hooks.caller.call("POST", f"{WEBHOOKS}/{webhook['id']}/rotate-secret").json()
    assert turned["secret"] != webhook["secret"] and abs(turned["previous_secret_expires_at"] - time.time() - 86_400) < 120
    emit(usage, hooks.project)
    received = receiver.wait("/rotation")[0]
    # A text that is no base64 is what OpenAI's SDK takes as it is; the other library cannot.
    assert ours(webhook["secret"], received) and official(webhook["secret"], received)
    assert all(scheme(turned["secret"], received) for scheme in SCHEMES)
    again = hooks.caller.post(f"{WEBHOOKS}/{webhook['id']}/rotate-secret", {"keep_old_secret_active_for_24_hours": False}).json()
    assert again["previous_secret_expires_at"] is None
    emit(usage, hooks.project)
    last = receiver.wait("/rotation", 2)[1]
    assert all(scheme(again["secret"], last) for scheme in SCHEMES)
    assert not any(scheme(secret, last) for scheme in (ours, official) for secret in (webhook["secret"], turned["secret"]))


def test_only_those_who_subscribe_are_told(hooks, receiver, usage):
    paths = {"/all": ["*"], "/family": ["file.*"], "/one": ["file.deleted"], "/other": ["batch.completed"], "/alias": ["exec.started"], "/off": ["*"]}
    made = {path: hooks.create(receiver.url(path), events, active=path != "/off") for path, events in paths.items()}
    for kind in ("file.uploaded", "file.deleted", "exec.dispatched"):
        emit(usage, hooks.project, kind)
    for path, count in {"/all": 3, "/family": 2, "/one": 1, "/alias": 1}.items():
        receiver.wait(path, count)
    time.sleep(0.5)
    told = {path: sorted(each.event["type"] for each in receiver.at(path)) for path in paths}
    assert told == {
        "/all": ["exec.dispatched", "file.deleted", "file.uploaded"], "/family": ["file.deleted", "file.uploaded"], "/one": ["file.deleted"],
        "/other": [], "/alias": ["exec.started"], "/off": [],
    }
    assert hooks.deliveries(made["/other"]) == []


def test_a_redelivery_has_the_same_event_and_is_a_delivery_of_its_own(hooks, receiver, usage):
    webhook = hooks.create(receiver.url("/again"))
    event = emit(usage, hooks.project)[0]
    delivery = hooks.wait_for(webhook, "succeeded")
    path = f"{WEBHOOKS}/{webhook['id']}/deliveries/{delivery['id']}/redeliver"
    again = hooks.caller.call("POST", path).json()
    assert again["id"] != delivery["id"] and again["event_id"] == event
    received = receiver.wait("/again", 2)
    assert {each.id for each in received} == {event} and received[0].body == received[1].body
    assert [each["id"] for each in hooks.deliveries(webhook)] == [again["id"], delivery["id"]]
    expect_error(hooks.caller.call("POST", f"{WEBHOOKS}/{webhook['id']}/deliveries/dlv_{'0' * 24}/redeliver"), 404, "not_found")


@pytest.mark.limit(180)
def test_what_fails_is_sent_again_and_a_redirect_is_not_followed(hooks, receiver, usage):
    receiver.answers["/flaky"] = lambda count: (302, {"Location": receiver.url("/elsewhere")}, b"x" * 5_000) if count == 1 else 200
    webhook = hooks.create(receiver.url("/flaky"))
    event = emit(usage, hooks.project)[0]
    received = receiver.wait("/flaky", 2, seconds=90)
    assert {each.id for each in received} == {event} and receiver.at("/elsewhere") == []
    assert received[1].at - received[0].at > 3.5  # five seconds, a fifth less at most, and the clocks of two machines in one
    delivery = hooks.wait_for(webhook, "succeeded")
    assert [attempt["status_code"] for attempt in delivery["attempts"]] == [302, 200]
    assert len(delivery["attempts"][0]["response_excerpt"]) == 1_024
    assert hooks.get(webhook)["failing_since"] is None


def test_410_ends_it_at_once_and_switches_the_webhook_off(hooks, receiver, usage):
    receiver.answers["/gone"] = lambda count: 410
    webhook = hooks.create(receiver.url("/gone"))
    emit(usage, hooks.project)
    delivery = hooks.wait_for(webhook, "exhausted")
    assert [attempt["status_code"] for attempt in delivery["attempts"]] == [410]
    off = hooks.get(webhook)
    assert (off["active"], off["disabled_reason"]) == (False, "gone")
    emit(usage, hooks.project)
    expect_error(hooks.caller.call("POST", f"{WEBHOOKS}/{webhook['id']}/deliveries/{delivery['id']}/redeliver"), 409, "conflict", param="active")
    assert len(hooks.deliveries(webhook)) == 1
    on = hooks.caller.send("PATCH", f"{WEBHOOKS}/{webhook['id']}", {"active": True}).json()
    assert (on["active"], on["disabled_reason"], on["failing_since"]) == (True, None, None)


def test_a_test_is_sent_at_once_and_ten_an_hour(hooks, receiver):
    webhook = hooks.create(receiver.url("/test"))
    tests = [hooks.caller.call("POST", f"{WEBHOOKS}/{webhook['id']}/test") for _ in range(11)]
    said = tests[0].json()
    assert (said["delivered"], said["status_code"], said["event_type"]) == (True, 200, "webhook.test") and said["duration_ms"] >= 0
    received = receiver.at("/test")
    assert len(received) == 10 and all(scheme(webhook["secret"], received[0]) for scheme in SCHEMES)
    assert received[0].event["type"] == "webhook.test" and received[0].id == said["event_id"]
    expect_error(tests[10], 429, "rate_limit_exceeded")
    assert int(tests[10].headers["retry-after"]) > 3_000
    receiver.answers["/broken"] = lambda count: 500
    broken = hooks.caller.call("POST", f"{WEBHOOKS}/{hooks.create(receiver.url('/broken'))['id']}/test").json()
    assert (broken["delivered"], broken["status_code"]) == (False, 500)


def test_an_alert_of_a_budget_reaches_the_subscription(make_tenant, engine, stack, receiver, usage):
    tenant = make_tenant(Project.create("hooks"))
    hooks, budgets = Webhooks(stack.origin, tenant.project), Budgets(stack.origin, tenant.project)
    webhook = hooks.create(receiver.url("/alert"), ["ox.*"])
    budget = budgets.create(1, thresholds=[1])
    tenant.chat(script={"text": "a", "usage": {"prompt_tokens": 200_000, "completion_tokens": 1, "total_tokens": 200_001}})
    received = receiver.wait("/alert", seconds=90)[0]
    assert received.event["type"] == "ox.budget_alert" and received.event["data"]["budget_id"] == budget["id"]
    assert all(scheme(webhook["secret"], received) for scheme in SCHEMES)
    history = budgets.history(budget)[0]
    assert received.event["data"] == {name: value for name, value in history.items() if name not in ("id", "object")}


def test_an_alert_reaches_the_budgets_own_server_as_a_flat_body(make_tenant, engine, stack, receiver, usage):
    tenant = make_tenant(Project.create("hooks"))
    hooks, budgets = Webhooks(stack.origin, tenant.project), Budgets(stack.origin, tenant.project)
    budget = budgets.create(1, thresholds=[1], alert_channels=["webhook"], webhook_url=receiver.url("/flat"))
    secret = budget.pop("webhook_secret")
    assert budgets.get(budget) == budget and "webhook_secret" not in budgets.replace(budget)
    tenant.chat(script={"text": "a", "usage": {"prompt_tokens": 200_000, "completion_tokens": 1, "total_tokens": 200_001}})
    received = receiver.wait("/flat", seconds=90)[0]
    assert received.event == {name: value for name, value in budgets.history(budget)[0].items() if name not in ("id", "object")}
    assert all(scheme(secret, received) for scheme in (ours, standard))
    assert hooks.caller.get(WEBHOOKS).json()["data"] == []
