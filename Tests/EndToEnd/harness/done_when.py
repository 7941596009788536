"""The `Done when` lines of the specification, and the table that says which test proves each."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from .stack import ROOT

TABLE = ROOT / "Tests" / "done-when.tsv"
SPEC_FILES = {
    "01": "01-overview.md",
    "02": "02-inference-api.md",
    "03": "03-stateful-api.md",
    "04": "04-errors-and-limits.md",
    "05": "05-router-and-xim.md",
    "06": "06-features.md",
    "07": "07-models.md",
    "08": "08-platform.md",
}
IN_SCOPE = ["01 §2", "01 §3", "01 §4", "01 §7", "02 §2", "02 §4", "02 §6", "02 §9", "02 §18", "03 §2", "03 §4", "03 §7", "04 §5", "04 §8", "04 §10", "05 §4", "05 §6", "05 §10", "05 §15", "05 §20", "05 §25", "06 §4", "07 §6", "08 §2.4", "08 §3", "08 §4", "08 §5.3", "08 §6", "08 §7", "08 §8", "08 §11"]


@dataclass
class Row:
    number: int
    section: str
    line: str
    proof: str

    @property
    def waits(self) -> str | None:
        return self.proof.removeprefix("waits:").strip() if self.proof.startswith("waits:") else None

    @property
    def tests(self) -> list:
        return [] if self.waits is not None else self.proof.split()


def rows() -> list:
    lines = TABLE.read_text().splitlines()
    assert lines[0].split("\t") == ["section", "line", "test"], lines[0]
    found = []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        assert len(cells) == 3, f"line {number} has {len(cells)} columns"
        found.append(Row(number, *(cell.strip() for cell in cells)))
    return found


def plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def spec_lines(shared: Path) -> dict:
    """Section, the number of the last one before the block -> its `Done when` lines."""
    found = {}
    for number, name in SPEC_FILES.items():
        section, inside = None, False
        for line in (shared / "spec" / name).read_text().splitlines():
            if heading := re.match(r"#{2,3} (\d+(?:\.\d+)?)\.? ", line):
                section, inside = f"{number} §{heading[1]}", False
            elif line.strip() == "Done when:":
                inside = True
            elif inside and line.startswith("- "):
                found.setdefault(section, []).append(line[2:])
            elif inside and line.startswith("  ") and line.strip():
                found[section][-1] += " " + line.strip()
            elif line.strip():
                inside = False
    return {section: [plain(line) for line in lines] for section, lines in found.items()}


def exists(test: str) -> bool:
    """`path::name` of a Python test, or `Target/Suite/test` of a Swift one."""
    return python_test_exists(test) if "::" in test else swift_test_exists(test)


def python_test_exists(test: str) -> bool:
    path, *names = test.split("::")
    file = ROOT / path
    if not file.is_file():
        return False
    body = ast.parse(file.read_text()).body
    for name in names:
        matching = [node for node in body if getattr(node, "name", None) == name.split("[")[0]]
        if not matching:
            return False
        body = getattr(matching[0], "body", [])
    return True


def swift_test_exists(test: str) -> bool:
    parts = test.split("/")
    if len(parts) != 3:
        return False
    target, suite, name = parts
    for file in (ROOT / "Tests" / target).rglob("*.swift"):
        text = file.read_text()
        if re.search(rf"\b(struct|class|enum|extension) {re.escape(suite)}\b", text) and re.search(rf"\bfunc {re.escape(name.split('(')[0])}\b", text):
            return True
    return False
