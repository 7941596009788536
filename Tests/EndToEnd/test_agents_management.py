"""What managers do with their agents (spec 05 §21): each step is shown, in the agent's history and in the audit log."""

import time

import pytest
from test_agents import AGENTS, Host, admin, host, join_key  # noqa: F401

from harness.calls import Caller, expect_error
from harness.tenants import Project
from harness.together import together

EVENT = {"id", "object", "agent_id", "type", "reason", "actor_id", "created_at"}
STEPS = ["suspend", "activate", "pause", "resume", "drain", "curve-rotate", "revoke-credentials"]


@pytest.fixture
def agent(admin, host):
    return host().enrol(join_key(admin)).json()["agent_id"]


def step(admin, agent: str, name: str, body: dict | None = None):
    return admin.post(f"{AGENTS}/{agent}/{name}", body or {})


def history(admin, agent: str) -> list:
    return [event["type"] for event in admin.get(f"{AGENTS}/{agent}/events", params={"order": "asc"}).json()["data"]]


def audited(usage, admin) -> list:
    lines = usage.query("SELECT action FROM audit_log WHERE project_id = %s AND target_type = 'agent' ORDER BY seq", admin.project.id)
    return [line["action"] for line in lines]


def test_an_agent_is_suspended_activated_drained_and_removed(admin, agent, usage):
    suspended = step(admin, agent, "suspend", {"reason": "night"})
    assert suspended.status_code == 202 and suspended.json()["status"] == "suspended"
    assert admin.get(AGENTS, params={"status": "suspended"}).json()["data"] == [suspended.json()]
    assert step(admin, agent, "pause").json()["status"] == "suspended", "a second time is no error"
    assert step(admin, agent, "resume").json()["status"] == "pending"
    assert step(admin, agent, "activate").json()["status"] == "pending"
    assert step(admin, agent, "drain", {"deadline_s": 5}).status_code == 202
    until = usage.query("SELECT extract(epoch FROM drain_until - now())::float8 AS s FROM agents WHERE id = %s", agent)[0]["s"]
    assert 0 < until <= 5
    events = admin.get(f"{AGENTS}/{agent}/events").json()
    assert all(set(event) == EVENT and event["object"] == "agent.event" and event["agent_id"] == agent for event in events["data"])
    assert [event["type"].removeprefix("agent.") for event in events["data"]] == ["draining", "activated", "activated", "suspended", "suspended", "enrolled"]
    assert [event["reason"] for event in events["data"]][-2:] == ["night", None] and abs(events["data"][0]["created_at"] - time.time()) < 60
    assert admin.send("DELETE", f"{AGENTS}/{agent}", {}).status_code == 200
    expect_error(admin.get(f"{AGENTS}/{agent}/events"), 404, "agent_not_found")
    assert [action.removeprefix("agent.") for action in audited(usage, admin)] == [
        "enroll", "suspend", "suspend", "activate", "activate", "drain", "revoke"]


def test_history_has_pages(admin, agent):
    for name in ("suspend", "activate") * 3:
        step(admin, agent, name)
    whole = admin.get(f"{AGENTS}/{agent}/events").json()["data"]
    assert len(whole) == 7
    first = admin.get(f"{AGENTS}/{agent}/events", params={"limit": 3}).json()
    assert first["data"] == whole[:3] and first["has_more"] and first["last_id"] == whole[2]["id"]
    second = admin.get(f"{AGENTS}/{agent}/events", params={"limit": 10, "after": first["last_id"]}).json()
    assert second["data"] == whole[3:] and not second["has_more"]
    assert admin.get(f"{AGENTS}/{agent}/events", params={"limit": 2, "before": whole[3]["id"]}).json()["data"] == whole[1:3]
    expect_error(admin.get(f"{AGENTS}/{agent}/events", params={"after": "agev_" + "0" * 24}), 400, "invalid_cursor")


def test_an_agent_is_changed(admin, agent, host, usage):
    before = admin.get(f"{AGENTS}/{agent}").json()
    change = {
        "name": "renamed", "description": "the one below the stairs", "max_concurrent_requests": 9, "supported_tiers": ["gpu_nvidia_dedicated"],
        "storage_limit_enabled": True, "storage_limit_bytes": 1 << 40, "region": "eu-west-1",
    }
    after = admin.send("PATCH", f"{AGENTS}/{agent}", change).json()
    assert after == before | change | {"supported_tiers": ["gpu_nvidia_shared"]} == admin.get(f"{AGENTS}/{agent}").json()
    assert after["worker_id"] == before["worker_id"], "its name on the mesh stays"
    kept = admin.send("PATCH", f"{AGENTS}/{agent}", {"description": None, "supported_tiers": None, "storage_limit_enabled": False}).json()
    assert kept == after | {"description": None, "supported_tiers": None, "storage_limit_enabled": False}
    assert host("other").enrol(join_key(admin)).status_code == 201
    expect_error(admin.send("PATCH", f"{AGENTS}/{agent}", {"name": "other"}), 409, "registration_name_taken")
    assert history(admin, agent) == ["agent.enrolled", "agent.updated", "agent.updated"] and audited(usage, admin).count("agent.update") == 2


