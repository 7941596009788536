"""Agents of the operator, which serve all projects of their tiers (spec 05 §2, §9, §22)."""

import os

import pytest
from test_engines import LLAMA

from harness.agents import Mesh
from harness.calls import expect_error
from harness.shared_agents import TIER, check_fair_share, projects, shared_agent  # noqa: F401
from harness.tenants import MigrateFailed, migrate
from harness.together import eventually

AGENTS = "/v1/management/agents"


def test_projects_of_a_tier_share_an_agent_that_none_of_them_is_shown(shared_agent, projects, usage):  # noqa: F811
    agent = shared_agent()
    for project in projects:
        project.wait_until_served()
        answer = project.tenant.chat(script={"text": "shared"})
        assert answer.status_code == 200 and answer.headers["x-xerotier-worker-id"] == agent.worker
        row = usage.one(answer.headers["x-request-id"])
        price = usage.query("SELECT price_nano_per_mtok FROM service_tiers WHERE slug = %s", TIER)[0]["price_nano_per_mtok"]
        assert price > 0 and row["cost_nano"] == (row["input_tokens"] + row["output_tokens"]) * price // 1_000_000 and row["worker_id"] == agent.worker
        # What it serves, and for whom, is the operator's business.
        assert project.admin.get(AGENTS).json()["data"] == []
        assert project.admin.get("/v1/management/join-keys").json()["data"] == []
        for path in ("", "/events", "/models"):
            expect_error(project.admin.get(f"{AGENTS}/{agent.id}{path}"), 404, "agent_not_found")
        for step in ("suspend", "activate", "drain", "revoke-credentials", "curve-rotate", "approve"):
            expect_error(project.admin.post(f"{AGENTS}/{agent.id}/{step}", {}), 404, "agent_not_found")
        expect_error(project.admin.send("DELETE", f"{AGENTS}/{agent.id}", {}), 404, "agent_not_found")
    eventually(lambda: agent.shown["status"] == "active", 30)
    assert (agent.shown["supported_tiers"], agent.shown["worker_id"]) == ([TIER], agent.worker)


def test_the_operator_suspends_activates_drains_and_removes_a_shared_agent(shared_agent, projects, usage):  # noqa: F811
    agent, project = shared_agent(), projects[0]
    project.wait_until_served()
    assert agent.set("suspend")["status"] == "suspended"
    eventually(lambda: project.tenant.chat(script={"text": "hi"}).status_code == 503, 30)
    agent.set("activate")
    project.wait_until_served()
    agent.set("drain")
    assert agent.process.wait(60) == 0
    agent.set("remove")
    assert agent.id not in [each["id"] for each in migrate("agent", "list")]
    with pytest.raises(MigrateFailed):
        agent.set("activate")
    lines = usage.query("SELECT action, project_id, after IS NULL AS is_gone FROM audit_log WHERE target_id = %s ORDER BY seq", agent.id)
    assert [(line["action"], line["is_gone"]) for line in lines] == [
        ("agent.enroll", False), ("agent.suspend", False), ("agent.activate", False), ("agent.drain", False), ("agent.revoke", True)]
    assert {line["project_id"] for line in lines} == {None}


