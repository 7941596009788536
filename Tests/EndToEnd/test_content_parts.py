"""Images, sound and files in messages (spec 02 §1): what the model reads goes there inside the request, and nothing else goes anywhere."""

import base64

import pytest

from harness.calls import expect_error, script
from harness.pictures import PNG, pictures
from harness.together import eventually

DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
TYPE = {"Content-Type": "image/png"}


def image(url, **more) -> dict:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def send(tenant, *parts, stream=False, **values):
    message = {"role": "user", "content": [{"type": "text", "text": script(text="seen")}, *parts]}
    body = {"model": tenant.endpoint.slug, "messages": [message], **values}
    if stream:
        return tenant.caller.stream("/v1/chat/completions", {**body, "stream": True})
    return tenant.caller.post("/v1/chat/completions", body)


def received(engine, request_id: str) -> list:
    return engine.record(request_id)["body"]["messages"][0]["content"][1:]


def refused(tenant, engine, usage, part, *codes, status=400, param="messages"):
    answer = send(tenant, part)
    error = expect_error(answer, status, *codes, param=param)
    assert engine.records(answer.headers["x-request-id"]) == []
    usage.none(answer.headers["x-request-id"])
    return error


def test_an_image_in_the_request_reaches_the_engine_unchanged(tenant, engine):
    part = image(DATA_URL, detail="low")
    answer = send(tenant, part)
    assert answer.status_code == 200, answer.text
    assert received(engine, answer.headers["x-request-id"]) == [part]


@pytest.mark.parametrize("stream", [False, True])
def test_an_image_elsewhere_is_fetched_and_goes_inside(tenant, engine, stream):
    with pictures({"/a.png": (200, TYPE, PNG), "/b": (200, {"Content-Type": "image/webp; q=1"}, b"webp")}) as (origin, asked):
        answer = send(tenant, image(f"{origin}/a.png", detail="high"), image(f"{origin}/b"), stream=stream)
        request_id = answer.request_id if stream else answer.headers["x-request-id"]
        assert received(engine, request_id) == [image(DATA_URL, detail="high"), image("data:image/webp;base64," + base64.b64encode(b"webp").decode())]
        assert sorted(asked) == ["/a.png", "/b"]


def test_a_redirect_is_followed_by_the_rules_of_the_guard(tenant, engine):
    with pictures({"/a": (302, {"Location": "/b"}, b""), "/b": (200, TYPE, PNG), "/out": (302, {"Location": "http://169.254.169.254/latest"}, b"")}) as (origin, asked):
        answer = send(tenant, image(f"{origin}/a"))
        assert received(engine, answer.headers["x-request-id"]) == [image(DATA_URL)]
        expect_error(send(tenant, image(f"{origin}/out")), 400, "egress_blocked", param="messages[0].content[1].image_url.url")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.png", "https://[::ffff:127.0.0.1]/a.png", "http://169.254.169.254/latest/meta-data", "https://user@example.com/a", "https://0x7f000001/a"])
def test_an_address_that_is_not_public_is_never_called(tenant, engine, usage, url):
    answer = send(tenant, image(url))
    expect_error(answer, 400, "egress_blocked", param="messages[0].content[1].image_url.url")
    assert engine.records(answer.headers["x-request-id"]) == []
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0


def test_a_server_inside_is_not_asked_directly_and_not_by_a_redirect(tenant, engine):
    with pictures({"/a": (200, TYPE, PNG)}, listed=False) as (inside, asked), pictures({"/b": (302, {"Location": f"{inside}/a"}, b"")}) as (outside, _):
        for url in (f"{inside}/a", f"{outside}/b"):
            expect_error(send(tenant, image(url)), 400, "egress_blocked", param="messages[0].content[1].image_url.url")
        assert asked == []


