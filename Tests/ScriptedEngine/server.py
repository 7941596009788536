"""The engine on one port: its routes, its knobs, its records."""

import asyncio
import json
from dataclasses import asdict, dataclass, field, fields
from urllib.parse import parse_qs

from . import embeddings, scores
from .answers import Answer, prompt_tokens
from .completions import TextAnswer
from .connection import ClientGone, Connection, Request
from .player import Broken, Player, send_whole
from .records import BODY_KEPT_UP_TO, Records, now_ms
from .script import Script, ScriptError, choose, find_script, script_of

MODELS = ["scripted-model"]


@dataclass
class Behaviour:
    """What all answers do, whatever the scripts say. Set by POST /__behaviour, reset by DELETE."""

    health_status: int = 200
    health_hangs: bool = False
    gauges: dict = field(default_factory=dict)  # what /metrics says; 404 without any
    all_status: int | None = None  # every chat answer has this status
    all_body: str = "json"
    context_length: int | None = None  # prompts over it are refused in the words of llama.cpp
    models: list = field(default_factory=lambda: list(MODELS))
    model_members: dict = field(default_factory=dict)  # merged into every model, such as owned_by
    default_script: dict = field(default_factory=dict)
    turns: list = field(default_factory=list)  # scripts of requests that carry none, in turn, before default_script


def too_long(prompt: int, limit: int) -> dict:
    message = "the request exceeds the available context size, try increasing it"
    return {"code": 400, "message": message, "type": "exceed_context_size_error", "n_prompt_tokens": prompt, "n_ctx": limit}


@dataclass
class Counts:
    chat: int = 0
    models: int = 0
    health: int = 0
    open: int = 0
    peak_open: int = 0


