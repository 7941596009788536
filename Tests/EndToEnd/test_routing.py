"""What the choice of an agent depends on, and how it is explained (spec 05 §2-5, §7; 07 §6)."""

import re
import signal
import subprocess

import pytest

from harness.agents import Mesh, binary, router_metric
from harness.calls import Caller, expect_error, messages, script
from harness.raw import RawCall
from harness.router import EXPLAIN, SIGNALS, RouterFile, explanation, prompt, signals
from harness.together import eventually
from test_engines import LLAMA

REGION, PIN = "eu-west-1", {"X-Xerotier-Region": "eu-west-1"}
IDLE = {"vllm:num_requests_waiting": 0}
HERE = {"X-Xerotier-Region": "local"}
WARM = {"text": "yes", "cached_tokens": 900}


@pytest.fixture(scope="module")
def both(stack, engines, tmp_path_factory):
    """A project with two agents in two regions, and who they are."""
    mesh = Mesh(stack, tmp_path_factory.mktemp("routing"), engines, "demo")
    for engine in engines:
        engine.behave(gauges=IDLE)
    near, far = mesh.agent(engines[0]), mesh.agent(engines[1], region=REGION, tiers=["free", *mesh.tiers])
    mesh.wait_until_served()
    eventually(lambda: len(eligible(mesh)) == 2, 30)
    yield mesh, near, far
    mesh.end()


@pytest.fixture
def mesh(both):
    """Nothing of the test before it is left."""
    mesh = both[0]
    for engine in mesh.engines:
        engine.behave_well()
        engine.behave(gauges=IDLE)
    yield mesh
    mesh.admin.send("PATCH", f"/v1/endpoints/{mesh.tenant.endpoint.slug}", {"placement": None})
    eventually(lambda: len(eligible(mesh)) == 2, 30)
    for engine in mesh.engines:
        engine.behave_well()


@pytest.fixture
def pair(both) -> tuple:
    return both[1].worker, both[2].worker, both[2]


def eligible(mesh, headers=None, **values) -> list:
    return [worker["worker_id"] for worker in explanation(mesh, headers, **values)["data"] if worker["eligible"]]


def worker_of(answer) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["x-xerotier-worker-id"]


def workers_of(mesh, count: int, **values) -> list:
    return [worker_of(mesh.tenant.chat(**values)) for _ in range(count)]


def test_explain_tells_thirteen_values_of_each_worker_and_dispatches_nothing(mesh, pair, ledger, usage):
    near, far, _ = pair
    rows = len(usage.of_project(mesh.project.id))
    for engine in mesh.engines[:2]:
        engine.control("DELETE", "/__records")
    told = explanation(mesh, messages=prompt("a" * 600, text="hi"), service_tier="priority")
    assert set(told) == {
        "object", "endpoint", "model", "tier", "service_tier", "prompt_blocks", "selection_sharpness", "epsilon", "weights", "data"}
    assert (told["object"], told["endpoint"], told["service_tier"]) == ("router.explanation", mesh.tenant.endpoint.slug, "priority")
    assert told["prompt_blocks"] == 2 and list(told["weights"]) == SIGNALS and abs(sum(told["weights"].values()) - 1) < 1e-4
    assert {worker["worker_id"] for worker in told["data"]} == {near, far}
    for worker in told["data"]:
        assert set(worker) == {"worker_id", "region", "shared", "eligible", "reason", "score", "probability", "signals"}
        assert list(worker["signals"]) == SIGNALS and all(0 <= value <= 1 for value in worker["signals"].values())
        assert worker["eligible"] is True and worker["reason"] is None and worker["shared"] is False
        score = sum(told["weights"][name] * value for name, value in worker["signals"].items())
        assert abs(score - worker["score"]) < 1e-4
    assert abs(sum(worker["probability"] for worker in told["data"]) - 1) < 1e-4
    assert [record for engine in mesh.engines[:2] for record in engine.records()] == []
    assert len(usage.of_project(mesh.project.id)) == rows
    assert [hold for hold in ledger.open_holds(mesh.project.id) if hold["kind"] == "request"] == []


