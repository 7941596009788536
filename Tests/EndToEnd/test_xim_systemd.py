"""The service of the agent (spec 05 §23), as systemd itself reads it. What it does there: `systemctl start xerotier-xim-agent` on a machine with systemd."""

import pathlib
import re
import shutil
import subprocess

import pytest

UNIT = pathlib.Path(__file__).resolve().parents[2] / "infra" / "systemd" / "xerotier-xim-agent.service"
pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here: systemd-analyze verify and security show it")


def analyze(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def unit(tmp_path) -> pathlib.Path:
    """The unit with a program that is here."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/xerotier-xim-agent", "/bin/true"))
    return copy


def test_systemd_finds_nothing_wrong_with_the_unit(unit):
    done = analyze("verify", "--man=no", str(unit))
    said = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert done.returncode == 0 and said == [], done.stderr


def test_the_units_exposure_is_below_five(unit):
    done = analyze("security", "--offline=yes", "--no-pager", str(unit))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found and float(found[1]) < 5.0, done.stdout + done.stderr


def test_the_unit_is_as_the_specification_has_it():
    lines = UNIT.read_text().splitlines()
    for line in [
        "Type=notify", "WatchdogSec=60", "Restart=on-failure", "RestartSec=5", "StartLimitBurst=5", "StartLimitIntervalSec=60", "TimeoutStopSec=330",
        "LimitNOFILE=65536", "LimitNPROC=4096", "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "User=xerotier",
        "Group=xerotier", "EnvironmentFile=/etc/xerotier/xim-agent.env", "StateDirectory=xerotier",
    ]:
        assert line in lines, line
