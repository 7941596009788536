"""Budgets, alerts and hard caps (spec 08 §8)."""

import datetime
import json
import time

import pytest

from harness.budgets import BUDGETS, CENT, Budgets, scopes
from harness.calls import Caller, expect_error
from harness.ledger import DEMO_TOKEN
from harness.tenants import Project
from harness.together import eventually, together

SCOPES = ["project", "endpoint", "key", "both"]
OBJECT = {
    "id", "object", "name", "budget_amount", "period", "scope", "thresholds", "alert_channels", "webhook_url", "hard_cap", "cap_percent", "spent",
    "spent_cents", "period_start", "period_end", "created_at", "updated_at",
}


def costing(tokens: int) -> dict:
    """A script whose answer is charged so many tokens."""
    return {"text": "a", "usage": {"prompt_tokens": tokens - 1, "completion_tokens": 1, "total_tokens": tokens}}


@pytest.fixture
def capped(make_tenant, engine, stack):
    """A tenant of a project of its own, and its budgets."""
    tenant = make_tenant(Project.create("budget"))
    return tenant, Budgets(stack.origin, tenant.project)


@pytest.fixture(scope="module")
def shelf(stack) -> Budgets:
    """Budgets that nothing is spent against."""
    return Budgets(stack.origin, Project.create("budget", credit=None))


def is_refused(tenant) -> bool:
    return tenant.chat("hi", max_tokens=16).status_code == 402


# Hard caps


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.limit(180)
def test_fifty_parallel_requests_never_spend_more_than_a_cap_of_a_cent(capped, usage, ledger, scope):
    tenant, budgets = capped
    budget = budgets.cap(1, scope=scopes(tenant)[scope])
    content = json.dumps({"script": {"tokens": ["a "], "repeat": 400, "delay_ms": 2}})
    answers = together(50, lambda number: tenant.chat(content, max_tokens=400, stream=number % 2 == 0))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused and len(refused) < 50
    for answer in refused:
        assert expect_error(answer, 402, "budget_exceeded", param="budget")["x_details"]["budget_id"] == budget["id"]
    rows = usage.of_project(tenant.project.id)
    spent = sum(row["cost_nano"] for row in rows)
    assert CENT // 2 < spent <= CENT
    shown = budgets.get(budget)
    assert round(float(shown["spent"]) * 1e9) == spent and shown["spent_cents"] == spent // CENT
    ledger.check(tenant.project.id, rows)


@pytest.mark.parametrize("streamed", [False, True])
def test_the_402_names_the_budget_and_the_end_of_its_period(capped, streamed):
    tenant, budgets = capped
    budget = budgets.cap(1, period="daily")
    tenant.chat(script=costing(10_000))
    error = expect_error(tenant.chat("hi", stream=streamed), 402, "budget_exceeded", param="budget")
    assert error["type"] == "quota_error" and error["x_number"] == 40201
    assert set(error["x_details"]) == {"budget_id", "retry_after"} and error["x_details"]["budget_id"] == budget["id"]
    assert abs(error["x_details"]["retry_after"] - (budget["period_end"] - time.time())) < 5
    assert budget["id"] in error["message"]


def test_the_tightest_cap_is_named(capped):
    tenant, budgets = capped
    budgets.cap(1000)
    tight = budgets.cap(1, scope={"endpoint_ids": [tenant.endpoint.id]})
    tenant.chat(script=costing(10_000))
    assert expect_error(tenant.chat("hi"), 402, "budget_exceeded")["x_details"]["budget_id"] == tight["id"]


def test_a_cap_with_a_scope_leaves_the_rest_alone(capped, make_tenant):
    tenant, budgets = capped
    budgets.cap(1, scope={"endpoint_ids": [tenant.endpoint.id], "api_key_ids": [tenant.key.id]})
    tenant.chat(script=costing(10_000))
    assert is_refused(tenant)
    elsewhere = make_tenant(tenant.project)
    assert not is_refused(tenant.using(endpoint=elsewhere.endpoint))
    assert not is_refused(tenant.using(key=elsewhere.key))
    assert is_refused(tenant)


