"""Balance, ledger and the operator's commands for money (spec 08 §6)."""

import secrets
from decimal import Decimal

import pytest

from harness.calls import Caller, expect_error
from harness.tenants import MigrateFailed, Project, billing

USAGE = {"prompt_tokens": 1000, "completion_tokens": 333, "total_tokens": 1333}


@pytest.fixture
def account(make_tenant, engine, stack):
    """A tenant of its own with 10 USD, and a caller that may see its money."""
    tenant = make_tenant(Project.create("e2e-money", credit="10"))
    key = tenant.project.key(scopes="inference,management")
    return tenant, Caller(stack.origin, key.key)


def amounts(caller) -> dict:
    answer = caller.get("/v1/billing/balance")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["currency"] == "USD"
    return {name: Decimal(body[name]) for name in ["available", "held", "promo", "cash", "post_pay_limit"]}


def entries(caller, **query) -> list:
    answer = caller.get("/v1/billing/ledger", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_a_request_is_paid_from_the_balance_to_the_nano(account, engine, usage):
    tenant, caller = account
    before = amounts(caller)
    assert before["available"] == before["promo"] == 10 and before["cash"] == 0
    row = usage.one(tenant.chat(script={"text": "one two three", "usage": USAGE}).headers["x-request-id"])
    assert row["cost_nano"] == 1_333_000
    after = amounts(caller)
    # What a gateway holds for later requests still belongs to the project.
    assert after["available"] + after["held"] == Decimal(10) - Decimal(row["cost_nano"]) / 10**9
    settled = entries(caller, kind="settle")
    assert {entry["transaction_id"] for entry in settled} == {row["ledger_tx_id"]}
    assert sum(Decimal(entry["amount"]) for entry in settled) == -Decimal(row["cost_nano"]) / 10**9
    assert settled[0]["reference"] == row["request_id"]


def test_a_top_up_counts_once_for_each_reference(account):
    tenant, caller = account
    reference = f"inv-{secrets.token_hex(4)}"
    for _ in range(2):
        assert "topup of 25.5 USD" in billing("topup", "--project", tenant.project.slug, "--usd", "25.50", "--reference", reference)
    assert amounts(caller)["cash"] == Decimal("25.5")
    with pytest.raises(MigrateFailed, match="reference"):
        billing("topup", "--project", tenant.project.slug, "--usd", "26", "--reference", reference)
    assert amounts(caller)["cash"] == Decimal("25.5")


@pytest.mark.parametrize("usd", ["-5", "0", "NaN", "inf", "1e3", "0x10", "1,000", "12.0000000001", "1000000000", "999999999", "", "ten"])
def test_what_is_no_amount_is_refused(account, usd):
    tenant, caller = account
    with pytest.raises(MigrateFailed, match="--usd"):
        billing("topup", "--project", tenant.project.slug, f"--usd={usd}", "--reference", secrets.token_hex(4))
    assert amounts(caller)["cash"] == 0


def test_an_unknown_project_is_refused():
    with pytest.raises(MigrateFailed, match="no project 'nobody-knows'"):
        billing("grant", "--project", "nobody-knows", "--usd", "1", "--key", secrets.token_hex(4))


def test_paging_shows_each_movement_once(account):
    tenant, caller = account
    for number in range(7):
        billing("topup", "--project", tenant.project.slug, "--usd", str(number + 1), "--reference", f"page-{secrets.token_hex(4)}")
    whole = entries(caller, limit=100)
    assert [entry["balance_after"] for entry in whole if entry["account"] == "cash"] == ["28", "21", "15", "10", "6", "3", "1"]
    found, query = [], {"limit": 3}
    while True:
        page = caller.get("/v1/billing/ledger", params=query).json()
        found += page["data"]
        assert page["last_id"] == (page["data"][-1]["id"] if page["data"] else None)
        if not page["has_more"]:
            break
        query["after"] = page["last_id"]
    assert found == whole and len(found) == 8
    assert entries(caller, limit=100, order="asc") == whole[::-1]
    assert entries(caller, limit=2, before=whole[3]["id"]) == whole[1:3]
    assert {entry["kind"] for entry in entries(caller, kind="grant")} == {"grant"}
    assert entries(caller, **{"from": whole[0]["created_at"] + 3600}) == []
    assert len(entries(caller, to=whole[0]["created_at"] + 3600)) == 8


@pytest.mark.parametrize("query,param", [({"kind": "gift"}, "kind"), ({"from": "yesterday"}, "from"), ({"from": 9, "to": 5}, "to"), ({"limit": 0}, "limit")])
def test_bad_queries_name_the_parameter(account, query, param):
    tenant, caller = account
    expect_error(caller.get("/v1/billing/ledger", params=query), 400, "invalid_value", param=param)


def test_a_cursor_of_another_project_is_invalid(account, stack):
    tenant, caller = account
    other = Project.create("e2e-money", credit="1")
    theirs = entries(Caller(stack.origin, other.key(scopes="management").key))[0]["id"]
    for cursor in [theirs, "le_nonsense", "le_000000000000000000000000.1"]:
        expect_error(caller.get("/v1/billing/ledger", params={"after": cursor}), 400, "invalid_cursor", param="after")


def test_money_needs_the_management_scope(account):
    tenant, caller = account
    for path in ["/v1/billing/balance", "/v1/billing/ledger"]:
        expect_error(caller.get(path, key=tenant.key.key), 403, "scope_insufficient")
        expect_error(caller.call("POST", path, content=b"{}"), 405, "method_not_allowed")
    answer = caller.get(f"/{tenant.project.slug}/v1/billing/balance")
    assert answer.status_code == 200


def test_the_ledger_verifies(account, engine):
    tenant, _ = account
    tenant.chat(script={"text": "a", "usage": USAGE})
    assert billing("verify").splitlines()[-1] == "ok"
