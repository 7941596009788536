"""Every `Done when` line of the parts in scope is proved by a test, or waits for something that is named."""

import pytest

from harness import done_when

ROWS = done_when.rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"line {row.number}: {row.section}")
def test_a_row_names_existing_tests_or_what_it_waits_for(row):
    if row.waits is not None:
        assert len(row.waits) > 3, "it waits for nothing"
        return
    assert row.tests, "neither a test nor a wait"
    missing = [test for test in row.tests if not done_when.exists(test)]
    assert missing == []


def test_every_line_of_the_specification_has_a_row(shared):
    lines = done_when.spec_lines(shared)
    for section in done_when.IN_SCOPE:
        assert section in lines, f"{section} has no Done when"
        for line in lines[section]:
            if section == "02 §18" and "models.list" not in line:
                continue  # §18 closes the block of §14 to §18, of which only §16 is built
            quoted = [row for row in ROWS if row.section == section and done_when.plain(row.line) in line]
            assert quoted, f"{section}: no row for {line!r}"


def test_every_row_quotes_a_line_of_the_specification(shared):
    lines = done_when.spec_lines(shared)
    for row in ROWS:
        assert any(done_when.plain(row.line) in line for line in lines.get(row.section, [])), f"line {row.number}: {row.line!r} is not in {row.section}"