@pytest.mark.parametrize("scope", ["project", "endpoint"])
def test_lifting_and_deleting_a_cap_act_at_once(capped, scope):
    tenant, budgets = capped
    budget = budgets.cap(1, scope=scopes(tenant)[scope])
    tenant.chat(script=costing(10_000))
    assert is_refused(tenant)
    budget = budgets.replace(budget, cap_percent=200)
    eventually(lambda: not is_refused(tenant), seconds=1)
    tenant.chat(script=costing(11_000))
    assert is_refused(tenant)
    budgets.delete(budget)
    eventually(lambda: not is_refused(tenant), seconds=1)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_cap_that_is_set_while_gateways_hold_leases_acts_within_a_second(capped, scope):
    tenant, budgets = capped
    tenant.chat(script=costing(10_000))
    assert not is_refused(tenant)
    budget = budgets.cap(1, scope=scopes(tenant)[scope])
    assert budget["spent_cents"] == 1
    time.sleep(1)
    for _ in range(4):
        assert is_refused(tenant)


def test_a_soft_budget_refuses_nothing(capped):
    tenant, budgets = capped
    budgets.create(1)
    for _ in range(3):
        assert tenant.chat(script=costing(10_000)).status_code == 200


def test_cap_percent_leaves_room_beyond_the_amount(capped, usage):
    tenant, budgets = capped
    budget = budgets.cap(1, cap_percent=150)
    tenant.chat(script=costing(14_000))
    assert [alert["threshold"] for alert in budgets.history(budget, order="asc")] == [50, 75, 90, 100]
    content = "hello " * 50
    answer = tenant.chat(content, max_tokens=1000)
    room = 1_000 - (len(content) + 1) // 2
    assert answer.headers["x-xerotier-clamped"] == f"max_tokens=1000->{room}"


@pytest.mark.parametrize("scope", ["project", "endpoint"])
def test_a_stream_ends_where_the_cap_ends(capped, engine, usage, ledger, scope):
    tenant, budgets = capped
    content = json.dumps({"script": {"tokens": ["a "], "repeat": 20_000, "obey_max_tokens": False}})
    budget = budgets.cap(1, scope=scopes(tenant)[scope])
    stream = tenant.stream(content, max_tokens=100, stream_options={"include_usage": True, "x_events": True})
    stream.check(include_usage=True, opted_in=True)
    assert stream.finish_reasons() == {0: "length"}
    assert stream.vendor_events[-1].value["stop_detail"] == "budget_exceeded"
    row = usage.one(stream.request_id)
    assert row["cost_nano"] == CENT and row["finish_reason"] == "length"
    assert budgets.get(budget)["spent"] == "0.01"
    ledger.check(tenant.project.id, [row])


def test_an_answer_is_clamped_to_what_the_cap_leaves(capped):
    tenant, budgets = capped
    budgets.cap(1)
    answer = tenant.chat("hello " * 50, headers={"X-Xerotier-Events": "on"}, script=..., max_tokens=3_900)
    assert answer.status_code == 200 and "x-xerotier-clamped" not in answer.headers
    tenant.chat(script=costing(8_000))

    def answered():
        answer = tenant.chat("hello " * 50, max_tokens=3_900)
        # What another process holds near a cap, it gives back after a while.
        assert answer.status_code == 200 or expect_error(answer, 402, "budget_exceeded", param="budget")
        return answer if answer.status_code == 200 else None

    assert eventually(answered, 20).headers["x-xerotier-clamped"].startswith("max_tokens=3900->1")


