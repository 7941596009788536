"""What managers do with agents that serve requests, and what an agent tells of them (spec 05 §15, §20, §21)."""

import re
import socket

import httpx

from harness.agents import mesh  # noqa: F401
from harness.calls import expect_error
from harness.together import eventually
from test_engines import LLAMA

AGENTS = "/v1/management/agents"


def identity(agent) -> str:
    return agent.worker.split(":")[1]


def test_a_suspended_agent_gets_nothing_until_it_is_activated(mesh):
    agent = identity(mesh.agent())
    mesh.wait_until_served()
    assert mesh.admin.post(f"{AGENTS}/{agent}/suspend", {}).status_code == 202
    eventually(lambda: mesh.tenant.chat(script={"text": "hi"}).status_code == 503, 30)
    expect_error(mesh.tenant.chat(script={"text": "hi"}), 503, "no_worker_available")
    assert mesh.admin.post(f"{AGENTS}/{agent}/activate", {}).status_code == 202
    mesh.wait_until_served()


def test_an_agent_counts_requests_and_tokens_and_shows_no_text(mesh):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    agent = mesh.agent()
    agent.stop()
    del agent.environment["XEROTIER_AGENT_DISABLE_METRICS_SERVER"]
    agent.environment["XEROTIER_AGENT_METRICS_PORT"] = str(port)
    agent.start()
    mesh.wait_until_served()
    assert mesh.tenant.stream(script={"tokens": ["a secret ", "of ", "mine"], "delay_ms": 1}).is_done

    def counted() -> dict:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        assert "secret" not in text
        return {name: float(value) for name, value in re.findall(r'xerotier_agent_(\w+)\{model_name="scripted-model"\} (\S+)', text)}

    eventually(lambda: counted().get("request_seconds_count", 0) >= 2 and counted()["num_requests_running"] == 0, 30)
    found = counted()
    assert found["ttft_seconds_count"] >= 2 and found["prompt_tokens_total"] > 0 and found["generation_tokens_total"] > 0

    def models() -> list:
        return [(model["model_id"], model["state"]) for model in mesh.admin.get(f"{AGENTS}/{identity(agent)}").json()["models"]]

    # The mesh notes them with the next heartbeat.
    eventually(lambda: models() == [("scripted-model", "ready")], 30)
    assert "secret" not in agent.text


def test_an_agent_that_waits_for_its_approval_gets_no_work(mesh):
    assert mesh.admin.send("PUT", "/v1/settings/approve_new_agents", {"value": True}).status_code == 200
    agent = identity(mesh.agent())
    # It is there and has the model.
    eventually(lambda: mesh.admin.get(f"{AGENTS}/{agent}").json()["models"] != [], 30)
    expect_error(mesh.tenant.chat(script={"text": "hi"}), 503, "no_worker_available")
    assert mesh.admin.get(f"{AGENTS}/{agent}").json()["status"] == "pending"
    assert mesh.admin.post(f"{AGENTS}/{agent}/approve", {}).status_code == 202
    mesh.wait_until_served()
    assert mesh.admin.get(f"{AGENTS}/{agent}").json()["status"] == "active"


def test_what_an_agents_engine_does_unlike_openai_is_translated(mesh):
    """Its list of models says whose server it is; the agent tells the router, and the endpoint's requests are written for it."""
    engine = mesh.engines[2]
    engine.behave(models=["scripted-model"], model_members=LLAMA)
    try:
        agent = identity(mesh.agent(engine))
        eventually(lambda: mesh.admin.get(f"{AGENTS}/{agent}").json()["models"], 30)
        # A new endpoint is looked at at once, the others each quarter of a minute.
        mesh.tenant = mesh.tenant_of("demo")
        path = f"/v1/endpoints/{mesh.tenant.endpoint.slug}"
        eventually(lambda: mesh.admin.get(path).json()["upstream"]["engine_detected"] == "llama_cpp", 60)
        assert mesh.admin.get(f"{AGENTS}/{agent}").json()["models"] == [
            {
                "model_id": "scripted-model", "version": "latest", "state": "ready", "engine": "llama_cpp", "context_length": 512, "vocabulary": 1000,
                "reads_images": False, "reads_audio": False,
            }
        ]

        def asked() -> dict:
            answer = mesh.tenant.chat(script={"text": "a"}, logprobs=True)
            return engine.record(answer.headers["x-request-id"])["body"]

        # llama.cpp would give all alternatives, and knows no role `developer`.
        eventually(lambda: asked().get("top_logprobs") == 1, 30)
        expect_error(mesh.tenant.chat(script={"text": "a"}, logit_bias={"1000": 1}), 400, "invalid_value")
    finally:
        engine.behave_well()
