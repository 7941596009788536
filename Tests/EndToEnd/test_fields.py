"""The table of fields in Sources/Inference/FIELDS.md is complete, and true as far as a table can be held against tests."""

import re
from dataclasses import dataclass

import pytest
import yaml

from harness import done_when
from harness.stack import ROOT, shared_folder

TABLE = ROOT / "Sources" / "Inference" / "FIELDS.md"
KINDS = {"implemented", "passed through", "refused"}
TEST = re.compile(r"`(test_[a-z_]+\.py::[a-z_0-9]+)`")


@dataclass
class Row:
    field: str
    kind: str
    tests: list
    on_the_default_engine: list


def rows() -> list:
    found = []
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| `"):
            assert len(cells) == 5, line
            found.append(Row(cells[0].strip("`"), cells[1], TEST.findall(cells[3]), TEST.findall(cells[4])))
    return found


ROWS = rows()


def members(schemas: dict, schema: dict) -> set:
    schema = schemas[schema["$ref"].split("/")[-1]] if "$ref" in schema else schema
    found = set(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        found |= members(schemas, part)
    return found


def test_each_field_has_one_row():
    names = [row.field for row in ROWS]
    assert len(names) == len(set(names)) > 30


def test_every_field_of_openais_description_has_a_row():
    described = yaml.load((shared_folder() / "data" / "openapi.yaml").read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schemas = described["components"]["schemas"]
    fields = members(schemas, schemas["CreateChatCompletionRequest"])
    assert "messages" in fields and "top_logprobs" in fields
    assert fields - {row.field for row in ROWS} == set()


def test_every_field_of_the_specification_has_a_row(shared):
    text = (shared / "spec" / "02-inference-api.md").read_text().split("### 2. Chat completions")[1].split("Response:")[0]
    fields = {name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])}
    assert len(fields) > 25
    assert fields - {row.field for row in ROWS} == set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.field)
def test_a_row_says_what_happens_and_names_tests_that_exist(row):
    assert row.kind in KINDS
    assert row.tests, "no test"
    if row.kind != "refused":
        assert row.on_the_default_engine, "no test on the default engine"
    for test in row.tests + row.on_the_default_engine:
        assert done_when.exists(f"Tests/EndToEnd/{test}"), f"{test} is not there"


def test_tests_named_beside_the_table_exist():
    for test in TEST.findall(TABLE.read_text()):
        assert done_when.exists(f"Tests/EndToEnd/{test}"), test


# Fields whose passing through no other test shows.

def sent(tenant, engine, **values) -> dict:
    answer = tenant.chat(script={"text": "a"}, **values)
    assert answer.status_code == 200, answer.text
    return engine.record(answer.headers["x-request-id"])["body"]


@pytest.mark.parametrize("name,value", [("user", "u" * 512), ("safety_identifier", "✓"), ("prompt_cache_key", "k" * 64)])
def test_words_about_the_user_reach_the_engine_unchanged(tenant, engine, name, value):
    assert sent(tenant, engine, **{name: value})[name] == value


@pytest.mark.parametrize("name,value", [("moderation", {"model": "m"}), ("prompt_cache_options", {"a": [1]}), ("prompt_cache_retention", "24h")])
def test_members_that_openai_added_later_reach_the_engine_unchanged(tenant, engine, name, value):
    assert sent(tenant, engine, **{name: value})[name] == value


@pytest.mark.parametrize("name,value", [("metadata", {"a": "b"}), ("store", True), ("service_tier", "priority")])
def test_what_is_for_us_is_not_sent_on(tenant, engine, name, value):
    assert name not in sent(tenant, engine, **{name: value})


def test_false_switches_off_what_is_not_there(tenant, engine):
    assert "x_memory" not in sent(tenant, engine, x_memory=False)
