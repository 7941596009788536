"""Models list and retrieve (spec 02 §16)."""

from urllib.parse import quote

import pytest

from harness.calls import expect_error


@pytest.fixture(scope="module")
def shop(make_tenant, engines):
    """Three endpoints, two of them on one model; one asleep."""
    tenant = make_tenant(slug="alpha", model="vendor/model-a")
    tenant.project.endpoint(engines[0].url, slug="beta", model="vendor/model-a")
    tenant.project.endpoint(engines[0].url, slug="gamma", model="model-b")
    tenant.project.endpoint(engines[0].url, slug="asleep", model="model-c", status="inactive")
    return tenant


def ids(answer):
    return [entry["id"] for entry in answer.json()["data"]]


def test_host_and_project_list_every_active_endpoint_sorted_and_once(shop):
    host = shop.caller.get("/v1/models")
    assert host.json()["object"] == "list"
    found = ids(host)
    assert {"alpha", "beta", "gamma"} <= set(found) and "asleep" not in found
    assert found == sorted(found) and len(found) == len(set(found))
    assert ids(shop.caller.get(f"/{shop.project.slug}/v1/models")) == found


def test_entries_are_owned_by_the_project(shop):
    for entry in shop.caller.get("/v1/models").json()["data"]:
        assert entry["object"] == "model" and entry["owned_by"] == shop.project.slug
        assert entry["created"] > 1_700_000_000
        assert not [name for name in entry if name.startswith("x_")]


def test_an_endpoint_lists_what_it_serves(shop):
    answer = shop.caller.get(f"/{shop.project.slug}/beta/v1/models")
    assert len(ids(answer)) == 1
    assert ids(answer)[0] in ("beta", "vendor/model-a")


def test_models_of_other_projects_are_not_shown(shop, tenant):
    assert "talk" not in ids(shop.caller.get("/v1/models"))


@pytest.mark.parametrize("name", ["alpha", "vendor/model-a", "model-b"])
def test_a_model_is_found_by_slug_or_name(shop, name):
    for written in {name, quote(name, safe="")}:
        answer = shop.caller.get(f"/v1/models/{written}")
        assert answer.status_code == 200
        assert answer.json()["owned_by"] == shop.project.slug
        assert answer.json()["id"] == name


@pytest.mark.parametrize("name", ["no-such", "vendor/no-such", "mdl_000000000000000000000000", "mdl_x", "a%20b", "%ff", "talk"])
def test_an_unknown_model_is_404(shop, name):
    expect_error(shop.caller.get(f"/v1/models/{name}"), 404, "model_not_found")


def test_a_retrieve_works_on_every_family(shop):
    for prefix in ("", f"/{shop.project.slug}", f"/{shop.project.id}", f"/{shop.project.slug}/alpha"):
        assert shop.caller.get(f"{prefix}/v1/models/vendor/model-a").status_code == 200


def test_the_extended_list_pages(shop):
    answer = shop.caller.get("/v1/models?extended=true&limit=2", schema="none")
    body = answer.json()
    assert (body["total"] >= 3, body["limit"], body["offset"], len(body["data"])) == (True, 2, 0, 2)
    entry = next(entry for entry in body["data"] if entry["id"] == "alpha")
    assert entry["x_endpoint"] and entry["x_model"]
    assert (entry["task_mode"], entry["tier"]) == ("generate", "demo")
    rest = shop.caller.get("/v1/models?extended=true&limit=100&offset=2", schema="none").json()
    assert len(rest["data"]) == body["total"] - 2


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "offset=-1", "offset=100001"])
def test_paging_out_of_range_is_refused(shop, query):
    answer = shop.caller.get(f"/v1/models?extended=true&{query}", schema="none")
    expect_error(answer, 400, "invalid_value", param=query.split("=")[0])


def test_listing_needs_the_inference_scope(shop):
    answer = shop.using(key=shop.project.key("management")).caller.get("/v1/models")
    expect_error(answer, 403, "scope_insufficient")


def test_the_sdk_lists_and_retrieves(client, tenant):
    assert "talk" in [model.id for model in client.models.list()]
    assert client.models.retrieve("talk").id == "talk"


def test_a_pinned_key_sees_one_model(shop):
    pinned = shop.using(key=shop.project.key(endpoint="beta"))
    for path in ("/v1/models", f"/{shop.project.slug}/v1/models", f"/{shop.project.slug}/beta/v1/models"):
        assert len(ids(pinned.caller.get(path))) == 1
