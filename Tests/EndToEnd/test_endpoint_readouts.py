"""What can be read about endpoints beside themselves: limits, stats, a test of them; the tables of tiers and codes (spec 07 §6, 06 §4, 04 §2)."""

import re

import pytest

from harness.calls import expect_error, messages, script
from harness.tenants import MigrateFailed, Project, migrate, tier
from harness.together import eventually, together
from test_endpoints import ENDPOINTS, Owner, body, rows


@pytest.fixture(scope="module")
def owner(stack) -> Owner:
    return Owner(stack, Project.create("epread"))


@pytest.fixture(scope="module")
def there(owner, engines) -> dict:
    return owner.active(engines[0], slug="there", tier="gpu_amd_shared", limits={"requests_per_minute": 100, "max_tokens": 50}, context_length=4096)


def test_the_limits_say_what_they_are_and_where_they_come_from(owner, there):
    shown = owner.get(f"{ENDPOINTS}/there/limits").json()
    assert (shown["object"], shown["endpoint"], shown["tier"]) == ("endpoint.limits", "there", "gpu_amd_shared")
    limits = {each["name"]: (each["value"], each["source"], each["code"]) for each in shown["limits"]}
    assert limits == {
        "requests_per_minute": (100, "endpoint", "rate_limit_exceeded"), "tokens_per_minute": (500000, "tier", "rate_limit_exceeded"),
        "max_concurrent": (50, "tier", "concurrency_exceeded"), "request_timeout_seconds": (300, "tier", "gateway_timeout"),
        "idle_stream_seconds": (600, "tier", "stream_idle_timeout"), "max_tokens": (50, "endpoint", None),
        "max_prompt_tokens": (None, "endpoint", "context_length_exceeded"), "context_length": (4096, "model", "context_length_exceeded"),
        "upstream.max_concurrent": (32, "upstream", "capacity_exceeded"), "queue_wait_seconds": (10, "tier", "capacity_exceeded"),
    }
    key = owner.project.key("inference,management")
    assert owner.send("PUT", f"/v1/management/api-keys/{key.id}/quota", {"requests": 9, "window_seconds": 60, "tokens": 5000}).status_code == 200
    limited = {each["name"]: each for each in eventually(lambda: more_than_ten(owner, key.key))}
    assert limited["quota.requests"] == {"name": "quota.requests", "value": 9, "source": "key", "code": "quota_exceeded"}
    assert limited["quota.tokens"]["value"] == 5000
    for tail in ("limits", "stats"):
        expect_error(owner.get(f"{ENDPOINTS}/no-such/{tail}"), 404, "endpoint_not_found")


def more_than_ten(owner, key):
    limits = owner.get(f"{ENDPOINTS}/there/limits", key=key).json()["limits"]
    return limits if len(limits) > 10 else None


def test_stats_count_what_was_accepted(owner, engine):
    made = owner.active(engine)
    slug = made["slug"]
    eventually(lambda: owner.chat(slug, script(text="a b c", usage={"prompt_tokens": 100, "completion_tokens": 3, "total_tokens": 103, "prompt_tokens_details": {"cached_tokens": 25}})).status_code == 200)
    owner.chat(slug, script(status=500))
    stats = owner.get(f"{ENDPOINTS}/{slug}/stats", params={"window": "24h"}).json()
    assert set(stats) == {"object", "endpoint", "window", "requests", "rps", "tokens", "ttft_ms", "latency_ms", "errors", "error_ratio", "cache_hit_ratio", "workers"}
    assert (stats["object"], stats["endpoint"], stats["window"], stats["requests"]) == ("endpoint.stats", slug, "24h", 2)
    assert stats["tokens"] == {"input": 100, "cached": 25, "output": 3, "reasoning": 0}
    assert stats["errors"] == {"client": 0, "agent": 1, "router": 0, "policy": 0}
    assert (stats["error_ratio"], stats["cache_hit_ratio"]) == (0.5, 0.25) and stats["latency_ms"]["p50"] >= 0 and stats["workers"] == {"ready": 1, "loading": 0}
    assert owner.get(f"{ENDPOINTS}/{slug}/stats").json()["window"] == "1h"
    expect_error(owner.get(f"{ENDPOINTS}/{slug}/stats", params={"window": "1y"}), 400, "invalid_value", param="window")


