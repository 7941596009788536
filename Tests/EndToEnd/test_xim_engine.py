"""The engine that an agent starts, its metrics and its health (spec 05 §16, §17, §20)."""

import json
import os
import pathlib
import re
import signal
import socket

import httpx
import pytest
from test_xim_agent import AGENTS, Agent, admin, join_key, listed  # noqa: F401

from harness.together import eventually

ENGINE = pathlib.Path(__file__).resolve().parents[1] / "SupervisionTests" / "scripted-engine"


@pytest.fixture
def agent(admin, tmp_path, stack):
    """An enrolled agent with a model that the scripted engine plays."""
    made = Agent(tmp_path, stack.origin)
    del made.environment["XEROTIER_AGENT_ENGINE_URL"], made.environment["XEROTIER_AGENT_DISABLE_METRICS_SERVER"]
    (tmp_path / "tiny.gguf").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        made.port = free.getsockname()[1]
    made.environment |= {
        "XEROTIER_AGENT_MODEL": str(tmp_path / "tiny.gguf"), "XEROTIER_AGENT_LLAMACPP_PATH": str(ENGINE), "XEROTIER_AGENT_METRICS_PORT": str(made.port),
    }
    assert made.call("enroll", "--join-key", join_key(admin), "--name", "engineer").returncode == 0
    return made


def ask(agent, path: str) -> httpx.Response:
    try:
        return httpx.get(f"http://127.0.0.1:{agent.port}{path}", timeout=10)
    except httpx.TransportError:
        return httpx.Response(599, text="")


def starts(agent) -> list:
    file = agent.home / "starts"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def is_ready(agent) -> bool:
    return 'xerotier_agent_model_state{model_name="tiny",state="ready"} 1' in ask(agent, "/metrics").text


def models(admin) -> dict:
    return {model["model_id"]: model["state"] for model in listed(admin)[0]["models"]}


def is_gone(process: int) -> bool:
    return not pathlib.Path(f"/proc/{process}").exists() or "\nState:\tZ" in pathlib.Path(f"/proc/{process}/status").read_text()


def test_a_killed_engine_is_back_while_the_agent_stays_active(admin, agent):
    with agent.running() as process:
        eventually(lambda: is_ready(agent) and listed(admin)[0]["status"] == "active", 60)
        first = starts(agent)[0]
        assert "LLAMA_API_KEY" in first["environment"] and not any("XEROTIER" in name for name in first["environment"])
        os.kill(first["pid"], signal.SIGKILL)
        eventually(lambda: len(starts(agent)) == 2 and is_ready(agent), 60)
        assert "xerotier_agent_engine_restarts_total 1" in ask(agent, "/metrics").text
        assert listed(admin)[0]["status"] == "active" and process.poll() is None
        process.terminate()
        assert process.wait(60) == 0
    assert is_gone(first["pid"]) and is_gone(starts(agent)[1]["pid"])


@pytest.mark.patient
def test_a_model_is_loading_while_its_engine_is_started_again_and_gone_when_it_is_given_up(admin, agent):
    with agent.running():
        eventually(lambda: is_ready(agent) and models(admin) == {"tiny": "ready"}, 60)
        (agent.home / "tiny.gguf").write_text('{"exit": "damaged"}')
        os.kill(starts(agent)[0]["pid"], signal.SIGKILL)
        eventually(lambda: models(admin) == {"tiny": "loading"}, 10)
        eventually(lambda: len(starts(agent)) == 5, 60)
        assert models(admin) == {"tiny": "loading"}
        eventually(lambda: models(admin) == {}, 30)
        assert listed(admin)[0]["status"] == "active"


def test_a_killed_agent_leaves_no_engine_behind(agent):
    with agent.running() as process:
        eventually(lambda: is_ready(agent), 60)
        process.kill()
        process.wait()
    eventually(lambda: is_gone(starts(agent)[0]["pid"]), 30)


def test_health_is_200_while_connected(admin, agent):
    assert agent.call("status").stdout.splitlines()[-1] == "mesh     the agent does not run"
    with agent.running():
        eventually(lambda: ask(agent, "/healthz").status_code == 200, 60)
        assert agent.call("status").stdout.splitlines()[-1] == "mesh     connected"
        assert ask(agent, "/nothing").status_code == 404
        assert admin.post(f"{AGENTS}/{listed(admin)[0]['id']}/revoke-credentials", {}).status_code == 202
        eventually(lambda: ask(agent, "/healthz").status_code != 200, 30)


LINE = re.compile(r'xerotier_agent_[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?[0-9.]+(e[+-]?[0-9]+)?|# (HELP|TYPE) xerotier_agent_[a-z_]+ .+')


def test_metrics_are_what_prometheus_reads(agent):
    """`promtool check metrics < metrics` says the same where it is installed."""
    with agent.running():
        eventually(lambda: is_ready(agent) and ask(agent, "/healthz").status_code == 200, 60)
        answer = ask(agent, "/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.text.splitlines()
        assert [line for line in lines if not LINE.fullmatch(line)] == []
        types = dict(re.findall(r"# TYPE xerotier_agent_(\S+) (\S+)", answer.text))
        assert types == {
            "num_requests_running": "gauge", "num_requests_waiting": "gauge", "kv_cache_usage": "gauge", "prompt_tokens_total": "counter",
            "generation_tokens_total": "counter", "ttft_seconds": "histogram", "request_seconds": "histogram", "model_state": "gauge",
            "engine_restarts_total": "counter", "mesh_connected": "gauge", "lease_age_seconds": "gauge", "credits_stalled_total": "counter",
        }
        for name in types:
            assert f"# HELP xerotier_agent_{name} " in answer.text
        assert "xerotier_agent_mesh_connected 1" in lines
