"""Checks answers against OpenAI's own description (data/openapi.yaml), closed: an unknown member is a failure."""

import copy
import hashlib
import pickle
import threading
from functools import cache

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from .deviations import ADDED_MEMBERS, NULLS_OF_TEXT_COMPLETIONS, TEXT_COMPLETION_CHUNK
from .stack import ROOT, shared_folder

NAME = "urn:openai"
COMBINED = ("allOf", "anyOf", "oneOf", "$ref")


def converted(node):
    """An OpenAPI 3.1 schema as JSON Schema 2020-12: `nullable`, which OpenAI still writes, becomes a union with null."""
    if isinstance(node, list):
        return [converted(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {name: converted(value) for name, value in node.items() if name not in ("nullable", "example", "examples", "x-oaiMeta")}
    properties = made.get("properties")
    if isinstance(properties, dict) and "additionalProperties" not in made and not any(word in made for word in COMBINED):
        made["additionalProperties"] = False
    return {"anyOf": [made, {"type": "null"}]} if node.get("nullable") is True else made


def with_deviations(schemas: dict) -> dict:
    for name, members in ADDED_MEMBERS.items():
        schemas[name]["properties"].update(members)
    whole = schemas["CreateCompletionResponse"]
    for path in NULLS_OF_TEXT_COMPLETIONS:
        allow_null(whole, path)
    chunk = schemas["CreateCompletionResponse, as a chunk"] = copy.deepcopy(whole)
    for path in TEXT_COMPLETION_CHUNK:
        allow_null(chunk, path)
    return schemas


def allow_null(schema: dict, path: list):
    for name in path[:-1]:
        schema = schema[name]
    schema[path[-1]] = {"anyOf": [schema[path[-1]], {"type": "null"}]}


def load() -> dict:
    source = (shared_folder() / "data" / "openapi.yaml").read_bytes()
    digest = hashlib.sha256(source + repr((ADDED_MEMBERS, NULLS_OF_TEXT_COMPLETIONS, TEXT_COMPLETION_CHUNK)).encode() + open(__file__, "rb").read()).hexdigest()[:16]
    kept = ROOT / ".run" / f"openapi-{digest}.pickle"
    if kept.is_file():
        return pickle.loads(kept.read_bytes())
    schemas = converted(yaml.load(source, Loader=yaml.CSafeLoader)["components"]["schemas"])
    document = {"components": {"schemas": with_deviations(schemas)}}
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(pickle.dumps(document))
    return document


# Many threads check their first answers at the same moment; each of them would read the whole description.
loading = threading.Lock()


@cache
def validator(schema: str) -> Draft202012Validator:
    resource = Resource.from_contents(load(), default_specification=DRAFT202012)
    registry = Registry().with_resource(NAME, resource)
    return Draft202012Validator({"$ref": f"{NAME}#/components/schemas/{schema}"}, registry=registry)


def check(schema: str, value):
    """Fails with every difference between the value and OpenAI's schema of this name."""
    with loading:
        found = validator(schema)
    errors = [f"{'/'.join(map(str, error.absolute_path)) or '(top)'}: {error.message[:300]}" for error in found.iter_errors(value)]
    assert not errors, f"not a {schema}: {'; '.join(errors)} in {str(value)[:1000]}"