def test_a_test_is_a_small_chat_that_says_how_it_was_routed_and_is_charged(owner, there, engine, usage):
    answer = owner.call("POST", f"{ENDPOINTS}/there/test")
    assert answer.status_code == 200, answer.text
    tested = answer.json()
    assert set(tested) == {"object", "id", "endpoint", "generation", "completion"} and tested["object"] == "endpoint.test"
    assert (tested["id"], tested["endpoint"], tested["generation"]) == (there["id"], "there", there["generation"])
    metadata = tested["completion"]["x_metadata"]
    assert metadata["routing"]["worker_id"] == f"upstream:{there['id']}" and metadata["routing"]["attempts"] == 1
    assert answer.headers["x-xerotier-worker-id"] == f"upstream:{there['id']}"
    assert engine.record(answer.headers["x-request-id"])["body"]["max_tokens"] == 16
    row = usage.one(answer.headers["x-request-id"])
    assert row["endpoint_id"] == there["id"] and row["cost_nano"] > 0
    engine.behave(all_status=401)
    expect_error(owner.call("POST", f"{ENDPOINTS}/there/test"), 502, "upstream_error")
    engine.behave_well()
    expect_error(owner.send("POST", f"{ENDPOINTS}/there/test", {"prompt": "x"}), 400, "unsupported_parameter", param="prompt")
    expect_error(owner.call("POST", f"{ENDPOINTS}/no-such/test"), 404, "endpoint_not_found")


@pytest.mark.parametrize("surface", ["embeddings", "rerank", "score"])
def test_a_surface_of_another_mode_is_a_mismatch(owner, there, surface):
    """On the endpoint that generates: an embed call is 400, on every family."""
    value = {"model": "there", "input": "hello"}
    for path in (f"/v1/{surface}", f"/{owner.project.slug}/v1/{surface}", f"/{owner.project.slug}/there/v1/{surface}"):
        error = expect_error(owner.post(path, value), 400, "task_mode_mismatch", param="model")
        assert "generate" in error["message"]
    expect_error(owner.post(f"/v1/{surface}", {**value, "model": "no-such"}), 404, "model_not_found")


def test_a_chat_on_an_embed_endpoint_is_a_mismatch(owner, engine):
    made = owner.active(engine, task_mode="embed")
    answer = eventually(lambda: (got := owner.chat(made["slug"])).status_code != 503 and got)
    expect_error(answer, 400, "task_mode_mismatch", param="model")
    expect_error(owner.call("POST", f"{ENDPOINTS}/{made['slug']}/test"), 400, "task_mode_mismatch")


def test_the_tiers_are_shown_to_everybody(owner):
    answer = owner.get("/v1/service-tiers", key=None)
    assert answer.status_code == 200
    tiers = {each["id"]: each for each in answer.json()["data"]}
    free = tiers["free"]
    assert free == {
        "id": "free", "object": "service_tier", "usd_per_million_tokens": "0", "usd_per_node_730h": "0", "tokens_per_minute": 10000, "requests_per_minute": 64,
        "burst_floor": 3, "request_timeout_seconds": 30, "idle_stream_seconds": 120, "max_concurrent": 5, "queue_wait_seconds": 5, "batch_width": 0,
        "max_model_bytes": 48_000_000_000, "max_endpoints": 2, "max_models": 2, "tokens_per_month": 100000, "priority": 10, "hot_retention_seconds": 3600,
        "cold_retention_seconds": 86400, "preemptable": True,
    }
    assert tiers["gpu_nvidia_shared"]["usd_per_million_tokens"] == "1.25" and tiers["self_hosted"]["usd_per_node_730h"] == "20"
    assert tiers["self_hosted"]["tokens_per_minute"] is None


def test_the_operator_sets_all_of_a_tier_and_is_audited_as_system(owner, usage):
    slug = tier(max_endpoints=7, max_models="none", tokens_per_month=1000, node_price_nano=5, max_model_bytes="none", preemptable="true", hot_retention_s=60, cold_retention_s=120)
    shown = eventually(lambda: next((each for each in owner.get("/v1/service-tiers", key=None).json()["data"] if each["id"] == slug), None))
    assert (shown["max_endpoints"], shown["max_models"], shown["tokens_per_month"], shown["preemptable"]) == (7, None, 1000, True)
    assert (shown["usd_per_node_730h"], shown["hot_retention_seconds"], shown["cold_retention_seconds"]) == ("0.000000005", 60, 120)
    migrate("tier", "set", "--slug", slug, "--price-nano-per-mtok", 7)
    for option, value in (("--max-endpoints", 0), ("--tokens-per-month", 0), ("--node-price-nano", -1), ("--hot-retention-s", -1)):
        with pytest.raises(MigrateFailed, match=option):
            migrate("tier", "set", "--slug", slug, f"{option}={value}")
    lines = usage.query("SELECT actor_type, actor_id, action, before, after FROM audit_log WHERE target_type = 'tier' AND target_id = %s ORDER BY seq", slug)
    assert [(line["actor_type"], line["actor_id"], line["action"]) for line in lines] == [("system", "migrate", "tier.create"), ("system", "migrate", "tier.update")]
    assert lines[1]["after"]["price_nano_per_mtok"] == 7 and lines[1]["before"]["price_nano_per_mtok"] == 1_000_000_000