def test_explain_names_the_reason_and_refuses_what_a_chat_refuses(mesh, pair, tenant):
    near, far, _ = pair
    told = {worker["worker_id"]: worker for worker in explanation(mesh, PIN)["data"]}
    assert (told[near]["eligible"], told[near]["reason"], told[near]["probability"]) == (False, "region", 0) and told[far]["eligible"]
    body = mesh.tenant.body("hi")
    expect_error(mesh.admin.send("POST", EXPLAIN, body | {"messages": []}), 400, "invalid_messages", param="messages")
    expect_error(mesh.admin.send("POST", EXPLAIN, body | {"model": "nothing"}), 404, "model_not_found")
    expect_error(mesh.admin.send("POST", EXPLAIN, body, headers={"X-SLO-TTFT-Ms": "0"}), 400, "invalid_value", param="X-SLO-TTFT-Ms")
    assert mesh.tenant.caller.send("POST", EXPLAIN, body).status_code == 403, "the scope is management"
    manager = Caller(mesh.stack.origin, tenant.project.key("management").key)
    expect_error(manager.send("POST", EXPLAIN, body), 404, "model_not_found")
    expect_error(manager.send("POST", EXPLAIN, tenant.body("hi")), 400, "unsupported_value", param="model")


def test_a_region_pin_is_never_left(mesh, pair):
    near, far, _ = pair
    for headers, worker in ((PIN, far), (HERE, near)):
        assert set(workers_of(mesh, 10, headers=headers)) == {worker}
    expect_error(mesh.tenant.chat("hi", headers={"X-Xerotier-Region": "ap-south-1"}), 503, "no_worker_available")
    for bad in ("two words", "a:b", "x" * 25):
        expect_error(mesh.tenant.chat("hi", headers={"X-Xerotier-Region": bad}), 400, "invalid_value", param="X-Xerotier-Region")


def test_an_upstream_of_ones_own_is_in_no_region(tenant):
    expect_error(tenant.chat("hi", headers=PIN), 503, "no_worker_available", param="X-Xerotier-Region")