class Engine:
    def __init__(self, port: int):
        self.port = port
        self.behaviour = Behaviour()
        self.default_script = Script()
        self.counts = Counts()
        self.records = Records()
        self.listener = None

    async def start(self, host: str = "127.0.0.1"):
        loop = asyncio.get_running_loop()
        self.listener = await loop.create_server(
            lambda: Connection(self.serve), host, self.port, backlog=4096, reuse_address=True
        )

    async def serve(self, connection: Connection):
        try:
            while (request := await connection.read_request()) is not None:
                await self.answer(connection, request)
        except (ClientGone, Broken):
            pass
        except (ValueError, ScriptError) as error:
            await self.refuse(connection, 400, f"the scripted engine cannot read this: {error}")
        finally:
            connection.close()

    async def answer(self, connection: Connection, request: Request):
        path = request.path.rstrip("/") or "/"
        if path.startswith("/__"):
            await self.control(connection, request, path)
        elif path == "/metrics":
            await self.answer_gauges(connection)
        elif path == "/health":
            self.counts.health += 1
            await self.answer_health(connection)
        elif path in ("/v1/models", "/models"):
            self.counts.models += 1
            await self.answer_models(connection)
        elif path in ("/v1/chat/completions", "/chat/completions") and request.method == "POST":
            await self.answer_chat(connection, request)
        elif path in ("/v1/completions", "/completions") and request.method == "POST":
            await self.answer_chat(connection, request, TextAnswer)
        elif path in ("/v1/embeddings", "/embeddings") and request.method == "POST":
            await self.answer_by(embeddings.answer, connection, request)
        elif path in ("/v1/rerank", "/rerank") and request.method == "POST":
            await self.answer_by(scores.answer, connection, request)
        else:
            await self.refuse(connection, 404, f"{request.method} {request.path} is not here")

    async def answer_gauges(self, connection: Connection):
        if not self.behaviour.gauges:
            return await self.say(connection, 404, {"error": {"message": "no metrics"}})
        lines = "".join(f'{name}{{model_name="scripted-model"}} {value}\n' for name, value in self.behaviour.gauges.items())
        await send_whole(connection, 200, "text/plain", lines.encode())

    async def answer_health(self, connection: Connection):
        if self.behaviour.health_hangs:
            await connection.wait_for_close()
        status = self.behaviour.health_status
        await self.say(connection, status, {"status": "ok" if status == 200 else "unwell"})

    async def answer_models(self, connection: Connection):
        if self.behaviour.health_hangs:
            await connection.wait_for_close()
        data = [{"id": name, "object": "model", "created": 1700000000, "owned_by": "scripted", **self.behaviour.model_members} for name in self.behaviour.models]
        await self.say(connection, self.behaviour.health_status, {"object": "list", "data": data})

    async def answer_chat(self, connection: Connection, request: Request, kind: type[Answer] = Answer):
        self.counts.chat += 1
        try:
            body = json.loads(request.body)
        except ValueError:
            body = None
        record = self.records.add(
            port=self.port, method=request.method, path=request.path, headers=request.headers,
            body=body if len(request.body) <= BODY_KEPT_UP_TO else None, body_bytes=len(request.body),
        )
        connection.on_close = lambda: self.note_close(record)
        self.counts.open += 1
        self.counts.peak_open = max(self.counts.peak_open, self.counts.open)
        try:
            await self.play(connection, record, body, kind)
        except ScriptError as error:
            record.status, record.end = 400, "complete"
            await self.refuse(connection, 400, str(error))
        finally:
            self.counts.open -= 1
            connection.on_close = None

    async def answer_by(self, rule, connection: Connection, request: Request):
        body = json.loads(request.body)
        record = self.records.add(
            port=self.port, method=request.method, path=request.path, headers=request.headers, body=body, body_bytes=len(request.body))
        record.status, record.end = self.behaviour.all_status or 200, "complete"
        if self.behaviour.all_status is not None:
            return await self.refuse(connection, record.status, "as asked for")
        await self.say(connection, 200, rule(body))

    async def play(self, connection: Connection, record, body, kind: type[Answer]):
        if not isinstance(body, dict):
            record.status, record.end = 400, "complete"
            return await self.refuse(connection, 400, "the body is not a JSON object")
        script = choose(find_script(body) or self.next_turn(), record.attempt, self.port)
        if self.behaviour.all_status is not None:
            script = Script(status=self.behaviour.all_status, body=self.behaviour.all_body)
        limit = self.behaviour.context_length
        if limit is not None and prompt_tokens(body) > limit:
            script = Script(status=400, error=too_long(prompt_tokens(body), limit))
        await Player(connection, record, body, script, f"chatcmpl-upstream{record.sequence}", kind).play()

    def next_turn(self) -> Script:
        return script_of(self.behaviour.turns.pop(0)) if self.behaviour.turns else self.default_script

    def note_close(self, record):
        if record.end == "running":
            record.client_closed_ms = now_ms()
            record.end = "client closed"

    async def control(self, connection: Connection, request: Request, path: str):
        query = {name: values[-1] for name, values in parse_qs(request.query).items()}
        if path == "/__records" and request.method == "DELETE":
            self.records.clear()
            await self.say(connection, 200, {})
        elif path == "/__records":
            found = self.records.find(query.get("id"), int(query.get("since", 0)))
            await self.say(connection, 200, {"sequence": self.records.sequence, "records": found})
        elif path == "/__behaviour":
            if request.method == "DELETE":
                self.behaviour = Behaviour()
                self.counts.peak_open = self.counts.open
            elif request.method == "POST":
                self.set_behaviour(json.loads(request.body))
            self.default_script = script_of(self.behaviour.default_script)
            await self.say(connection, 200, {**asdict(self.behaviour), "counts": asdict(self.counts), "now_ms": now_ms()})
        else:
            await self.refuse(connection, 404, f"{path} is no control of the scripted engine")

    def set_behaviour(self, values: dict):
        known = {each.name for each in fields(Behaviour)}
        for name, value in values.items():
            if name not in known:
                raise ScriptError(f"unknown behaviour {name}")
            setattr(self.behaviour, name, value)

    async def say(self, connection: Connection, status: int, value: dict):
        await send_whole(connection, status, "application/json", json.dumps(value).encode())

    async def refuse(self, connection: Connection, status: int, message: str):
        if not connection.gone.is_set():
            await self.say(connection, status, {"error": {"message": message, "type": "scripted_error", "param": None, "code": None}})