def test_an_agent_without_a_list_of_tiers_serves_those_of_what_it_says_models_run_on(shared_agent, stack, engines, tmp_path, monkeypatch, usage):  # noqa: F811
    query = "--query-gpu=index,name,memory.total,driver_version --format=csv,noheader,nounits"
    cards, driver = tmp_path / "cards", tmp_path / "bin" / "nvidia-smi"
    driver.parent.mkdir()
    driver.write_text(f'#!/bin/sh\n[ "$*" = "{query}" ] && cat "{cards}"\n')
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{driver.parent}:{os.environ['PATH']}")
    cards.write_text("0, NVIDIA A30, 24576, 535.161.08\n")
    engines[2].behave(models=["scripted-model"], model_members=LLAMA)
    agent = shared_agent(engines[2], tier=None)
    shown = {"kind": "cuda", "name": "NVIDIA A30", "memory_bytes": 24576 << 20, "index": 0, "driver": "535.161.08"}
    assert (agent.shown["accelerators"], agent.shown["supported_tiers"]) == ([shown], None)
    eventually(lambda: agent.shown["models"], 10)
    project = Mesh(stack, tmp_path / "project", engines, "gpu_nvidia_shared")
    other = project.tenant_of("gpu_intel_shared")

    def engine_of(tenant):
        return usage.query("SELECT engine_report->>'engine' AS engine FROM endpoints WHERE id = %s", tenant.endpoint.id)[0]["engine"]

    project.wait_until_served()
    assert project.tenant.chat(script={"text": "x"}).headers["x-xerotier-worker-id"] == agent.worker
    expect_error(other.chat("hi"), 503, "no_worker_available")
    assert (engine_of(project.tenant), engine_of(other)) == ("llama_cpp", None), "it says nothing of endpoints that it does not serve"
    cards.unlink()
    agent.stop()
    agent.start()
    eventually(lambda: [device["kind"] for device in agent.shown["accelerators"]] == ["cpu"], 30)
    eventually(lambda: project.tenant.chat("hi").status_code == 503, 30)


def test_a_join_key_of_a_shared_agent_can_be_revoked_and_names_known_tiers():
    key = migrate("join-key", "create", "--tiers", TIER)
    assert key["key"].startswith("xjk_shared_") and key["state"] == "active"
    assert key["id"] in [each["id"] for each in migrate("join-key", "list")]
    assert migrate("join-key", "revoke", "--id", key["id"])["state"] == "revoked"
    with pytest.raises(MigrateFailed, match="revoked already"):
        migrate("join-key", "revoke", "--id", key["id"])
    assert migrate("join-key", "create", "--tiers", "gpu_nvidia_dedicated")["supported_tiers"] == ["gpu_nvidia_shared"]
    with pytest.raises(MigrateFailed, match="no service tier"):
        migrate("join-key", "create", "--tiers", "gold")


def test_a_projects_own_agent_comes_first_and_the_shared_one_when_it_is_gone(shared_agent, projects):  # noqa: F811
    common = shared_agent()
    first, second = projects
    first.wait_until_served()
    own = first.agent(first.engines[1])
    eventually(lambda: first.tenant.chat(script={"text": "hi"}).headers.get("x-xerotier-worker-id") == own.worker, 30)
    answers = [first.tenant.chat(script={"text": "hi"}) for _ in range(20)]
    assert {answer.headers["x-xerotier-worker-id"] for answer in answers} == {own.worker}
    assert second.tenant.chat(script={"text": "hi"}).headers["x-xerotier-worker-id"] == common.worker
    assert own.stop() == 0
    answer = first.tenant.chat(script={"text": "hi"})
    assert answer.status_code == 200 and answer.headers["x-xerotier-worker-id"] == common.worker


def test_the_tokens_of_a_projects_own_machines_cost_nothing(stack, engines, tmp_path, usage):
    """Without a list of tiers an agent is for the tier of its project's own machines."""
    own = Mesh(stack, tmp_path, engines, "self_hosted")
    try:
        own.tiers = None
        agent = own.agent()
        own.wait_until_served()
        answer = own.tenant.chat(script={"text": "mine"})
        row = usage.one(answer.headers["x-request-id"])
        assert row["worker_id"] == agent.worker and row["output_tokens"] > 0 and row["cost_nano"] == 0
    finally:
        own.end()


def test_a_flood_of_one_project_does_not_double_the_wait_of_another(shared_agent, projects, usage):  # noqa: F811
    """44 calls of A, which fill places and queue, and 2 of B at a time, on 8 places; `make faults` does it with 200."""
    shared_agent(concurrent=8)
    for project in projects:
        project.wait_until_served()
    check_fair_share(projects, usage, 44, 6, 600)
