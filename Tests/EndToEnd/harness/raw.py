"""Requests as bytes on a socket, for what an HTTP library refuses to send and for closes at a known moment."""

import json
import socket
import time


class RawCall:
    def __init__(self, address: tuple, timeout: float = 30, receive_buffer: int | None = None):
        """With a small `receive_buffer` little goes onto the way to a client that does not read."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self.received = b""

    def send(self, data: bytes) -> "RawCall":
        self.socket.sendall(data)
        return self

    def post_json(self, path: str, body, key: str, more: str = "") -> "RawCall":
        content = json.dumps(body).encode()
        return self.post(path, content, key, len(content), more)

    def post(self, path: str, content: bytes, key: str, announced: int, more: str = "") -> "RawCall":
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        return self.send(f"{head}Content-Length: {announced}\r\n{more}\r\n".encode() + content)

    def read_until(self, mark: bytes, times: int = 1) -> bytes:
        while self.received.count(mark) < times:
            piece = self.socket.recv(65536)
            if not piece:
                break
            self.received += piece
        return self.received

    def read_to_end(self) -> bytes:
        """All that comes before the close, whichever way the other side closes."""
        try:
            while piece := self.socket.recv(65536):
                self.received += piece
        except ConnectionResetError:
            pass
        return self.received

    def header(self, name: str) -> str:
        for line in self.received.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
            key, _, value = line.decode().partition(":")
            if key.lower() == name:
                return value.strip()
        raise AssertionError(f"no header {name} in {self.received[:400]!r}")

    @property
    def status(self) -> int:
        return int(self.received.split(None, 2)[1])

    def close(self) -> float:
        """The moment of the close, in milliseconds of the monotonic clock."""
        self.socket.close()
        return time.monotonic() * 1000
