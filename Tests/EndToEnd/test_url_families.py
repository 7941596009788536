"""Three URL families, one API (spec 01 §3)."""

import time

import openai
import pytest

from harness.calls import expect_error, messages, script


def paths(tenant):
    project = tenant.project
    return [
        "/v1/chat/completions", f"/{project.slug}/v1/chat/completions", f"/{project.id}/v1/chat/completions",
        f"/{project.slug}/{tenant.endpoint.slug}/v1/chat/completions", f"/{project.id}/{tenant.endpoint.slug}/v1/chat/completions",
    ]


def test_the_same_body_gives_the_same_usage_on_every_family(tenant, engine):
    body = tenant.body(script={"text": "one two three"})
    answers = [tenant.caller.post(path, body) for path in paths(tenant)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({str(answer.json()["usage"]) for answer in answers}) == 1


def test_every_family_streams(tenant, engine):
    for path in paths(tenant):
        stream = tenant.stream(script={"text": "one two"}, path=path)
        stream.check()
        assert stream.text() == "one two"


def test_a_trailing_slash_is_ignored(tenant, engine):
    for path in paths(tenant):
        assert tenant.chat(script={"text": "a"}, path=path + "/").status_code == 200


def test_in_the_endpoint_family_any_model_will_do(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, path=f"/{tenant.project.slug}/talk/v1/chat/completions", model="whatever/else:7b")
    assert answer.json()["model"] == tenant.endpoint.model
    assert engine.record(answer.headers["x-request-id"])["body"]["model"] == "scripted-model"


def test_the_flat_form_picks_by_slug_or_by_model_name(make_tenant, engine):
    own = make_tenant(model="vendor/some-model-7b")
    for model in (own.endpoint.slug, "vendor/some-model-7b"):
        answer = own.chat(script={"text": "a"}, model=model)
        assert answer.headers["x-xerotier-routed-endpoint"] == own.endpoint.slug


def test_of_several_matches_the_oldest_active_endpoint_wins(make_tenant, engine):
    first = make_tenant(model="twice")
    first.project.endpoint(engine.url, model="twice")
    for _ in range(4):
        answer = first.chat(script={"text": "a"}, model="twice")
        assert answer.headers["x-xerotier-routed-endpoint"] == first.endpoint.slug
    first.project.endpoint(engine.url, slug=first.endpoint.slug, model="twice", status="inactive")
    time.sleep(1.2)
    answer = first.chat(script={"text": "a"}, model="twice")
    assert answer.status_code == 200
    assert answer.headers["x-xerotier-routed-endpoint"] != first.endpoint.slug


def test_a_slug_goes_before_a_model_name(make_tenant, engine):
    first = make_tenant(slug="one", model="two")
    first.project.endpoint(engine.url, slug="two", model="one")
    assert first.chat(script={"text": "a"}, model="two").headers["x-xerotier-routed-endpoint"] == "two"


def test_an_unknown_model_is_404(tenant, engine):
    expect_error(tenant.chat(script={"text": "a"}, model="no-such-model"), 404, "model_not_found", param="model")


@pytest.mark.parametrize("path", ["/v1/models", "/{slug}/v1/models", "/{slug}/talk/v1/models"])
def test_models_are_on_every_family(tenant, path):
    assert tenant.caller.get(path.format(slug=tenant.project.slug)).status_code == 200


def test_an_unknown_endpoint_is_404(tenant, engine):
    expect_error(tenant.chat(script={"text": "a"}, path=f"/{tenant.project.slug}/no-such/v1/chat/completions"), 404, "endpoint_not_found")


def test_an_inactive_endpoint_is_503(make_tenant, engine):
    asleep = make_tenant(status="inactive")
    answer = asleep.chat(script={"text": "a"}, path=f"/{asleep.project.slug}/{asleep.endpoint.slug}/v1/chat/completions")
    expect_error(answer, 503, "endpoint_inactive")
    assert engine.records(answer.headers["x-request-id"]) == []


def test_the_unmodified_sdk_lists_models_and_streams_a_chat_on_the_host_family(stack, tenant, engine, sdk_http):
    client = openai.OpenAI(base_url=stack.https_url, api_key=tenant.key.key, max_retries=0, http_client=sdk_http)
    assert "talk" in [model.id for model in client.models.list()]
    chunks = list(client.chat.completions.create(model="talk", messages=messages(script(text="one two")), stream=True))
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "one two"