@pytest.mark.parametrize("name,status,headers,body,code", [
    ("absent", 404, {}, b"", "invalid_value"), ("broken", 500, TYPE, PNG, "invalid_value"), ("a page", 200, {"Content-Type": "text/html"}, b"<html>", "unsupported_content"),
    ("a drawing", 200, {"Content-Type": "image/svg+xml"}, b"<svg/>", "unsupported_content"), ("without a type", 200, {}, PNG, "unsupported_content"),
    ("over ten mebibytes", 200, TYPE, b"x" * ((10 << 20) + 1), "invalid_value"),
])
def test_what_cannot_be_fetched_or_is_no_image_is_refused(tenant, engine, usage, name, status, headers, body, code):
    with pictures({"/a": (status, headers, body)}) as (origin, _):
        answer = send(tenant, image(f"{origin}/a"))
    expect_error(answer, 400, code, param="messages[0].content[1].image_url.url")
    assert engine.records(answer.headers["x-request-id"]) == []
    row = usage.one(answer.headers["x-request-id"])
    assert (row["cost_nano"], row["output_tokens"]) == (0, 0)


def test_images_elsewhere_have_a_limit_together(tenant, engine, usage):
    with pictures({"/a": (200, TYPE, bytes(9 << 20))}) as (origin, asked):
        answer = send(tenant, *[image(f"{origin}/a")] * 4)
    expect_error(answer, 400, "invalid_value", param="messages[0].content[3].image_url.url")
    assert len(asked) == 3 and engine.records(answer.headers["x-request-id"]) == []
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0


def test_a_url_elsewhere_in_the_request_is_left_alone(tenant, engine):
    with pictures({"/a": (200, TYPE, PNG)}) as (origin, asked):
        answer = send(tenant, {"type": "text", "text": f"{origin}/a"}, image(f"{origin}/a"))
        assert received(engine, answer.headers["x-request-id"])[0] == {"type": "text", "text": f"{origin}/a"}
        assert asked == ["/a"]


@pytest.mark.parametrize("part", [
    image("data:image/png;base64,AAA*"), image("data:text/html;base64,AAAA"), image("ftp://a/b"), image("x-xerotier-image:req_0:0:"), image(DATA_URL, detail="sharp"), image(7),
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "ogg"}}, {"type": "file", "file": {}}, {"type": "file", "file": {"file_data": "!"}},
], ids=lambda part: str(part)[:60])
def test_a_wrong_part_is_refused_by_name(tenant, engine, usage, part):
    refused(tenant, engine, usage, part, "invalid_value", "unsupported_content", "invalid_messages", param=f"messages[0].content[1].{part['type']}")


def test_a_body_over_its_limit_is_refused_whatever_is_in_it(tenant, engine):
    big = "data:image/png;base64," + base64.b64encode(bytes((20 << 20) + 1)).decode()
    answer = send(tenant, image(big))
    expect_error(answer, 413, "request_too_large")
    assert engine.records(answer.headers["x-request-id"]) == []


def test_a_file_by_its_id_is_not_found(tenant, engine, usage):
    refused(tenant, engine, usage, {"type": "file", "file": {"file_id": "file-000000000000000000000000"}}, "file_not_found", status=404, param="messages[0].content[1].file.file_id")


@pytest.mark.parametrize("part", [
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
], ids=["sound", "a file"])
def test_sound_and_files_go_to_an_engine_that_may_read_them(tenant, engine, part):
    answer = send(tenant, part)
    assert received(engine, answer.headers["x-request-id"]) == [part]


@pytest.fixture(scope="module")
def deaf(make_tenant, engines):
    """A tenant on an engine that says that it reads text alone."""
    engines[1].behave(models=["scripted-model"], model_members={"owned_by": "llamacpp", "architecture": {"input_modalities": ["text"]}})
    tenant = make_tenant(upstream_url=engines[1].url, engine="llama_cpp")
    eventually(lambda: send(tenant, image(DATA_URL)).status_code == 400, seconds=30)
    yield tenant
    engines[1].behave_well()


@pytest.mark.parametrize("part", [
    image(DATA_URL), image("http://169.254.169.254/a"), {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, {"type": "file", "file": {"file_data": "AAAA"}},
], ids=["image", "image elsewhere", "sound", "file"])
def test_what_the_model_is_known_not_to_read_is_refused_at_once(deaf, engines, usage, part):
    refused(deaf, engines[1], usage, part, "unsupported_content", param="messages[0].content[1].type")
