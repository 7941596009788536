"""A rolling restart of the gateways loses no request."""

import time

import pytest

from harness.load import Load


@pytest.mark.short
@pytest.mark.limit(300)
def test_a_rolling_restart_under_load_fails_no_request(victim, processes, usage):
    before = {name: processes.programs[name] for name in processes.gateways}
    with Load(victim, threads=16, tokens=40, delay_ms=30) as load:
        time.sleep(1)
        processes.restart_gateways()
        time.sleep(1)
    after = {name: processes.programs[name] for name in before}
    assert not set(before.values()) & set(after.values()), "a gateway was not restarted"
    assert [outcome for outcome in load.outcomes if outcome.kind != "answered"] == []
    load.check_rows(usage)


@pytest.mark.long
@pytest.mark.limit(900)
def test_five_rolling_restarts_with_long_and_short_requests_fail_none(victim, processes, usage):
    with Load(victim, threads=8, tokens=200, delay_ms=30) as long_ones, Load(victim, threads=16, tokens=2, delay_ms=1) as short_ones:
        for _ in range(5):
            processes.restart_gateways()
    for load in (long_ones, short_ones):
        assert [outcome for outcome in load.outcomes if outcome.kind != "answered"] == []
