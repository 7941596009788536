"""Plays a script on a connection: headers, frames with their delays, and the break the script asks for."""

import asyncio
import json

from .answers import Answer
from .connection import ClientGone, Connection
from .records import Record, now_ms
from .script import Script

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 413: "Too Large",
           429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
           504: "Gateway Timeout"}
HTML = b"<html><head><title>%d</title></head><body><h1>Error at 10.1.2.3:8000</h1></body></html>\n"


class Broken(Exception):
    """The script ended the connection: no other request can follow on it."""


def head(status: int, headers: dict) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def send_whole(connection: Connection, status: int, content_type: str, body: bytes, headers: dict = {}):
    await connection.write(
        head(status, {"Content-Type": content_type, "Content-Length": len(body), "Connection": "keep-alive", **headers})
        + body
    )


class Player:
    def __init__(self, connection: Connection, record: Record, request: dict, script: Script, answer_id: str, kind: type[Answer] = Answer):
        self.connection = connection
        self.record = record
        self.script = script
        self.request = request
        self.answer = kind.to(request, script, answer_id)

    async def play(self):
        script = self.script
        if script.never_answer:
            await self.connection.wait_for_close()
        await self.connection.pause(script.first_delay_ms / 1000)
        self.record.status = script.status
        if script.status != 200:
            await self.play_status()
        elif self.request.get("stream") is True:
            await self.play_stream()
        else:
            await self.play_body()
        ended_early = script.cut is not None and script.cut.how == "end"
        self.record.end = "cut" if ended_early else "complete"
        self.record.finished_ms = now_ms()

    async def play_status(self):
        script = self.script
        if script.body == "html":
            content_type, body = "text/html", HTML % script.status
        elif script.body == "empty":
            content_type, body = "text/plain", b""
        else:
            error = script.error or {"message": f"scripted {script.status}", "type": "scripted_error", "code": script.status}
            content_type, body = "application/json", json.dumps({"error": error}).encode()
        self.sent(body)
        await send_whole(self.connection, script.status, content_type, body, script.headers)

    async def play_body(self):
        await self.connection.pause(self.script.delay_ms * len(self.answer.pieces) / 1000)
        body = self.answer.body()
        cut = self.script.cut
        content_type = "text/html" if self.script.body == "html" else "application/json"
        if cut is None:
            self.sent(body, tokens=self.answer.output_tokens)
            await send_whole(self.connection, 200, content_type, body, self.script.headers)
            return
        shown = body[: cut.after_bytes or 0]
        length = {"Transfer-Encoding": "chunked"} if cut.how == "end" else {"Content-Length": len(body)}
        await self.connection.write(head(200, {"Content-Type": content_type, **length, **self.script.headers}))
        if cut.how != "end":
            self.sent(shown)
            await self.connection.write(shown)
            await self.break_off()
        if shown:
            await self.write_chunk(shown)
        await self.connection.write(b"0\r\n\r\n")

    async def play_stream(self):
        script = self.script
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "Transfer-Encoding": "chunked"}
        await self.connection.write(head(200, {**headers, **script.headers}))
        cut = script.cut
        for number, frame in enumerate(self.answer.frames()):
            if cut is not None and cut.after_chunks == number:
                return await self.end_early()
            if script.stall_after_chunks == number:
                await self.connection.wait_for_close()
            if number > 0:
                await self.connection.pause(script.delay_ms / 1000)
            if number % 32 == 0:
                await asyncio.sleep(0)  # a stream without delays leaves room for the others
            room = None if cut is None or cut.after_bytes is None else cut.after_bytes - self.record.bytes_sent
            if room is not None and len(frame.data) >= room:
                await self.write_chunk(frame.data[:room])
                return await self.end_early()
            self.record.chunks += 1
            await self.write_chunk(frame.data, frame.tokens)
        await self.connection.write(b"0\r\n\r\n")

    async def write_chunk(self, data: bytes, tokens: int = 0):
        self.sent(data, tokens)
        size = self.script.frame_split or len(data)
        for start in range(0, len(data), max(size, 1)):
            piece = data[start : start + size]
            await self.connection.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if self.script.frame_split:
                await asyncio.sleep(0.001)

    async def end_early(self):
        if self.script.cut.how == "end":
            await self.connection.write(b"0\r\n\r\n")
        else:
            await self.break_off()

    async def break_off(self):
        self.record.end = "cut"
        self.record.finished_ms = now_ms()
        if self.script.cut.how == "reset":
            await self.connection.reset()
        else:
            self.connection.close()
        raise Broken

    def sent(self, data: bytes, tokens: int = 0):
        record = self.record
        if record.first_byte_ms is None:
            record.first_byte_ms = now_ms()
        record.bytes_sent += len(data)
        record.tokens += tokens


__all__ = ["Broken", "ClientGone", "Player", "send_whole"]
