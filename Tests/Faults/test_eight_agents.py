"""Eight agents behind nginx: how requests spread over them, who comes first, and who gets none (spec 05 §1-9)."""

import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.agents import binary, most_at_once, router_metric
from harness.calls import expect_error
from harness.fleet import ABROAD, HOME, PLACES, eight, fleet, narrow, worker_of  # noqa: F401
from harness.router import prompt
from harness.shared_agents import check_fair_share
from harness.together import eventually, together

# Eight counts that follow their shares deviate by more than this less than once in 10^6 times.
CHI_SQUARE = 45
SHARPNESS, EPSILON = 16, 0.05


def deviation(counts: Counter, expected: dict) -> float:
    return sum((counts[worker] - share) ** 2 / share for worker, share in expected.items())


def shares(told: dict) -> dict:
    """How probable each worker is, by §4, of the scores that are told."""
    weights = {worker: max(each["score"], 0.001) ** SHARPNESS for worker, each in told.items()}
    return {worker: EPSILON / len(told) + (1 - EPSILON) * weight / sum(weights.values()) for worker, weight in weights.items()}


@pytest.mark.short
@pytest.mark.limit(120)
def test_requests_spread_evenly_over_agents_that_are_alike(fleet):  # noqa: F811
    fleet.router.only("tier_match")
    counts = fleet.counted(fleet.a, 400)
    print(sorted(counts.values()))
    assert set(counts) == set(fleet.workers)
    assert deviation(counts, {worker: 50 for worker in fleet.workers}) < CHI_SQUARE


@pytest.mark.short
@pytest.mark.limit(120)
def test_all_eight_serve_a_hot_prompt_at_saturation(fleet):  # noqa: F811
    """As many at a time as there are places: whoever has no place at the agent that knows it is not kept waiting for one."""
    hot = {"messages": prompt("Now is the winter of our discontent. " * 120, text="x", first_delay_ms=200, cached_tokens=900)}
    first = worker_of(fleet.a.tenant.chat(**hot))
    counts = fleet.counted(fleet.a, 256, 8 * PLACES, **hot)
    print(f"{len(counts)} of 8 agents: {counts}")
    assert set(counts) == set(fleet.workers) and first in counts
    assert all(most_at_once(engine.records()) <= PLACES for engine in fleet.engines[:8])


@pytest.mark.short
@pytest.mark.limit(120)
def test_a_conversation_stays_where_its_beginning_is_while_others_spread(fleet):  # noqa: F811
    """16 conversations of 6 turns. Drawn without regard to their beginnings, one turn of eight would stay."""

    def conversation(number: int) -> list:
        said, workers = f"Conversation {number}. " * 200, []
        turns = prompt(said, text="x")[:1]
        for turn in range(6):
            turns += prompt("", text=f"Answer {turn}.", first_delay_ms=50, cached_tokens=900)[1:]
            answer = fleet.a.tenant.chat(messages=turns)
            workers.append(worker_of(answer))
            turns.append({"role": "assistant", "content": answer.json()["choices"][0]["message"]["content"]})
        return workers

    ways = together(16, conversation)
    stayed = sum(before == after for way in ways for before, after in zip(way, way[1:]))
    print(f"{stayed} of 80 turns stayed; they began on {Counter(way[0] for way in ways)}")
    assert stayed >= 32

    def another(number: int) -> str:
        return worker_of(fleet.a.tenant.chat(messages=prompt(f"Another one, {number}. " * 200, text="x", first_delay_ms=50)))

    begun = together(48, another, 8)
    print(f"others: {Counter(begun)}")
    assert len(set(begun)) >= 4


