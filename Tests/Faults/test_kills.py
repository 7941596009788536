"""kill -9 of each process in turn under load: the system is back by itself and no request is counted twice or wrongly."""

import time

import pytest

from harness.load import Load
from harness.together import eventually


def kill_under_load(victim, processes, usage, ledger, names, pause=1.0, threads=12):
    with Load(victim, threads=threads) as load:
        time.sleep(pause)
        for name in names:
            load.note_kill()
            processes.kill(name)
            processes.wait_until_back()
            time.sleep(pause)
        eventually(lambda: load.count("answered") > 50, seconds=60)
    time.sleep(2)  # journals of an outage are replayed
    load.check_rows(usage)
    load.check_tokens(usage)
    ledger.check(victim.project.id, usage.of_project(victim.project.id))
    return load


@pytest.mark.short
@pytest.mark.limit(300)
@pytest.mark.parametrize("name", ["gateway-0", "redis", "postgres", "nginx"])
def test_a_killed_process_comes_back_and_no_row_is_lost_or_doubled(victim, processes, usage, ledger, name):
    kill_under_load(victim, processes, usage, ledger, [name])


@pytest.mark.long
@pytest.mark.limit(1800)
def test_every_process_may_be_killed_in_turn_and_again(victim, processes, usage, ledger):
    names = [name for name in processes.programs if name != "engine"]
    kill_under_load(victim, processes, usage, ledger, names * 3, threads=24)


@pytest.mark.long
@pytest.mark.limit(600)
def test_after_the_death_of_the_supervisor_the_next_start_restores_service(victim, processes, usage):
    with Load(victim) as load:
        time.sleep(1)
        load.note_kill()
        processes.kill("supervisord")
        time.sleep(2)
        load.note_kill()
        processes.bring_up()
        processes.wait_until_back()
        time.sleep(1)
    load.check_rows(usage)


@pytest.mark.short
def test_the_checker_of_these_tests_sees_a_missing_and_a_double_row(victim, usage):
    """A checker that never fails proves nothing."""
    with Load(victim, threads=2) as load:
        time.sleep(1)
    load.check_rows(usage)

    class Missing:
        def of_project(self, project):
            return usage.of_project(project)[1:]

    class Doubled:
        def of_project(self, project):
            rows = usage.of_project(project)
            return rows + rows[:1]

    for broken in (Missing(), Doubled()):
        with pytest.raises(AssertionError):
            load.check_rows(broken)
