"""A wire to a ComfyUI server that stops at one request, so that a process can be killed exactly there."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

LOOKING = b"GET /object_info"
"""The job is in the journal, and nothing of it was sent."""
PROMPT = b"POST /prompt"
"""The job is being sent."""


class Gate:
    """Passes everything on, but stops at the first request that begins so.

    Args:
        url: the server behind it.
        at: how the request begins.
        answer: whether the request still goes through, and its answer is what is held.

    """

    def __init__(self, url: str, at: bytes, *, answer: bool = False) -> None:
        self._there = (urlsplit(url).hostname, urlsplit(url).port)
        self._at, self._answer = at, answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listening]
        self._held = bytearray()
        self._beyond: socket.socket | None = None
        self.reached = threading.Event()
        """The request has come, or its answer."""
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for item in self._sockets:
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()

    def release(self) -> None:
        """Let the server have the request that was held, though its sender may be dead."""
        assert self._beyond is not None, "nothing is held"
        self._beyond.sendall(self._held)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here = self._listening.accept()[0]
                beyond = socket.create_connection(self._there, timeout=60)
                self._sockets += [here, beyond]
                held = threading.Event()
                threading.Thread(target=self._there_way, args=(here, beyond, held), daemon=True).start()
                threading.Thread(target=self._back_way, args=(beyond, here, held), daemon=True).start()

    def _there_way(self, here: socket.socket, beyond: socket.socket, held: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := here.recv(1 << 16):
                if data.startswith(self._at) and not self.reached.is_set():
                    held.set()
                    self._beyond = beyond
                if held.is_set() and not self._answer:
                    self._held += data
                    if _whole(self._held):
                        self.reached.set()
                else:
                    beyond.sendall(data)
        if not held.is_set():
            with contextlib.suppress(OSError):
                beyond.shutdown(socket.SHUT_RDWR)

    def _back_way(self, beyond: socket.socket, here: socket.socket, held: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := beyond.recv(1 << 16):
                if held.is_set():
                    self.reached.set()  # it answers, so it has the prompt
                else:
                    here.sendall(data)
            here.shutdown(socket.SHUT_RDWR)


def _whole(request: bytes | bytearray) -> bool:
    """Whether a request has come to its end."""
    head, end, body = bytes(request).partition(b"\r\n\r\n")
    sizes = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if b"transfer-encoding: chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    return bool(end) and len(body) >= sum(sizes)
