"""Keys that stand in a page, where everybody can read them (spec 08 §3)."""

import pytest

from harness.calls import Caller, expect_error
from harness.tenants import Project

KEYS = "/v1/management/api-keys"
QUOTA = {"requests": 5, "window_seconds": 60}


@pytest.fixture(scope="module")
def manager(stack, engines):
    """A caller of scope management, with an endpoint for browsers, `shop`, and one for servers, `plain`."""
    project = Project.create("browser")
    caller = Caller(stack.origin, project.key("management,inference").key)
    caller.project, caller.shop, caller.plain = project, project.endpoint(engines[0].url), project.endpoint(engines[0].url)
    answer = caller.send("PATCH", f"/v1/endpoints/{caller.shop.slug}", {"visibility": "public_key"})
    assert answer.status_code == 200 and answer.json()["visibility"] == "public_key", answer.text
    return caller


def make(manager, **values):
    return manager.send("POST", KEYS, {"name": "page", "scopes": ["inference"], "endpoint": manager.shop.slug, **values})


def test_a_key_for_browsers_needs_a_quota(manager):
    before = [each["id"] for each in manager.get(KEYS, params={"limit": 100}).json()["data"]]
    for name in (manager.shop.slug, manager.shop.id):
        expect_error(make(manager, endpoint=name), 400, "missing_required_parameter", param="quota")
        expect_error(make(manager, endpoint=name, quota=None), 400, "missing_required_parameter", param="quota")
    assert [each["id"] for each in manager.get(KEYS, params={"limit": 100}).json()["data"]] == before


@pytest.mark.parametrize("scopes", [["management"], ["inference", "management"], ["inference", "execution"]])
def test_a_key_for_browsers_has_the_scope_inference_alone(manager, scopes):
    expect_error(make(manager, scopes=scopes, quota=QUOTA), 400, "unsupported_combination", param="scopes")


def test_its_quota_can_be_changed_and_not_taken_away(manager):
    made = make(manager, quota=QUOTA)
    assert made.status_code == 201, made.text
    path = f"{KEYS}/{made.json()['id']}/quota"
    assert manager.send("PUT", path, {"requests": 6, "window_seconds": 60}).json()["quota"]["requests"] == 6
    expect_error(manager.send("PUT", path, None), 400, "missing_required_parameter", param="quota")
    assert manager.get(path.removesuffix("/quota")).json()["quota"]["requests"] == 6


def test_it_opens_its_endpoint_and_nothing_else(stack, manager, engine):
    key = make(manager, quota=QUOTA).json()["key"]
    caller = Caller(stack.origin, key)
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    root = f"/{manager.project.slug}"
    page = {"Origin": "https://app.example"}
    assert caller.post(f"{root}/{manager.shop.slug}/v1/chat/completions", body, headers=page).status_code == 200
    expect_error(caller.post(f"{root}/{manager.plain.slug}/v1/chat/completions", body, headers=page), 403, "endpoint_mismatch")
    expect_error(caller.post("/v1/chat/completions", {**body, "model": manager.plain.slug}), 403, "endpoint_mismatch")
    expect_error(caller.get(KEYS), 403, "scope_insufficient")


def test_keys_of_other_endpoints_need_no_quota(manager):
    made = make(manager, endpoint=manager.plain.slug)
    assert made.status_code == 201, made.text
    limited = make(manager, endpoint=manager.plain.slug, quota=QUOTA).json()["id"]
    assert manager.send("PUT", f"{KEYS}/{limited}/quota", None).json()["quota"] is None


@pytest.mark.parametrize(
    "unfit", [{"quota": None}, {"scopes": ["inference", "management"]}, {"scopes": ["management"]}], ids=["no quota", "two scopes", "another scope"])
def test_an_endpoint_with_a_key_that_may_not_stand_in_a_page_does_not_become_one_for_browsers(manager, engines, unfit):
    endpoint = manager.project.endpoint(engines[0].url)
    path, public = f"/v1/endpoints/{endpoint.slug}", {"visibility": "public_key"}
    made = make(manager, endpoint=endpoint.slug, **{"quota": QUOTA, **unfit}).json()["id"]
    fit = make(manager, endpoint=endpoint.slug, quota=QUOTA).json()["id"]
    before = manager.get(path).json()
    del before["workers"]  # counts what the health probes found, which begin when the endpoint does
    refused = manager.send("PATCH", path, public)
    expect_error(refused, 400, "unsupported_combination", param="visibility")
    assert made in refused.json()["error"]["message"] and fit not in refused.json()["error"]["message"]
    after = manager.get(path).json()
    del after["workers"]
    assert after == before
    assert manager.send("DELETE", f"{KEYS}/{made}", None).status_code == 200
    assert manager.send("PATCH", path, public).json()["visibility"] == "public_key"
