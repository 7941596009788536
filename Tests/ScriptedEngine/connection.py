"""One HTTP/1.1 connection: requests come off it whole, bytes go onto it as they are written."""

import asyncio
import socket
import struct

MAX_HEAD = 64 * 1024


class ClientGone(Exception):
    """The other side closed the connection."""


class Request:
    def __init__(self, method: str, target: str, headers: dict, body: bytes):
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.body = body


class Connection(asyncio.Protocol):
    """asyncio's protocol gives us the moment of the close; streams would hide it behind a read."""

    def __init__(self, serve):
        self.serve = serve
        self.buffer = bytearray()
        self.more = asyncio.Event()
        self.writable = asyncio.Event()
        self.gone = asyncio.Event()
        self.transport = None
        self.on_close = None  # called once, when the other side closes

    # asyncio calls these

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.writable.set()
        self.task = asyncio.ensure_future(self.serve(self))

    def data_received(self, data):
        self.buffer += data
        self.more.set()

    def connection_lost(self, error):
        self.gone.set()
        self.more.set()
        self.writable.set()
        if self.on_close is not None:
            self.on_close()

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()

    # the server calls these

    async def read_request(self) -> Request | None:
        """The next request, or None when the connection ended before one."""
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > MAX_HEAD or not await self.read_more():
                return None
        head = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        del self.buffer[: end + 4]
        method, target, _ = head[0].split(" ", 2)
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await self.read_body(headers)
        return None if body is None else Request(method, target, headers, body)

    async def read_body(self, headers: dict) -> bytes | None:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await self.read_chunked()
        return await self.take(int(headers.get("content-length", 0)))

    async def read_chunked(self) -> bytes | None:
        body = bytearray()
        while True:
            while (end := self.buffer.find(b"\r\n")) < 0:
                if not await self.read_more():
                    return None
            size = int(bytes(self.buffer[:end]).split(b";")[0], 16)
            del self.buffer[: end + 2]
            piece = await self.take(size + 2)
            if piece is None:
                return None
            if size == 0:
                return bytes(body)
            body += piece[:-2]

    async def take(self, count: int) -> bytes | None:
        while len(self.buffer) < count:
            if not await self.read_more():
                return None
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    async def read_more(self) -> bool:
        if self.gone.is_set():
            return False
        self.more.clear()
        await self.more.wait()
        return not self.gone.is_set()

    async def write(self, data: bytes):
        if self.gone.is_set():
            raise ClientGone
        self.transport.write(data)
        if not self.writable.is_set():
            await self.writable.wait()
            if self.gone.is_set():
                raise ClientGone

    async def pause(self, seconds: float):
        """Waits, but not longer than the other side does."""
        if seconds <= 0:
            return
        if seconds < 0.05:
            await asyncio.sleep(seconds)
        else:
            try:
                await asyncio.wait_for(self.gone.wait(), seconds)
            except asyncio.TimeoutError:
                return
        if self.gone.is_set():
            raise ClientGone

    async def wait_for_close(self):
        await self.gone.wait()
        raise ClientGone

    def close(self):
        if self.transport is not None:
            self.transport.close()

    async def reset(self):
        """Ends the connection with a RST. What was written before gets a moment to be read."""
        await asyncio.sleep(0.01)
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