def test_what_the_engine_counts_beyond_the_hold_is_not_spent_past_the_cap(capped, usage, ledger):
    tenant, budgets = capped
    budget = budgets.cap(1)
    row = usage.one(tenant.chat(script=costing(25_000)).headers["x-request-id"])
    assert row["cost_nano"] == 25_000 * DEMO_TOKEN
    assert budgets.get(budget)["spent"] == "0.01"
    assert ledger.written_off(tenant.project.id) == 15_000 * DEMO_TOKEN


# Alerts


def test_crossing_50_and_90_in_one_request_fires_both_once(capped, usage):
    tenant, budgets = capped
    budget = budgets.create(1, thresholds=[50, 90])
    tenant.chat(script=costing(9_500))
    tenant.chat(script=costing(9_500))
    alerts = budgets.history(budget)
    assert [alert["threshold"] for alert in alerts] == [90, 50]
    for alert in alerts:
        assert alert["id"].startswith("alert_") and alert["object"] == "budget.alert"
        assert (alert["budget_id"], alert["budget_name"], alert["project_id"]) == (budget["id"], "spend", tenant.project.id)
        assert (alert["spent_cents"], alert["budget_cents"], alert["hard_cap"]) == (0, 1, False)
        assert (alert["period_start"], alert["period_end"]) == (budget["period_start"], budget["period_end"])
        assert abs(alert["fired_at"] - time.time()) < 30
    events = usage.query("SELECT payload FROM outbox WHERE project_id = %s AND kind = 'ox.budget_alert'", tenant.project.id)
    assert sorted((event["payload"] for event in events), key=lambda each: each["threshold"]) == [
        {name: value for name, value in alert.items() if name not in ("id", "object")} for alert in reversed(alerts)
    ]
    assert budgets.history(budget, limit=1) == alerts[:1]
    assert budgets.history(budget, limit=1, after=alerts[0]["id"]) == alerts[1:]


def test_a_check_fires_nothing_twice(capped):
    tenant, budgets = capped
    budget = budgets.create(1)
    tenant.chat(script=costing(7_500))
    for _ in range(2):
        assert budgets.caller.call("POST", f"{BUDGETS}/check").json() == {"object": "budget.check", "checked": 1, "fired": []}
    assert len(budgets.history(budget)) == 2


# The objects


def test_a_budget_is_made_shown_replaced_and_deleted(shelf):
    made = shelf.create(500)
    now = datetime.datetime.now(datetime.timezone.utc)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert set(made) == OBJECT and made["id"].startswith("bud_") and made["object"] == "budget"
    assert made["period"] == "monthly" and made["period_start"] == first.timestamp()
    assert made["scope"] == {"endpoint_ids": [], "api_key_ids": []} and made["thresholds"] == [50, 75, 90, 100]
    assert made["alert_channels"] == ["email"] and made["webhook_url"] is None
    assert made["hard_cap"] is False and made["cap_percent"] == 100 and (made["spent"], made["spent_cents"]) == ("0", 0)
    assert shelf.get(made) == made
    changed = shelf.replace(made, name="less", budget_amount=400, period="weekly", thresholds=[80, 20, 80], alert_channels=["webhook"], webhook_url="https://hooks.example.com/x?token=s3cret")
    assert changed["thresholds"] == [20, 80] and changed["name"] == "less" and changed["budget_amount"] == 400
    assert datetime.datetime.fromtimestamp(changed["period_start"], datetime.timezone.utc).weekday() == 0
    assert changed["period_end"] - changed["period_start"] == 7 * 86400
    # PUT replaces: what is not said is the default again.
    plain = shelf.caller.send("PUT", f"{BUDGETS}/{made['id']}", {"name": "n", "budget_amount": 1}).json()
    assert plain["period"] == "monthly" and plain["webhook_url"] is None and plain["thresholds"] == [50, 75, 90, 100]
    shelf.delete(made)
    for method, path in [("GET", ""), ("DELETE", ""), ("GET", "/history")]:
        expect_error(shelf.caller.call(method, f"{BUDGETS}/{made['id']}{path}"), 404, "not_found")