def test_a_prompt_goes_where_it_fits_and_a_picture_where_it_is_seen(mesh, pair, engines):
    engines[2].behave(models=["scripted-model"], model_members=LLAMA)
    blind = mesh.agent(engines[2])
    try:
        short = {"messages": messages(script(text="x"))}
        long = {"messages": messages("word " * 1000)}
        picture = {"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]}
        eventually(lambda: blind.worker in eligible(mesh, **short), 30)

        def reason(asked) -> str:
            return next(worker["reason"] for worker in explanation(mesh, **asked)["data"] if worker["worker_id"] == blind.worker)

        # What an agent says of its engine comes with its next sign of life.
        eventually(lambda: reason(long) == "context", 30)
        assert reason(short | {"max_tokens": 600}) == "context" and reason(picture) == "features"
        for asked in (long, short | {"max_tokens": 600}, picture):
            assert set(eligible(mesh, **asked)) == set(pair[:2])
            assert blind.worker not in workers_of(mesh, 6, **asked)
    finally:
        blind.stop()
        engines[2].behave_well()


def test_a_placement_names_agents_and_regions(mesh, pair):
    near, far, _ = pair
    path = f"/v1/endpoints/{mesh.tenant.endpoint.slug}"

    def place(**placement):
        answer = mesh.admin.send("PATCH", path, {"placement": placement})
        assert answer.status_code == 200, answer.text
        return answer.json()["placement"]

    agent = far.split(":")[1]
    assert place(agents=[agent]) == {"agents": [agent], "regions": [], "allow_shared_fallback": False}
    eventually(lambda: eligible(mesh) == [far], 10)
    assert set(workers_of(mesh, 5)) == {far}
    expect_error(mesh.tenant.chat("hi", headers=HERE), 503, "no_worker_available")
    assert place(agents=[], regions=["local"]) == {"agents": [], "regions": ["local"], "allow_shared_fallback": False}
    eventually(lambda: eligible(mesh) == [near], 10)
    expect_error(mesh.tenant.chat("hi", headers=PIN), 503, "no_worker_available")
    for bad, param in (
        ({"agents": ["agt_1"]}, "placement.agents[0]"), ({"agents": ["agt_" + "0" * 24]}, "placement.agents[0]"),
        ({"regions": ["a b"]}, "placement.regions[0]"), ({"regions": ["a", "a"]}, "placement.regions[1]"),
        ({"allow_shared_fallback": 1}, "placement.allow_shared_fallback"), ({"regions": "a"}, "placement.regions"),
    ):
        expect_error(mesh.admin.send("PATCH", path, {"placement": bad}), 400, "invalid_value", "invalid_type", param=param)
    assert mesh.admin.send("PATCH", path, {"placement": None}).json()["placement"]["regions"] == []


def test_a_repeated_prompt_goes_where_it_is_warm_until_its_engine_is_restarted(mesh, pair, stack):
    near, far, _ = pair
    router = RouterFile(stack, mesh)
    text = "All work and no play makes Jack a dull boy. " * 100
    try:
        router.only("prefix_match", epsilon=0)
        values = {"messages": prompt(text, **WARM)}
        first = worker_of(mesh.tenant.chat(**values))
        other = {near: far, far: near}[first]
        found = signals(mesh, "prefix_match", **values)
        assert found[first] > 0.9 and found[other] == 0
        assert workers_of(mesh, 20, **values).count(first) >= 18
        off = explanation(mesh, {"X-Xerotier-Prefix-Cache": "off"}, **values)
        assert off["prompt_blocks"] == 0 and {worker["signals"]["prefix_match"] for worker in off["data"]} == {0.5}
        assert signals(mesh, "prefix_match", **values | {"prompt_cache_key": "another"})[first] == 0
        for engine in mesh.engines[:2]:
            engine.behave(models=[])
        eventually(lambda: eligible(mesh) == [], 30)
        for engine in mesh.engines[:2]:
            engine.behave_well()
        eventually(lambda: len(eligible(mesh)) == 2, 30)
        eventually(lambda: set(signals(mesh, "prefix_match", **values).values()) == {0}, 10)
    finally:
        router.reset()


@pytest.mark.parametrize("stream", [False, True])
def test_the_next_turn_is_warm_where_the_answer_came_from(mesh, pair, stream):
    near, _, _ = pair
    said = "".join(f"word {number} of many, " for number in range(120 + stream))
    turn = prompt(f"Say it ({stream}). " * 40, text=said, cached_tokens=900)
    ask = mesh.tenant.stream if stream else mesh.tenant.chat
    ask(headers=HERE, messages=turn, max_tokens=4_000)
    following = [*turn, {"role": "assistant", "content": said}, {"role": "user", "content": "And now?"}]
    blocks = explanation(mesh, messages=following)["prompt_blocks"]
    assert blocks > 8
    # All but what is new in the last turn.
    eventually(lambda: signals(mesh, "prefix_match", messages=following)[near] > (blocks - 1) / blocks - 0.05, 10)


def test_an_engine_that_finds_nothing_in_its_cache_is_warm_no_more(mesh, pair):
    near, _, _ = pair
    text = "The quick brown fox jumps over the lazy dog. " * 100
    warm, cold = {"messages": prompt(text, **WARM)}, {"messages": prompt(text, text="no", cached_tokens=0)}
    for _ in range(2):
        mesh.tenant.chat(headers=HERE, **warm)
    assert signals(mesh, "prefix_match", **warm)[near] > 0.9
    mesh.tenant.chat(headers=HERE, **cold)
    assert signals(mesh, "prefix_match", **warm)[near] < 0.2


class Drive:
    """For each signal, what makes the agent near by the better one."""

    def __init__(self, mesh, near, far, agent):
        self.mesh, self.near, self.far, self.agent = mesh, near, far, agent
        self.values, self.headers, self.undo = {}, {}, []

    def chat(self, headers, **script):
        return self.mesh.tenant.stream(headers=headers, script={"text": "a b c d e f", **script})

    def prefix_match(self):
        self.values = {"messages": prompt("To be or not to be, that is the question. " * 50, **WARM)}
        self.mesh.tenant.chat(headers=HERE, **self.values)

    def latency_ewma(self):
        for _ in range(2):
            self.chat(HERE)
            self.chat(PIN, first_delay_ms=300)

    def kv_pressure(self):
        self.gauge("vllm:kv_cache_usage_perc", 0.1, 0.9)

    def queue_depth(self):
        self.gauge("vllm:num_requests_waiting", 0, 8)

    def gauge(self, name, near, far):
        for engine, value in zip(self.mesh.engines, (near, far)):
            engine.behave(gauges={name: value})
        eventually(lambda: self.differ(self.gauge_signal), 30)

    def busy(self):
        held = RawCall(self.mesh.stack.http_address)
        body = self.mesh.tenant.body(script={"tokens": ["abc "], "repeat": 5_000, "delay_ms": 20, "obey_max_tokens": False}, stream=True)
        held.post_json("/v1/chat/completions", body, self.mesh.tenant.key.key, f"X-Xerotier-Region: {REGION}\r\n")
        held.read_until(b"abc ")
        self.undo.append(held.close)

    free_concurrency = busy

    def fair_share(self):
        # Another project in the pool makes half of it ours.
        stranger = Mesh(self.mesh.stack, self.mesh.folder / "stranger", self.mesh.engines, self.mesh.tiers[0])
        stranger.tenant.chat("hi")
        self.busy()

    def error_rate(self):
        self.chat(HERE)
        answer = self.mesh.tenant.chat(headers=PIN, script={"text": "x", "status": 500})
        assert answer.status_code >= 500

    def region_proximity(self):
        pass

    tier_match = region_proximity

    def slo_headroom(self):
        self.headers = {"X-SLO-TTFT-Ms": "100"}
        self.latency_ewma()

    def heartbeat_freshness(self):
        self.agent.signal(signal.SIGSTOP)
        self.undo.append(lambda: self.agent.signal(signal.SIGCONT))
        level = [0]

        def is_older():
            # A new gauge makes the other one give a sign of life.
            level[0] = (level[0] + 10) % 100
            self.mesh.engines[0].behave(gauges={"vllm:num_requests_waiting": level[0]})
            return self.differ("heartbeat_freshness", by=0.08)

        eventually(is_older, 60, every=0.5)

    def throughput_tps(self):
        for _ in range(5):
            self.chat(HERE)
            self.chat(PIN, delay_ms=30)

    def differ(self, name, by=0.1) -> bool:
        found = signals(self.mesh, name, self.headers, **self.values)
        return found[self.near] - found[self.far] >= by


# What drives `model_affinity` is an engine that an agent starts again.
DRIVEN = [name for name in SIGNALS if name != "model_affinity"]


@pytest.mark.parametrize("name", DRIVEN)
def test_the_choice_follows_the_signal_that_alone_counts(mesh, pair, stack, name):
    near, far, agent = pair
    router, drive = RouterFile(stack, mesh), Drive(mesh, near, far, agent)
    drive.gauge_signal = name
    try:
        getattr(drive, name)()
        found = signals(mesh, name, drive.headers, **drive.values)
        assert drive.differ(name, 0.05), found
        assert found[near] != 0.5 or found[far] != 0.5
        router.only(name, epsilon=0, selection_sharpness=64)
        assert workers_of(mesh, 10, headers=drive.headers, **(drive.values or {"script": {"text": "x"}})).count(near) >= 9, found
    finally:
        for undo in drive.undo:
            undo()
        router.reset()


def test_agents_that_have_the_model_loaded_are_preferred(mesh, pair, stack):
    """Of an agent whose engine is started again the weights are on its disk; it refuses what comes all the same."""
    near, far, _ = pair
    starter, router, pin = mesh.engine_agent(region="ap-south-1"), RouterFile(stack, mesh), {"X-Xerotier-Region": "ap-south-1"}
    name = starter.worker

    def affinities() -> list:
        told = signals(mesh, "model_affinity")
        return [told.get(worker) for worker in (near, far, name)]

    def refused() -> float:
        return router_metric("router_rejects_total", 'code="not_loaded"')

    try:
        router.only("model_affinity", epsilon=0, selection_sharpness=64)
        eventually(lambda: affinities() == [1, 1, 1], 60)
        assert name in workers_of(mesh, 40)
        starter.load_within(600)
        starter.kill_engine()
        eventually(lambda: affinities() == [1, 1, 0.4], 10)
        before = refused()
        assert name not in workers_of(mesh, 20) and refused() == before
        alone = mesh.tenant.chat("hi", headers=pin)
        expect_error(alone, 503, "no_worker_available")
        assert int(alone.headers["retry-after"]) > 0 and refused() == before + 1
        assert eligible(mesh, pin) == [name], "the next one is refused by the agent too"
        starter.load_within(0)
        starter.kill_engine()
        eventually(lambda: affinities() == [1, 1, 1], 30)
        assert workers_of(mesh, 3, headers=pin) == [name] * 3
    finally:
        starter.end()
        router.reset()


def test_a_routers_bad_file_changes_nothing(mesh, pair, stack):
    router = RouterFile(stack, mesh)
    try:
        router.only("region_proximity")
        for bad in ("weights: {speed: 1}", "weights: {prefix_match: -1}", "epsilon: 2", "selection_sharpness: 0", "surprise: 1", "- a", "weights: {"):
            before = router.refusals
            router.write(bad)
            eventually(lambda: router.refusals > before, 10)
        assert explanation(mesh)["weights"]["region_proximity"] == 1
    finally:
        router.reset()


def test_the_metadata_says_how_a_chat_was_routed(mesh, pair):
    _, far, _ = pair
    answer = mesh.tenant.chat("hi", headers=PIN | {"X-Xerotier-Events": "on"}).json()
    routing = answer["x_metadata"]["routing"]
    assert routing["worker_id"] == far and routing["region"] == REGION and routing["attempts"] == 1
    assert routing["explored"] is False and 0 < routing["score"] <= 1 and routing["decision_ms"] > 0


def test_the_same_prompt_of_another_project_matches_nothing(mesh, pair, usage, engines, tmp_path):
    near, _, _ = pair
    values = {"messages": prompt("It was the best of times, it was the worst of times. " * 80, **WARM)}
    mesh.tenant.chat(headers=HERE, **values)
    assert signals(mesh, "prefix_match", **values)[near] > 0.9
    agent = near.split(":")[1]
    stranger = Mesh(mesh.stack, tmp_path / "stranger", engines, mesh.tiers[0])

    def give(owner):
        usage.query("UPDATE agents SET project_id = %s WHERE id = %s RETURNING id", owner.project.id, agent)
        eventually(lambda: near in signals(owner, "prefix_match", **values), 30)

    # The router keeps what it knows of the agent, which is the stranger's for a while.
    give(stranger)
    try:
        assert signals(stranger, "prefix_match", **values) == {near: 0}
        assert near not in signals(mesh, "prefix_match", **values)
    finally:
        give(mesh)
    assert signals(mesh, "prefix_match", **values)[near] > 0.9


def test_stored_choices_come_out_the_same_again(mesh, pair, stack, usage):
    answers = [mesh.tenant.chat("hi") for _ in range(20)]
    stored = "SELECT request_id, attempt, worker_id, explored, jsonb_array_length(candidates) AS candidates FROM routing_decisions WHERE request_id = ANY(%s)"
    ids = [answer.headers["x-request-id"] for answer in answers]
    rows = eventually(lambda: (found := usage.query(stored, ids)) and len(found) == 20 and found, 30)
    chosen = {answer.headers["x-request-id"]: worker_of(answer) for answer in answers}
    assert {row["request_id"]: row["worker_id"] for row in rows} == chosen
    assert {(row["attempt"], row["candidates"]) for row in rows} == {(1, 2)}
    again = subprocess.run([binary(stack).parent / "mesh", "replay"], capture_output=True, text=True, timeout=60)
    assert again.returncode == 0 and re.search(r"^(\d+) decisions, \1 the same again$", again.stdout, re.M), again.stdout + again.stderr
    # What was drawn from is what it depends on.
    usage.query("UPDATE routing_decisions SET seed = seed + 1, candidates = '[[\"x:agt_1\", 0.5, true]]' WHERE request_id = %s RETURNING 1", ids[0])
    other = subprocess.run([binary(stack).parent / "mesh", "replay", "--request", ids[0]], capture_output=True, text=True, timeout=60)
    assert other.returncode == 1 and "1 decisions, 0 the same again" in other.stdout
    usage.query("DELETE FROM routing_decisions WHERE request_id = %s RETURNING 1", ids[0])