@pytest.mark.parametrize(
    "body, param",
    [
        ({}, None), ({"nam": "x"}, "nam"), ({"name": "No Name"}, "name"), ({"name": None}, "name"), ({"description": "a\u0001"}, "description"),
        ({"description": "x" * 513}, "description"), ({"max_concurrent_requests": 4097}, "max_concurrent_requests"),
        ({"supported_tiers": ["nope"]}, "supported_tiers"), ({"supported_tiers": []}, "supported_tiers"), ({"storage_limit_bytes": -1}, "storage_limit_bytes"),
        ({"storage_limit_enabled": True}, "storage_limit_bytes"), ({"storage_limit_enabled": 1}, "storage_limit_enabled"), ({"region": "a b"}, "region"),
        ({"region": "x" * 25}, "region"),
    ],
)
def test_bad_changes_are_named_and_change_nothing(admin, agent, body, param):
    before = admin.get(f"{AGENTS}/{agent}").json()
    answer = admin.send("PATCH", f"{AGENTS}/{agent}", body)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param, answer.text
    assert admin.get(f"{AGENTS}/{agent}").json() == before and history(admin, agent) == ["agent.enrolled"]


@pytest.mark.parametrize(
    "name, body, param",
    [
        ("suspend", {"why": "x"}, "why"), ("suspend", {"reason": 1}, "reason"), ("activate", {"reason": ""}, "reason"), ("drain", {"deadline_s": -1}, "deadline_s"),
        ("drain", {"deadline_s": 3601}, "deadline_s"), ("drain", {"deadline": 1}, "deadline"), ("curve-rotate", {"reason": "x" * 257}, "reason"),
    ],
)
def test_bad_steps_are_named_and_not_taken(admin, agent, name, body, param):
    answer = step(admin, agent, name, body)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param, answer.text
    assert history(admin, agent) == ["agent.enrolled"]


def test_who_lost_its_credentials_enrols_again_under_its_name(admin, host, usage):
    machine = host("phoenix")
    enrolled = machine.enrol(join_key(admin)).json()
    agent = enrolled["agent_id"]
    admin.send("PATCH", f"{AGENTS}/{agent}", {"description": "kept"})
    answer = step(admin, agent, "revoke-credentials", {"reason": "lost laptop"})
    assert answer.status_code == 202 and answer.json()["status"] == "revoked"
    expect_error(machine.refresh(agent, enrolled["token"]), 401, "invalid_agent_token")
    expect_error(step(admin, agent, "revoke-credentials"), 409, "conflict")
    for name in ("suspend", "activate", "drain", "curve-rotate"):
        expect_error(step(admin, agent, name), 409, "conflict")
    expect_error(machine.enrol(join_key(admin)), 409, "conflict")
    again = host("phoenix").enrol(join_key(admin)).json()
    assert again["agent_id"] == agent and again["worker_id"] == enrolled["worker_id"]
    shown = admin.get(f"{AGENTS}/{agent}").json()
    assert shown["status"] == "pending" and shown["description"] == "kept"
    assert history(admin, agent) == ["agent.enrolled", "agent.updated", "agent.credentials_revoked", "agent.enrolled"]


def test_a_new_curve_key_is_asked_for_once(admin, agent):
    answers = together(4, lambda _: step(admin, agent, "curve-rotate", {"reason": "yearly"}).status_code)
    assert sorted(answers) == [202, 409, 409, 409]
    assert history(admin, agent) == ["agent.enrolled", "agent.curve_rotation_requested"]


def test_models_are_empty_until_it_has_said_hello(admin, agent):
    assert admin.get(f"{AGENTS}/{agent}/models").json() == {"object": "list", "data": []}


def test_agents_of_another_project_cannot_be_touched(admin, agent, stack):
    stranger = Project.create("strangers", credit=None)
    other = Caller(stack.origin, stranger.key("management").key)
    before = admin.get(f"{AGENTS}/{agent}").json()
    expect_error(other.send("PATCH", f"{AGENTS}/{agent}", {"name": "mine"}), 404, "agent_not_found")
    for name in STEPS:
        expect_error(step(other, agent, name), 404, "agent_not_found")
    for part in ("events", "models"):
        expect_error(other.get(f"{AGENTS}/{agent}/{part}"), 404, "agent_not_found")
    expect_error(step(Caller(stack.origin, admin.project.key("inference").key), agent, "suspend"), 403, "scope_insufficient")
    assert admin.get(f"{AGENTS}/{agent}").json() == before