def test_each_change_is_audited_once_and_without_the_webhooks_secret(stack):
    project = Project.create("budget", credit=None)
    budgets = Budgets(stack.origin, project)
    made = budgets.create(500, webhook_url="https://hooks.example.com/services/T000?token=s3cret")
    budgets.delete(budgets.replace(made, name="other"))
    lines = budgets.caller.get("/v1/management/project/audit", params={"order": "asc"}).json()["data"]
    lines = [line for line in lines if line["action"].startswith("budget.")]
    assert [line["action"] for line in lines] == ["budget.create", "budget.update", "budget.delete"]
    assert {line["target_id"] for line in lines} == {made["id"]}
    assert lines[1]["before"]["name"] == "spend" and lines[1]["after"]["name"] == "other"
    assert "hooks.example.com" in str(lines) and "s3cret" not in str(lines) and "T000" not in str(lines)


def test_paging_shows_each_budget_once(stack):
    budgets = Budgets(stack.origin, Project.create("budget", credit=None))
    made = [budgets.create(number + 1)["id"] for number in range(5)]
    seen, query = [], {"limit": 2}
    while True:
        page = budgets.caller.get(BUDGETS, params=query).json()
        seen += [budget["id"] for budget in page["data"]]
        if not page["has_more"]:
            break
        query["after"] = page["last_id"]
    assert seen == made[::-1]
    ascending = budgets.caller.get(BUDGETS, params={"order": "asc", "after": made[1], "limit": 2}).json()["data"]
    assert [budget["id"] for budget in ascending] == made[2:4]
    other = Budgets(stack.origin, Project.create("budget", credit=None)).create(1)
    expect_error(budgets.caller.get(BUDGETS, params={"after": other["id"]}), 400, "invalid_cursor", param="after")
    expect_error(budgets.caller.get(BUDGETS, params={"limit": 101}), 400, "invalid_value", param="limit")


def test_the_twenty_first_budget_is_refused(stack):
    budgets = Budgets(stack.origin, Project.create("budget", credit=None))
    made = [budgets.create(1) for _ in range(20)]
    body = {"name": "one more", "budget_amount": 1}
    expect_error(budgets.caller.send("POST", BUDGETS, body), 429, "quota_exceeded")
    budgets.delete(made[0])
    assert budgets.caller.send("POST", BUDGETS, body).status_code == 201


