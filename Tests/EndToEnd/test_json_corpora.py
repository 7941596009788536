"""The public corpora of strange JSON and strange strings, sent as bodies, as members and as messages."""

import json

import pytest

from harness.together import together

PLACES = {"body": b"%s", "member": b'{"model":"talk","messages":[{"role":"user","content":"hi"}],"extra":%s}'}


def corpus(shared, kind):
    folder = shared / "data" / "JSONTestSuite" / "test_parsing"
    return {path.name: path.read_bytes() for path in sorted(folder.glob(f"{kind}_*.json"))}


def placed(template: bytes, case: bytes) -> bytes:
    before, after = template.split(b"%s")
    return before + case + after


def valid(body: bytes) -> bool:
    """What Python's parser says; it is lenient only about NaN and Infinity, which are refused here."""
    def refuse(name):
        raise ValueError(name)

    try:
        json.loads(body.decode("utf-8"), parse_constant=refuse)
        return True
    except (ValueError, RecursionError):
        return False


def send_all(tenant, cases, template):
    names = list(cases)
    answers = together(len(names), lambda number: tenant.chat_raw(placed(template, cases[names[number]])), threads=4)
    return dict(zip(names, answers))


@pytest.mark.parametrize("place", PLACES)
def test_no_invalid_case_is_accepted(tenant, engine, shared, place):
    cases = {name: case for name, case in corpus(shared, "n").items() if not valid(placed(PLACES[place], case))}
    assert len(cases) > 180
    before = engine.sequence
    answers = send_all(tenant, cases, PLACES[place])
    wrong = {name: (answer.status_code, answer.text[:200]) for name, answer in answers.items() if answer.status_code != 400 or answer.json()["error"]["code"] not in ("json_parse_error", "json_too_deep")}
    assert wrong == {}
    assert engine.sequence == before


@pytest.mark.parametrize("place", PLACES)
def test_no_undecided_case_is_a_fault_of_ours(tenant, engine, shared, place):
    answers = send_all(tenant, corpus(shared, "i"), PLACES[place])
    assert {name: answer.status_code for name, answer in answers.items() if answer.status_code not in (200, 400)} == {}


def test_every_valid_case_is_accepted_as_a_member_and_forwarded(tenant, engine, shared):
    cases = corpus(shared, "y")
    answers = send_all(tenant, cases, PLACES["member"])
    for name, answer in answers.items():
        if "\\u0000" in json.dumps(json.loads(cases[name])).replace("\\\\", ""):
            assert answer.status_code == 400 and answer.json()["error"]["code"] == "json_parse_error", name
        else:
            assert answer.status_code == 200, (name, answer.text)
            assert engine.record(answer.headers["x-request-id"])["body"]["extra"] == json.loads(cases[name]), name


def test_no_valid_case_as_a_whole_body_is_a_fault_of_ours(tenant, engine, shared):
    answers = send_all(tenant, corpus(shared, "y"), PLACES["body"])
    assert {name: answer.status_code for name, answer in answers.items() if answer.status_code != 400} == {}


@pytest.mark.parametrize("streamed", [False, True], ids=["body", "stream"])
def test_naughty_strings_come_back_as_they_were_said(tenant, engine, shared, streamed):
    engine.behave(default_script={"echo": True, "obey_max_tokens": False})
    strings = [text for text in json.loads((shared / "data" / "blns" / "blns.json").read_text()) if "\x00" not in text and text]

    def echoed(number):
        text = strings[number]
        if streamed:
            stream = tenant.stream(text)
            stream.check()
            return stream.text()
        return tenant.chat(text).json()["choices"][0]["message"]["content"]

    found = together(len(strings), echoed, threads=4)
    assert [(sent, got) for sent, got in zip(strings, found) if sent != got] == []


