"""Agents and their enrolment (spec 05 §11, §21)."""

import ctypes
import itertools
import time

import httpx
import pytest

from harness.calls import Caller, expect_error
from harness.tenants import Project
from harness.together import together

AGENTS = "/v1/management/agents"
OBJECT = {
    "id", "object", "name", "worker_id", "role", "region", "status", "description", "version", "max_concurrent_requests", "supported_tiers",
    "storage_limit_enabled", "storage_limit_bytes", "accelerators", "models", "in_flight", "created_at", "last_heartbeat_at", "lease_until",
}
ENROLLED = {
    "agent_id", "worker_id", "project_id", "region", "supported_tiers", "token", "token_expires_at", "refresh_after", "router_addrs",
    "router_curve_public_key", "lease_seconds", "heartbeat_interval_ms", "object_store",
}
# Ten enrolments of an address are let in a minute, so each test host has one of its own.
HOSTS = (f"127.{1 + (time.time_ns() >> 20) % 200}.{place // 250}.{1 + place % 250}" for place in itertools.count())
Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def z85(data: bytes) -> str:
    """https://rfc.zeromq.org/spec/32/"""
    words = (int.from_bytes(data[place : place + 4], "big") for place in range(0, len(data), 4))
    return "".join(Z85[word // 85**power % 85] for word in words for power in (4, 3, 2, 1, 0))


SODIUM = ctypes.CDLL("libsodium.so.23")


def made(call: str, *lengths: int) -> list[bytes]:
    """What a function of libsodium fills."""
    buffers = [ctypes.create_string_buffer(length) for length in lengths]
    assert getattr(SODIUM, call)(*buffers) == 0
    return [buffer.raw for buffer in buffers]


class SigningKey:
    """Ed25519; see doc.libsodium.org."""

    def __init__(self):
        self.public, self.secret = made("crypto_sign_keypair", 32, 64)

    def sign(self, text: str) -> str:
        signature = ctypes.create_string_buffer(64)
        data = text.encode()
        assert SODIUM.crypto_sign_detached(signature, None, data, ctypes.c_ulonglong(len(data)), self.secret) == 0
        return signature.raw.hex()


class Host:
    """A machine that enrols: an address and the keys of its agent."""

    def __init__(self, origin: str, name: str):
        self.client = httpx.Client(base_url=origin, transport=httpx.HTTPTransport(local_address=next(HOSTS)), timeout=30)
        self.signing = SigningKey()
        self.curve = z85(made("crypto_box_keypair", 32, 32)[0])
        self.name = name

    def body(self, key: str, **changes) -> dict:
        return {
            "join_key": key, "role": "inference", "name": self.name, "hostname": "h", "agent_version": "1.0.0", "protocol": 1,
            "curve_public_key": self.curve, "signing_public_key": self.signing.public.hex(), "platform": {"os": "linux", "arch": "x86_64"},
            "accelerators": [{"kind": "cuda", "name": "A30", "memory_bytes": 25769803776, "index": 0, "driver": "535"}], "ram_bytes": 0,
            "disk_bytes": 0, "max_concurrent_requests": 4, "manifest": None,
        } | changes

    def enrol(self, key: str, **changes) -> httpx.Response:
        return self.client.post("/v1/enroll", json=self.body(key, **changes))

    def refresh(self, agent: str, token: str, *, time_of_signature: int | None = None, signing: SigningKey | None = None) -> httpx.Response:
        moment = int(time.time()) if time_of_signature is None else time_of_signature
        signature = (signing or self.signing).sign(f"{agent}|{moment}")
        return self.client.post("/v1/enroll/refresh", json={"ts": moment, "sig": signature}, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def admin(stack):
    project = Project.create("agents", credit=None)
    caller = Caller(stack.origin, project.key("management").key)
    caller.project = project
    return caller


@pytest.fixture
def host(stack):
    return lambda name="gpu-01": Host(stack.origin, name)


def join_key(admin, **values) -> str:
    answer = admin.send("POST", "/v1/management/join-keys", values)
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]


def test_an_agent_enrols_is_listed_refreshes_its_token_and_is_revoked(admin, host, usage, stack):
    machine = host()
    key = join_key(admin, region="us-east-1", supported_tiers=["self_hosted"])
    answer = machine.enrol(f"{key}@{stack.origin}")
    assert answer.status_code == 201, answer.text
    enrolled = answer.json()
    assert set(enrolled) == ENROLLED and enrolled["worker_id"] == f"us-east-1:{enrolled['agent_id']}"
    assert enrolled["project_id"] == admin.project.id and enrolled["supported_tiers"] == ["self_hosted"]
    assert abs(enrolled["token_expires_at"] - time.time() - 86_400) < 60 and abs(enrolled["refresh_after"] - time.time() - 64_800) < 60
    assert len(enrolled["router_addrs"]) == 1 and enrolled["router_addrs"][0].startswith("tcp://127.0.0.1:") and len(enrolled["router_curve_public_key"]) == 40

    shown = admin.get(f"{AGENTS}/{enrolled['agent_id']}").json()
    assert set(shown) == OBJECT and shown["object"] == "agent" and shown["status"] == "pending" and shown["name"] == "gpu-01"
    assert shown["worker_id"] == enrolled["worker_id"] and shown["max_concurrent_requests"] == 4
    assert admin.get(AGENTS, params={"role": "inference", "region": "us-east-1", "status": "pending"}).json()["data"] == [shown]
    assert admin.get(AGENTS, params={"region": "eu"}).json()["data"] == []

    again = machine.refresh(enrolled["agent_id"], enrolled["token"])
    assert again.status_code == 200 and set(again.json()) == {"token", "token_expires_at", "refresh_after"}
    assert machine.refresh(enrolled["agent_id"], again.json()["token"]).status_code == 200
    assert admin.send("DELETE", f"{AGENTS}/{enrolled['agent_id']}", {}).json() == {"id": enrolled["agent_id"], "object": "agent.deleted", "deleted": True}
    expect_error(admin.get(f"{AGENTS}/{enrolled['agent_id']}"), 404, "agent_not_found")
    expect_error(machine.refresh(enrolled["agent_id"], enrolled["token"]), 401, "invalid_agent_token")
    lines = usage.query("SELECT action FROM audit_log WHERE project_id = %s ORDER BY seq", admin.project.id)
    assert [line["action"] for line in lines if not line["action"].startswith(("key.", "project."))] == [
        "join_key.create", "join_key.consume", "agent.enroll", "agent.revoke"]


def test_one_key_used_by_two_hosts_at_once_enrols_exactly_one(admin, host):
    key = join_key(admin)
    machines = [host(f"host-{place}") for place in range(8)]
    answers = together(8, lambda place: machines[place].enrol(key))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    for answer in answers:
        if answer.status_code == 409:
            expect_error(answer, 409, "join_key_consumed")
    assert len(admin.get(AGENTS).json()["data"]) == 1


def test_who_lost_the_answer_gets_the_same_agent_for_ten_minutes(admin, host, usage):
    machine, other = host(), host("other")
    key = join_key(admin)
    first, second = machine.enrol(key), machine.enrol(key)
    assert first.status_code == second.status_code == 201 and first.json()["agent_id"] == second.json()["agent_id"]
    expect_error(other.enrol(key), 409, "join_key_consumed")
    expect_error(machine.enrol(key, signing_public_key="00" * 32), 409, "join_key_consumed")
    usage.query("UPDATE join_keys SET consumed_at = now() - interval '11 minutes' WHERE project_id = %s RETURNING 1", admin.project.id)
    expect_error(machine.enrol(key), 409, "join_key_consumed")


def test_a_bad_key_or_body_enrols_nobody(admin, host, usage):
    machine = host()
    expect_error(machine.enrol("xjk_agents_" + "A" * 43), 401, "invalid_join_key")
    expect_error(machine.enrol("nonsense"), 401, "invalid_join_key")
    execution = join_key(admin, role="execution")
    revoked = admin.send("POST", "/v1/management/join-keys", {}).json()
    assert admin.send("DELETE", f"/v1/management/join-keys/{revoked['id']}", {}).status_code == 200
    expect_error(machine.enrol(revoked["key"]), 401, "invalid_join_key")
    late = join_key(admin)
    usage.query("UPDATE join_keys SET expires_at = now() WHERE project_id = %s AND revoked_at IS NULL AND role = 'inference' RETURNING 1", admin.project.id)
    expect_error(machine.enrol(late), 410, "join_key_expired")
    assert machine.enrol(execution).json()["error"]["param"] == "role"

    good = join_key(admin)
    bad = {
        "name": "Not A Name", "role": "boss", "protocol": 2, "curve_public_key": "short", "signing_public_key": "zz" * 32, "platform": [],
        "hostname": "a\u0001b", "accelerators": [{"kind": "cuda"}], "max_concurrent_requests": -1, "agent_version": "",
    }
    for name, value in bad.items():
        answer = host().enrol(good, **{name: value})
        assert answer.status_code == 400 and str(answer.json()["error"]["param"]).startswith(name), (name, answer.text)
    assert admin.get(AGENTS).json()["data"] == []
    assert host().enrol(good).status_code == 201, "the key is still good"


def test_an_agent_is_sent_to_the_router_that_its_key_names(admin, host):
    enrolled = host().enrol(join_key(admin, router_addr="tcp://mesh.example.com:5555")).json()
    assert enrolled["router_addrs"] == ["tcp://mesh.example.com:5555"] and enrolled["region"] == "local" and enrolled["supported_tiers"] == ["self_hosted"]


def test_names_and_curve_keys_are_one_agents_alone(admin, host):
    first = host("same")
    assert first.enrol(join_key(admin)).status_code == 201
    expect_error(host("same").enrol(join_key(admin)), 409, "registration_name_taken")
    clone = host("clone")
    clone.curve = first.curve
    expect_error(clone.enrol(join_key(admin)), 409, "conflict")


def test_a_token_is_refreshed_only_with_the_agents_own_signature(admin, host):
    machine, other = host(), host("other")
    mine, theirs = (it.enrol(join_key(admin)).json() for it in (machine, other))
    agent, token = mine["agent_id"], mine["token"]
    expect_error(machine.refresh(agent, token, signing=other.signing), 401, "invalid_agent_token")
    expect_error(machine.refresh(agent, token, time_of_signature=int(time.time()) - 120), 401, "invalid_agent_token")
    expect_error(machine.refresh(agent, theirs["token"]), 401, "invalid_agent_token")
    head, claims, signature = token.split(".")
    expect_error(machine.refresh(agent, f"{head}.{theirs['token'].split('.')[1]}.{signature}"), 401, "invalid_agent_token")
    expect_error(machine.refresh(agent, "nonsense"), 401, "invalid_agent_token")


def test_an_address_enrols_ten_times_a_minute_at_most(host):
    machine = host()
    if time.time() % 60 > 50:
        time.sleep(60 - time.time() % 60)
    answers = [machine.enrol("nonsense") for _ in range(11)]
    assert [answer.status_code for answer in answers[:10]] == [401] * 10
    expect_error(answers[10], 429, "rate_limit_exceeded")
    assert 1 <= int(answers[10].headers["retry-after"]) <= 60
    assert host().enrol("nonsense").status_code == 401


def test_agents_of_another_project_are_not_there(admin, host, stack):
    enrolled = host().enrol(join_key(admin)).json()
    stranger = Project.create("strangers", credit=None)
    other = Caller(stack.origin, stranger.key("management").key)
    expect_error(other.get(f"{AGENTS}/{enrolled['agent_id']}"), 404, "agent_not_found")
    expect_error(other.send("DELETE", f"{AGENTS}/{enrolled['agent_id']}", {}), 404, "agent_not_found")
    assert other.get(AGENTS).json()["data"] == []
    reader = Caller(stack.origin, admin.project.key("inference").key)
    expect_error(reader.get(AGENTS), 403, "scope_insufficient")
