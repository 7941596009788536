"""The audit log (spec 08 §2.4)."""

import json
import subprocess
import time

import psycopg
import pytest

from harness.calls import Caller, expect_error
from harness.stack import ROOT
from harness.tenants import Project, migrate
from harness.together import together

KEYS = "/v1/management/api-keys"
AUDIT = "/v1/management/project/audit"
LINE = {
    "id", "object", "seq", "at", "actor_type", "actor_id", "action", "target_type", "target_id", "ip", "user_agent", "request_id", "before", "after",
    "prev_hash", "hash",
}


@pytest.fixture
def admin(stack):
    """A key of scope management in a project that nobody else uses."""
    project = Project.create("audit", credit=None)
    key = project.key("management")
    caller = Caller(stack.origin, key.key)
    caller.project, caller.key_id = project, key.id
    return caller


def actions(admin, **query) -> list:
    return [line["action"] for line in admin.get(AUDIT, params={"order": "asc", **query}).json()["data"]]


def test_every_write_leaves_one_line_that_says_who_what_and_from_where(admin):
    made = admin.send("POST", KEYS, {"name": "first", "scopes": ["inference"]}, headers={"User-Agent": "tests/1"})
    key = made.json()["id"]
    steps = [
        ("PATCH", "", {"name": "second"}), ("POST", "/rotate", {"grace_seconds": 60}), ("PUT", "/ip-filter", {"allow": ["10.0.0.0/8"]}),
        ("PUT", "/quota", {"requests": 5, "window_seconds": 60}), ("PUT", "/quota", None), ("DELETE", "", {}),
    ]
    answers = [admin.send(method, f"{KEYS}/{key}{tail}", body) for method, tail, body in steps]
    assert [answer.status_code for answer in answers] == [200] * 6
    lines = admin.get(AUDIT, params={"order": "asc", "actor": admin.key_id}).json()["data"]
    assert [line["action"] for line in lines] == ["key.create", "key.update", "key.rotate", "key.ip_filter", "key.quota", "key.quota", "key.revoke"]
    assert [line["request_id"] for line in lines] == [answer.headers["x-request-id"] for answer in [made, *answers]]
    for line in lines:
        assert set(line) == LINE and line["object"] == "audit_entry" and line["actor_type"] == "key"
        assert (line["target_type"], line["target_id"], line["ip"]) == ("api_key", key, "127.0.0.1")
        assert abs(line["at"] - time.time()) < 60
    assert lines[0]["before"] is None and lines[0]["after"]["name"] == "first" and lines[0]["user_agent"] == "tests/1"
    assert lines[1]["before"]["name"] == "first" and lines[1]["after"]["name"] == "second"
    assert lines[3]["after"]["ip_filter"] == {"allow": ["10.0.0.0/8"], "block": []}
    assert lines[6]["before"]["active"] and not lines[6]["after"]["active"]


def test_the_operators_writes_are_noted_too(admin, engine):
    project = admin.project
    project.endpoint(engine.url, slug="talk")
    project.endpoint(engine.url, slug="talk", max_concurrent=7)
    project.endpoint(engine.url, slug="talk", max_concurrent=7)  # changes nothing
    project.key().revoke()
    user = project.member("member")
    project.set_role(user, "member")  # changes nothing
    lines = admin.get(AUDIT, params={"order": "asc"}).json()["data"]
    assert [line["action"] for line in lines] == [
        "project.create", "key.create", "endpoint.create", "endpoint.update", "key.create", "key.revoke", "member.role"
    ]
    assert {(line["actor_type"], line["actor_id"]) for line in lines} == {("system", "migrate")}
    assert lines[3]["before"]["upstream_max_concurrent"] == 256 and lines[3]["after"]["upstream_max_concurrent"] == 7


def test_a_tier_is_noted_in_the_chain_of_the_platform(usage):
    from harness.tenants import tier

    slug = tier()
    rows = usage.query("SELECT action, project_id, actor_id FROM audit_log WHERE target_type = 'tier' AND target_id = %s", slug)
    assert rows == [{"action": "tier.create", "project_id": None, "actor_id": "migrate"}]


def test_no_key_secret_or_hash_is_in_the_log(admin, usage):
    made = admin.send("POST", KEYS, {"name": "n", "scopes": ["inference"]}).json()
    rotated = admin.send("POST", f"{KEYS}/{made['id']}/rotate", {}).json()
    rows = usage.query("SELECT row_to_json(a)::text AS line FROM audit_log a WHERE project_id = %s", admin.project.id)
    text = "\n".join(row["line"] for row in rows)
    hashes = usage.query("SELECT encode(key_hash, 'hex') AS a, encode(previous_key_hash, 'hex') AS b FROM api_keys WHERE id = %s", made["id"])[0]
    for secret in (made["key"].split("_", 2)[2], rotated["key"].split("_", 2)[2], admin.key, hashes["a"], hashes["b"]):
        assert secret not in text


