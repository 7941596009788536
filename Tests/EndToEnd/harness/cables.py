"""Cables between an agent and the router: one that a test carries the bytes of, and one of a network of the agent's own."""

import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time

import pytest

NEW_NETWORK = 0x40000000  # CLONE_NEWNET of setns(2)


class Cable:
    """A TCP proxy between one agent and the router: it can hold all bytes back for a while, and be cut."""

    def __init__(self, address: str, listener: socket.socket | None = None):
        """`listener`: where the agent finds it, if not on this machine's loopback."""
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        self.target = (host, int(port))
        self.listener = listener or socket.create_server(("127.0.0.1", 0))
        self.delay = 0.0
        self.ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        host, port = self.listener.getsockname()
        return f"tcp://{host}:{port}"

    def _accept(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            there = socket.create_connection(self.target)
            self.ends += [here, there]
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket):
        try:
            while data := source.recv(65536):
                time.sleep(self.delay)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()

    def cut(self):
        ends, self.ends = self.ends, []
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
        self.cut()


class Machine:
    """A network of its own, as another machine has one, and a cable from it to this one, which can be pulled: nobody is told then, packets are lost."""

    def __init__(self):
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.skip("making a network namespace needs root, and `ip` of iproute2")
        mark = secrets.token_hex(4)
        self.name, self.near, far = f"xerotier-{mark}", f"xn{mark}", f"xf{mark}"
        net = f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}"
        self.address = f"{net}.1"
        try:
            self._ip("netns", "add", self.name)
            self._ip("link", "add", self.near, "type", "veth", "peer", "name", far, "netns", self.name)
            self._ip("address", "add", f"{net}.1/30", "dev", self.near)
            self._ip("-n", self.name, "address", "add", f"{net}.2/30", "dev", far)
            for link in ("lo", far):
                self._ip("-n", self.name, "link", "set", link, "up")
            # Programs start in it with a view of /sys of their own, which not every container allows.
            subprocess.run([*self.launcher, "true"], check=True, capture_output=True, text=True)
            self.plug()
        except subprocess.CalledProcessError as problem:
            self.close()
            pytest.skip(f"this machine makes no network namespaces: {' '.join(problem.cmd)}: {problem.stderr.strip()}")

    @staticmethod
    def _ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)

    @property
    def launcher(self) -> list:
        """What a program is started by that runs there."""
        return ["ip", "netns", "exec", self.name]

    def listen(self, port: int) -> socket.socket:
        """On the loopback there: a socket stays in the network in which it was made."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(network):
            if libc.setns(network.fileno(), NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), "setns")

        # Of this thread alone.
        with open("/proc/thread-self/ns/net") as here, open(f"/run/netns/{self.name}") as there:
            enter(there)
            try:
                return socket.create_server(("127.0.0.1", port))
            finally:
                enter(here)

    def plug(self):
        self._ip("link", "set", self.near, "up")

    def pull(self):
        self._ip("link", "set", self.near, "down")

    def close(self):
        # What was not made is no news here.
        subprocess.run(["ip", "link", "delete", self.near], capture_output=True)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True)