def test_what_happens_goes_into_the_outbox_with_the_shapes_of_webhooks(admin, agent, usage):
    rows = usage.query("SELECT kind, payload FROM outbox WHERE project_id = %s ORDER BY created_at, kind", admin.project.id)
    found = {row["kind"]: row["payload"] for row in rows}
    assert set(found) == {"join_key.created", "join_key.consumed", "agent.enrolled"}
    for kind in ("join_key.created", "join_key.consumed"):
        assert set(found[kind]) == {"join_key_id", "name", "region", "role", "agent_id", "expires_at"}
    assert found["join_key.created"]["agent_id"] is None and found["join_key.consumed"]["agent_id"] == agent
    assert set(found["agent.enrolled"]) == {"agent_id", "worker_id", "name", "role", "region", "state", "accelerator", "last_seen_at", "reason"}
    assert found["agent.enrolled"]["accelerator"] == "A30" and found["agent.enrolled"]["state"] == "pending"


SETTING = "/v1/settings/approve_new_agents"


@pytest.fixture
def careful(admin):
    """A manager of a project that approves new agents."""
    assert admin.send("PUT", SETTING, {"value": True}).json() == {"object": "project.setting", "key": "approve_new_agents", "value": True}
    return admin


def candidates(admin) -> list:
    return [agent["name"] for agent in admin.get(f"{AGENTS}/candidates").json()["data"]]


def test_a_setting_is_read_and_set_and_others_are_not_there(admin, usage):
    assert admin.get("/v1/settings").json() == {"approve_new_agents": False}
    for _ in range(2):
        assert admin.send("PUT", SETTING, {"value": True}).status_code == 200
    assert admin.get(SETTING).json()["value"] is True and admin.get("/v1/settings").json() == {"approve_new_agents": True}
    for body, param in (({}, "value"), ({"value": "yes"}, "value"), ({"value": None}, "value"), ({"value": True, "more": 1}, "more")):
        answer = admin.send("PUT", SETTING, body)
        assert answer.status_code == 400 and answer.json()["error"]["param"] == param, answer.text
    expect_error(admin.get("/v1/settings/nonsense"), 404, "not_found")
    expect_error(admin.send("PUT", "/v1/settings/nonsense", {"value": True}), 404, "not_found")
    lines = usage.query("SELECT after FROM audit_log WHERE project_id = %s AND action = 'project.set_setting'", admin.project.id)
    assert [line["after"] for line in lines] == [{"approve_new_agents": True}] * 2


def test_a_new_agent_waits_until_it_is_approved_or_rejected(careful, host, usage):
    one, two = (host(name).enrol(join_key(careful)).json()["agent_id"] for name in ("one", "two"))
    assert sorted(candidates(careful)) == ["one", "two"]
    assert {careful.get(f"{AGENTS}/{agent}").json()["status"] for agent in (one, two)} == {"pending"}
    approved = step(careful, one, "approve", {"reason": "ours"})
    assert approved.status_code == 202 and candidates(careful) == ["two"]
    assert step(careful, two, "reject", {"reason": "not ours"}).status_code == 202 and candidates(careful) == []
    expect_error(careful.get(f"{AGENTS}/{two}"), 404, "agent_not_found")
    for agent, status, code in ((one, 409, "conflict"), (two, 404, "agent_not_found")):
        for name in ("approve", "reject"):
            expect_error(step(careful, agent, name), status, code)
    assert history(careful, one) == ["agent.enrolled", "agent.approved"]
    assert audited(usage, careful).count("agent.approve") == audited(usage, careful).count("agent.reject") == 1
    # Who loses its credentials and enrols again may be somebody else.
    assert step(careful, one, "revoke-credentials").status_code == 202
    assert host("one").enrol(join_key(careful)).json()["agent_id"] == one and candidates(careful) == ["one"]


def test_an_agent_of_another_project_is_no_candidate_here(careful, host, stack):
    agent = host("one").enrol(join_key(careful)).json()["agent_id"]
    other = Caller(stack.origin, Project.create("agents-other", credit=None).key("management").key)
    assert candidates(other) == []
    expect_error(step(other, agent, "approve"), 404, "agent_not_found")
    expect_error(step(other, agent, "reject"), 404, "agent_not_found")
    assert candidates(careful) == ["one"]


def test_models_are_not_sent_to_agents_yet(admin, agent):
    answer = admin.post(f"{AGENTS}/{agent}/models", {"model_id": "model_x", "action": "load"})
    expect_error(answer, 400, "invalid_value", param="action")
    expect_error(admin.post(f"{AGENTS}/agt_{'0' * 24}/models", {}), 404, "agent_not_found")