@pytest.mark.long
@pytest.mark.limit(180)
def test_a_slow_agent_gets_what_the_weights_leave_it(fleet):  # noqa: F811
    slow = fleet.workers[0]
    script = {"text": "x", "first_delay_ms": 20, "by_port": {str(fleet.engines[0].port): {"text": "x", "first_delay_ms": 250}}}
    fleet.router.only("tier_match")
    # Until it is known to be slow.
    fleet.counted(fleet.a, 100, script=script)
    fleet.router.reset()
    counts, expected, calls = Counter(), Counter(), 240
    for _ in range(calls):
        told = fleet.told(script=script)
        expected.update(shares(told))
        counts[worker_of(fleet.a.tenant.chat(script=script))] += 1
    print({worker: (counts[worker], round(share, 1)) for worker, share in expected.items()})
    assert expected[slow] < calls / 8 / 2 and counts[slow] < calls / 8
    # Where few are expected, chance weighs more.
    assert deviation(counts, {worker: share for worker, share in expected.items() if share >= 5}) < CHI_SQUARE


@pytest.mark.long
@pytest.mark.limit(180)
def test_an_agent_whose_engine_fails_gets_nothing_but_a_trial_until_that_succeeds(fleet):  # noqa: F811
    failing, engine = fleet.workers[0], fleet.engines[0]
    fleet.router.only("tier_match")

    def ask_until(requests: int, seconds: float, at_failing: dict) -> list:
        """Until the engine was asked so often; when, in seconds of the engine's clock. Everybody is answered, by another one."""
        script = {"text": "x", "by_port": {str(engine.port): at_failing}}
        end = time.monotonic() + seconds
        while len(engine.records()) < requests:
            assert time.monotonic() < end, f"asked {len(engine.records())} times"
            assert worker_of(fleet.a.tenant.chat(script=script)) != failing
        return [record["started_ms"] / 1_000 for record in engine.records()]

    faults = ask_until(5, 60, {"status": 500})
    assert len(faults) == 5 and fleet.told()[failing]["reason"] == "circuit_open"
    *_, trial = ask_until(6, 40, {"status": 500})
    # From asking to asking: the wait begins after the one, and ends before the other.
    assert trial - faults[-1] >= 10
    slow_trial = {"text": "x", "first_delay_ms": 1_500}
    stopped = threading.Event()

    def ask(_) -> list:
        workers = []
        while not stopped.is_set():
            workers.append(worker_of(fleet.a.tenant.chat(script={"text": "x", "by_port": {str(engine.port): slow_trial}})))
        return workers

    def watch(_) -> list:
        try:
            eventually(lambda: len(engine.records()) == 7, 60)
            time.sleep(1)
            assert len(engine.records()) == 7, "one trial at a time"
            return engine.records()
        finally:
            stopped.set()

    # While one waits for the trial, the other asks on.
    *asked, records = together(3, lambda place: (ask, ask, watch)[place](place))
    assert records[-1]["started_ms"] / 1_000 - trial >= 20, "a trial that fails doubles the wait"
    assert sorted(workers.count(failing) for workers in asked) == [0, 1]
    eventually(lambda: fleet.told()[failing]["eligible"], 10)
    assert set(fleet.counted(fleet.a, 200)) == set(fleet.workers)


@pytest.mark.short
@pytest.mark.limit(120)
def test_a_region_pin_is_kept_at_saturation_too(fleet):  # noqa: F811
    fleet.router.only("tier_match")
    for region in (HOME, ABROAD):
        assert set(fleet.counted(fleet.a, 100, headers={"X-Xerotier-Region": region})) == fleet.in_region(region)
    expect_error(fleet.a.tenant.chat("hi", headers={"X-Xerotier-Region": "ap-south-1"}), 503, "no_worker_available")

    pinned = {"script": {"text": "x"}, "headers": {"X-Xerotier-Region": ABROAD}}
    with ThreadPoolExecutor(1) as pool:
        with fleet.held(fleet.a, 2 * PLACES, region=ABROAD) as held:
            assert held == {worker: PLACES for worker in fleet.in_region(ABROAD)}
            waiting = pool.submit(fleet.a.tenant.chat, **pinned)
            eventually(lambda: router_metric("router_queue_depth") == 1, 9)
            # Others find a place meanwhile.
            assert set(fleet.counted(fleet.a, 50)) == fleet.in_region(HOME) and not waiting.done()
        assert worker_of(waiting.result()) in fleet.in_region(ABROAD)