def test_lines_are_filtered_and_paged(admin):
    for number in range(6):
        admin.send("POST", KEYS, {"name": f"k{number}", "scopes": ["inference"]})
    assert actions(admin, action="key.create", actor=admin.key_id) == ["key.create"] * 6
    assert actions(admin, action="key.create", actor="migrate") == ["key.create"]
    assert actions(admin, action="key.revoke") == actions(admin, actor="user_nobody") == []
    now = int(time.time())
    assert len(actions(admin, **{"from": now - 60, "to": now + 60})) == 8 and actions(admin, **{"from": now + 60}) == actions(admin, to=now - 600) == []
    found, after = [], None
    while True:
        page = admin.get(AUDIT, params={"limit": 3, **({"after": after} if after else {})}).json()
        found += page["data"]
        admin.send("POST", KEYS, {"name": "meanwhile", "scopes": ["inference"]})
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert [line["seq"] for line in found] == list(range(8, 0, -1))
    for newer, older in zip(found, found[1:]):
        assert newer["prev_hash"] == older["hash"]
    before = admin.get(AUDIT, params={"limit": 2, "before": found[4]["id"]}).json()
    assert [line["seq"] for line in before["data"]] == [6, 5] and before["has_more"]


@pytest.mark.parametrize("query,code", [("limit=0", "invalid_value"), ("order=x", "invalid_value"), ("from=yesterday", "invalid_value"), ("from=-1", "invalid_value"), ("to=99999999999999", "invalid_value"), ("after=aud_" + "0" * 24, "invalid_cursor"), ("from=10&to=5", "invalid_value")])
def test_a_bad_query_is_named(admin, query, code):
    param = query.split("&")[-1].split("=")[0]
    expect_error(admin.get(f"{AUDIT}?{query}"), 400, code, param=param)


def test_the_log_needs_scope_management_and_shows_one_project(admin, stack, other_project):
    expect_error(Caller(stack.origin, admin.project.key().key).get(AUDIT), 403, "scope_insufficient")
    expect_error(admin.get(f"/{other_project.slug}{AUDIT}"), 403, "cross_project_access")
    theirs = Caller(stack.origin, other_project.key("management").key).get(AUDIT).json()["data"]
    assert admin.project.id not in json.dumps(theirs)
    expect_error(admin.get(AUDIT, params={"after": theirs[0]["id"]}), 400, "invalid_cursor")


def test_concurrent_writes_leave_one_unbroken_chain(admin):
    answers = together(40, lambda number: admin.send("POST", KEYS, {"name": f"k{number}", "scopes": ["inference"]}), threads=20)
    assert {answer.status_code for answer in answers} == {201}
    verdict = migrate("audit", "verify", "--project", admin.project.slug)
    assert verdict == {"intact": True, "chains": 1, "rows": 42, "faults": []}


def test_a_tampered_row_is_found(admin, usage):
    for number in range(3):
        admin.send("POST", KEYS, {"name": f"k{number}", "scopes": ["inference"]})
    with pytest.raises(Exception, match="append-only"):
        usage.query("UPDATE audit_log SET action = 'key.update' WHERE project_id = %s RETURNING id", admin.project.id)
    # Who owns the tables can switch the trigger off, but not the arithmetic.
    rename(usage, admin.project, "innocent")
    done = subprocess.run([ROOT / ".build" / "release" / "migrate", "audit", "verify", "--project", admin.project.slug], capture_output=True, text=True)
    assert done.returncode == 1
    verdict = json.loads(done.stdout)
    assert not verdict["intact"] and verdict["faults"] == [{"chain": admin.project.id, "seq": 4, "problem": "altered"}]
    rename(usage, admin.project, "k1")
    assert migrate("audit", "verify", "--project", admin.project.slug)["intact"]


def rename(usage, project, name: str):
    """What an intruder does who has the rights of the tables' owner."""
    with psycopg.connect(usage.database_url) as owner:
        owner.execute("ALTER TABLE audit_log DISABLE TRIGGER USER")
        owner.execute("UPDATE audit_log SET after = after || %s WHERE project_id = %s AND seq = 4", [json.dumps({"name": name}), project.id])
        owner.execute("ALTER TABLE audit_log ENABLE TRIGGER USER")
