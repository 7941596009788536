"""Join keys, which agents enrol with (spec 05 §11, §21)."""

import time

import pytest

from harness.calls import Caller, expect_error
from harness.tenants import Project
from harness.together import together

KEYS = "/v1/management/join-keys"
OBJECT = {
    "id", "object", "name", "prefix", "role", "region", "supported_tiers", "router_addr", "max_concurrent_requests", "state", "created_by", "created_at",
    "expires_at", "consumed_at", "revoked_at", "agent_id",
}


@pytest.fixture
def admin(stack):
    """A key of scope management in a project that nobody else uses."""
    project = Project.create("joiners", credit=None)
    caller = Caller(stack.origin, project.key("management").key)
    caller.project = project
    return caller


def create(admin, **values) -> dict:
    answer = admin.send("POST", KEYS, values)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_key_is_minted_shown_once_listed_revoked_and_noted(admin, usage):
    made = create(admin, name="gpu", region="us-east-1", expires_in_hours=2, supported_tiers=["gpu_nvidia_dedicated", "free"], max_concurrent_requests=8)
    value = made.pop("key")
    assert set(made) == OBJECT and made["object"] == "join_key" and made["state"] == "active" and made["role"] == "inference"
    assert value.startswith(f"xjk_{admin.project.slug}_") and len(value.rsplit(f"{admin.project.slug}_", 1)[1]) == 43
    assert made["prefix"] == value[:12] and abs(made["expires_at"] - time.time() - 7200) < 60
    assert made["supported_tiers"] == ["gpu_nvidia_shared", "free"], "dedicated tiers are stored as shared ones"
    assert admin.get(f"{KEYS}/{made['id']}").json() == made
    usual = create(admin)
    assert abs(usual["expires_at"] - time.time() - 86_400) < 60 and usual["name"] is None and usual["supported_tiers"] is None
    listed = admin.get(KEYS).json()
    assert [line["id"] for line in listed["data"]] == [usual["id"], made["id"]] and listed["data"][1] == made

    gone = admin.send("DELETE", f"{KEYS}/{made['id']}", {})
    assert gone.status_code == 200 and gone.json() == {"id": made["id"], "object": "join_key.deleted", "deleted": True}
    revoked = admin.get(f"{KEYS}/{made['id']}").json()
    assert revoked["state"] == "revoked" and abs(revoked["revoked_at"] - time.time()) < 60
    expect_error(admin.send("DELETE", f"{KEYS}/{made['id']}", {}), 409, "conflict")
    assert [line["id"] for line in admin.get(KEYS, params={"state": "active"}).json()["data"]] == [usual["id"]]
    assert [line["id"] for line in admin.get(KEYS, params={"state": "revoked"}).json()["data"]] == [made["id"]]

    lines = usage.query("SELECT action, target_id, before::text, after::text FROM audit_log WHERE project_id = %s ORDER BY seq", admin.project.id)
    mine = [line for line in lines if line["target_id"] in (made["id"], usual["id"])]
    assert [line["action"] for line in mine] == ["join_key.create", "join_key.create", "join_key.revoke"]
    stored = usage.query("SELECT join_keys::text AS row FROM join_keys WHERE project_id = %s", admin.project.id)
    assert len(stored) == 2 and value not in str(stored) + str(lines) and value not in admin.get(KEYS).text


def test_a_key_ends_with_its_time(admin, usage):
    made = create(admin, expires_in_seconds=300)
    usage.query("UPDATE join_keys SET expires_at = now() WHERE id = %s RETURNING 1", made["id"])
    assert admin.get(f"{KEYS}/{made['id']}").json()["state"] == "expired"
    expect_error(admin.send("DELETE", f"{KEYS}/{made['id']}", {}), 409, "conflict")


@pytest.mark.parametrize(
    "body, param",
    [
        ({"expires_in_hours": 721}, "expires_in_hours"), ({"expires_in_seconds": 299}, "expires_in_seconds"), ({"role": "boss"}, "role"),
        ({"region": "us east"}, "region"), ({"supported_tiers": ["free", "nonsense"]}, "supported_tiers"), ({"expires_in_hour": 1}, "expires_in_hour"),
        ({"router_addr": "mesh:5555"}, "router_addr"), ({"max_concurrent_requests": 4097}, "max_concurrent_requests"), ({"name": " "}, "name"),
    ],
)
def test_bad_members_are_named_and_nothing_is_made(admin, body, param):
    answer = admin.send("POST", KEYS, body)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param, answer.text
    assert admin.get(KEYS).json()["data"] == []


def test_keys_of_others_are_not_found_and_only_managers_have_them(admin, stack):
    made = create(admin)
    other = Project.create("strangers", credit=None)
    stranger = Caller(stack.origin, other.key("management").key)
    for method, body in [("GET", None), ("DELETE", {})]:
        answer = stranger.get(f"{KEYS}/{made['id']}") if method == "GET" else stranger.send(method, f"{KEYS}/{made['id']}", body)
        expect_error(answer, 404, "join_key_not_found")
    assert stranger.get(KEYS).json()["data"] == []
    expect_error(stranger.get(KEYS, params={"after": made["id"]}), 400, "invalid_cursor")
    expect_error(admin.get(f"{KEYS}/key_1"), 404, "join_key_not_found")
    expect_error(Caller(stack.origin, admin.project.key("inference").key).get(KEYS), 403, "scope_insufficient")
    assert admin.get(f"{KEYS}/{made['id']}").json()["state"] == "active"


def test_a_project_has_at_most_a_hundred_live_keys(admin, usage):
    made = create(admin)
    usage.query(
        "INSERT INTO join_keys (id, project_id, prefix, key_hash, role, max_concurrent_requests, expires_at)"
        " SELECT 'jk_' || lpad(n::text, 24, '0'), %s, 'x', sha256(random()::text::bytea), 'inference', 0, now() + interval '1 hour'"
        " FROM generate_series(1, 95) n RETURNING 1",
        admin.project.id)
    answers = together(8, lambda number: admin.send("POST", KEYS, {}).status_code)
    assert sorted(answers) == [201] * 4 + [429] * 4
    expect_error(admin.send("POST", KEYS, {}), 429, "quota_exceeded")
    assert admin.send("DELETE", f"{KEYS}/{made['id']}", {}).status_code == 200
    create(admin)