@pytest.mark.long
@pytest.mark.limit(240)
def test_own_agents_come_first_and_serve_nobody_else(fleet):  # noqa: F811
    a, b = fleet.a, fleet.b
    own = [a.agent(engine, concurrent=2) for engine in fleet.engines[8:]]
    workers = {agent.worker for agent in own}
    try:
        eventually(lambda: set(fleet.counted(a, 20, 2)) == workers, 30)
        assert set(fleet.counted(a, 200, 2)) == workers
        assert set(fleet.counted(b, 400)) <= set(fleet.workers)
        with fleet.held(a, 4) as held:
            assert held == {worker: 2 for worker in workers}
            assert set(fleet.counted(a, 100)) <= set(fleet.workers)
        eventually(lambda: set(fleet.counted(a, 20, 2)) == workers, 10)
    finally:
        for agent in own:
            agent.stop()
    assert set(fleet.counted(a, 50)) <= set(fleet.workers)


@pytest.mark.long
@pytest.mark.limit(240)
def test_a_flood_of_one_project_does_not_double_the_wait_of_another(narrow, usage):  # noqa: F811
    check_fair_share([narrow.a, narrow.b], usage, 44, 6, 600, narrow.engines[:8])


@pytest.mark.short
@pytest.mark.limit(120)
def test_those_of_higher_priority_start_first_however_many_wait(narrow, usage):  # noqa: F811
    """Eight of the usual tier of service wait for eight places, and eight of a higher one that come after them are served before."""
    tenant = narrow.a.tenant

    def ask(service_tier: str) -> str:
        answer = tenant.chat(script={"text": "x", "first_delay_ms": 100}, service_tier=service_tier)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-request-id"]

    with ThreadPoolExecutor(16) as pool:
        with narrow.held(narrow.a, 8):
            usual = [pool.submit(ask, "default") for _ in range(8)]
            eventually(lambda: router_metric("router_queue_depth") == 8, 9)
            urgent = [pool.submit(ask, "priority") for _ in range(8)]
            eventually(lambda: router_metric("router_queue_depth") == 16, 9)
        usual, urgent = ([call.result() for call in calls] for calls in (usual, urgent))
    # A place may be given once more, where its agent has not yet heard that it is free.
    stored = "SELECT request_id, decided_at FROM routing_decisions WHERE request_id = ANY(%s) AND attempt = 1"
    rows = eventually(lambda: (found := usage.query(stored, usual + urgent)) and len(found) == 16 and found, 30)
    decided = {row["request_id"]: row["decided_at"] for row in rows}
    assert max(decided[each] for each in urgent) <= min(decided[each] for each in usual)


@pytest.mark.long
@pytest.mark.limit(600)
def test_ten_thousand_stored_choices_come_out_the_same_again(fleet, stack, usage):  # noqa: F811
    """Of as many prompts that are warm somewhere as cold ones, with dice and all signals as they usually are. The router stores a hundred a second."""
    texts = [f"Prompt {number}. " * 60 for number in range(40)]

    def stored() -> int:
        return usage.query("SELECT count(*) AS stored FROM routing_decisions")[0]["stored"]

    begun, end = stored(), time.monotonic() + 500
    while stored() < begun + 10_000 and time.monotonic() < end:
        together(1_000, lambda place: fleet.a.tenant.chat(messages=prompt(texts[place % 40] if place % 2 else f"{place}", text="x")), 8)
    again = subprocess.run([binary(stack).parent / "mesh", "replay", "--most", "10000"], capture_output=True, text=True, timeout=120)
    print(again.stdout.strip())
    assert again.returncode == 0 and "10000 decisions, 10000 the same again" in again.stdout, again.stdout[-2_000:] + again.stderr
    rows = usage.query("SELECT worker_id, explored FROM routing_decisions ORDER BY id DESC LIMIT 10000")
    assert {row["worker_id"] for row in rows} >= set(fleet.workers) and any(row["explored"] for row in rows)