GOOD = {"name": "b", "budget_amount": 100}
BAD = [
    ({"name": None}, "name", "missing_required_parameter"), ({"name": ""}, "name", "invalid_value"), ({"name": "x" * 65}, "name", "invalid_value"),
    ({"name": "  "}, "name", "invalid_value"), ({"name": "a\x01b"}, "name", "invalid_value"), ({"name": 5}, "name", "invalid_value"),
    ({"budget_amount": None}, "budget_amount", "missing_required_parameter"),
    *(({"budget_amount": value}, "budget_amount", "invalid_value") for value in (0, -1, 0.5, 99.99, 10**11 + 1, 10**18, 1e18, 1e300, "100", "", True, [100], {})),
    *(({"period": value}, "period", "invalid_value") for value in ("yearly", "", 1, "MONTHLY")),
    *(({"scope": value}, "scope", "invalid_value") for value in ([], "all", 1)),
    ({"scope": {"endpoints": []}}, "scope.endpoints", "unsupported_parameter"),
    ({"scope": {"endpoint_ids": "ep"}}, "scope.endpoint_ids", "invalid_value"),
    ({"scope": {"endpoint_ids": [1]}}, "scope.endpoint_ids[0]", "invalid_value"),
    ({"scope": {"endpoint_ids": ["ep_000000000000000000000000"]}}, "scope.endpoint_ids[0]", "invalid_value"),
    ({"scope": {"api_key_ids": ["key_000000000000000000000000"]}}, "scope.api_key_ids[0]", "invalid_value"),
    ({"scope": {"api_key_ids": ["x" * 64] * 101}}, "scope.api_key_ids", "invalid_value"),
    *(({"thresholds": [50, value]}, "thresholds[1]", "invalid_value") for value in (0, 101, -5, 50.5, "50", None)),
    ({"thresholds": list(range(1, 12))}, "thresholds", "invalid_value"), ({"thresholds": 50}, "thresholds", "invalid_value"),
    ({"alert_channels": ["sms"]}, "alert_channels[0]", "invalid_value"), ({"alert_channels": "email"}, "alert_channels", "invalid_value"),
    ({"alert_channels": ["webhook"]}, "webhook_url", "missing_required_parameter"),
    *(({"webhook_url": value}, "webhook_url", "invalid_value") for value in ("", "hooks", "ftp://a.example.com/", "https://", 5, "https://a.example.com/" + "x" * 2048)),
    *(({"webhook_url": value}, "webhook_url", "egress_blocked") for value in ("http://hooks.example.com/", "https://127.0.0.1/", "https://169.254.169.254/", "https://[::1]/", "https://10.0.0.1/", "https://localhost/")),
    *(({"hard_cap": value}, "hard_cap", "invalid_value") for value in (1, "true", [])),
    *(({"cap_percent": value}, "cap_percent", "invalid_value") for value in (99, 201, 0, -100, 100.5, "100", 10**18)),
    ({"hardcap": True}, "hardcap", "unsupported_parameter"),
]


@pytest.mark.parametrize("values,param,code", BAD, ids=[json.dumps(values)[:60] for values, _, _ in BAD])
def test_bad_values_are_named_and_change_nothing(shelf, values, param, code):
    kept = shelf.create(100)
    body = {name: value for name, value in {**GOOD, **values}.items()}
    before = shelf.caller.get(BUDGETS, params={"limit": 100}).json()
    expect_error(shelf.caller.send("POST", BUDGETS, body), 400, code, param=param)
    expect_error(shelf.caller.send("PUT", f"{BUDGETS}/{kept['id']}", body), 400, code, param=param)
    assert shelf.caller.get(BUDGETS, params={"limit": 100}).json() == before
    shelf.delete(kept)


@pytest.mark.parametrize("amount", [10**19, 10**30])
def test_a_number_that_no_integer_holds_is_refused(shelf, amount):
    expect_error(shelf.caller.send("POST", BUDGETS, {**GOOD, "budget_amount": amount}), 400, "json_parse_error", "invalid_value")


def test_another_projects_endpoint_key_and_budget_are_not_there(shelf, tenant, stack):
    for scope, param in [({"endpoint_ids": [tenant.endpoint.id]}, "scope.endpoint_ids[0]"), ({"api_key_ids": [tenant.key.id]}, "scope.api_key_ids[0]")]:
        expect_error(shelf.caller.send("POST", BUDGETS, {**GOOD, "scope": scope}), 400, "invalid_value", param=param)
    theirs = Budgets(stack.origin, Project.create("budget", credit=None)).create(1)
    for method, path, body in [("GET", "", None), ("PUT", "", GOOD), ("DELETE", "", None), ("GET", "/history", None)]:
        url = f"{BUDGETS}/{theirs['id']}{path}"
        answer = shelf.caller.send(method, url, body) if body else shelf.caller.call(method, url)
        expect_error(answer, 404, "not_found")
    expect_error(shelf.caller.get(f"{BUDGETS}/nonsense"), 404, "not_found")


def test_budgets_need_the_management_scope(tenant):
    for method, path in [("GET", BUDGETS), ("POST", f"{BUDGETS}/check")]:
        expect_error(tenant.caller.call(method, path), 403, "scope_insufficient")
    expect_error(tenant.caller.send("POST", BUDGETS, GOOD), 403, "scope_insufficient")