def test_the_codes_are_those_of_the_specification(owner, shared):
    answer = owner.get("/v1/errors", key=None)
    assert answer.status_code == 200 and "max-age" in answer.headers["cache-control"]
    listed = {each["code"]: each for each in answer.json()["data"]}
    assert len(listed) == len(answer.json()["data"]) == len({each["number"] for each in listed.values()})
    table = (shared / "spec" / "04-errors-and-limits.md").read_text().split("### 2. Codes")[1].split("### 3.")[0]
    found = {}
    for line in table.splitlines():
        if not re.match(r"\| (\d{3}|in-stream)", line):
            continue
        names = []
        for name, first in re.findall(r"`([a-z0-9_]+)`|(\d{5})", line.split("|", 4)[4]):
            if name:
                names.append(name)
            elif names:
                found |= {name: int(first) + number for number, name in enumerate(names)}
                names = []
    assert len(found) > 180
    assert {code: each["number"] for code, each in listed.items()} == found
    for each in listed.values():
        assert set(each) == {"id", "object", "code", "number", "status", "type", "fault", "retry"}
        assert each["retry"] in ("no", "fix", "yes") and each["fault"] in ("client", "agent", "router", "policy")
        assert each["status"] == (200 if each["number"] >= 60000 else each["number"] // 100)
    assert listed["tool_not_mcp_visible"]["type"] == listed["arguments_too_large"]["type"] == "validation_error"
    assert (listed["quota_exceeded"]["type"], listed["capacity_exceeded"]["type"], listed["csrf_failed"]["type"]) == ("quota_error", "service_error", "forbidden_error")


def test_a_month_of_a_tier_has_so_many_tokens(stack, engine, usage):
    few = Owner(stack, Project.create("epmonth"))
    slug = tier(tokens_per_month=100, price_nano_per_mtok=0)
    made = few.active(engine, tier=slug)
    said = script(text="a", usage={"prompt_tokens": 60, "completion_tokens": 1, "total_tokens": 61})
    answers = []

    def refused():
        answers.append(few.chat(made["slug"], said))
        return answers[-1].status_code == 429 and answers[-1]

    error = expect_error(eventually(refused, every=0.6), 429, "quota_exceeded", param="tokens_per_month")
    assert "100 tokens" in error["message"] and slug in error["message"]
    # Another tier goes on.
    other = few.active(engine, tier="demo")
    assert eventually(lambda: few.chat(other["slug"], said).status_code == 200)


def test_each_refusal_names_the_limit(stack, engine, usage):
    """Every 402, 403 and 429 that a limit or a restriction makes says which, in its message and in `param`."""
    named = Owner(stack, Project.create("epnames"))
    rated = named.active(engine, limits={"requests_per_minute": 1})["slug"]
    tokens = named.active(engine, limits={"tokens_per_minute": 300})["slug"]
    single = named.active(engine, limits={"max_concurrent": 1})["slug"]

    def first(answers, code):
        return next(answer.json()["error"] for answer in answers if answer.status_code != 200 and answer.json()["error"]["code"] == code)

    eventually(lambda: all(named.chat(slug, max_tokens=1).status_code != 503 for slug in (rated, tokens, single)))
    error = first([named.chat(rated, max_tokens=1) for _ in range(15)], "rate_limit_exceeded")
    assert error["param"] == "requests_per_minute" and "1 requests per minute" in error["message"] and "endpoint" in error["message"]
    held = together(4, lambda number: named.chat(tokens, script(text="a", first_delay_ms=1500), max_tokens=256))
    error = first(held, "rate_limit_exceeded")
    assert error["param"] == "tokens_per_minute" and "300 tokens per minute" in error["message"]
    error = first(together(2, lambda number: named.chat(single, script(text="a", first_delay_ms=800))), "concurrency_exceeded")
    assert error["param"] == "max_concurrent" and "1 requests at once" in error["message"]
    key = named.project.key()
    named.send("PUT", f"/v1/management/api-keys/{key.id}/quota", {"requests": 1, "window_seconds": 60})
    answer = eventually(lambda: (got := named.chat(single, key=key.key)).status_code == 429 and got)
    error = expect_error(answer, 429, "quota_exceeded")
    assert error["param"] == "quota.requests" and "quota of 1 requests" in error["message"]
    poor = Owner(stack, Project.create("eppoor", credit=None))
    unpaid = poor.active(engine)["slug"]
    answer = eventually(lambda: (got := poor.chat(unpaid)).status_code != 503 and got)
    assert "credits" in expect_error(answer, 402, "insufficient_credits", param="credits")["message"]
