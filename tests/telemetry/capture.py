"""A PostHog of our own on the loopback: takes the library's batches, decodes them, counts, and misbehaves on request."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Capture:
    """The server, its knobs and its counters."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        """Everything captured, in order of arrival."""
        self.keys: set[str] = set()
        """Project keys that were sent."""
        self.raw = b""
        """Every body, decompressed: what left this machine."""
        self.encodings: set[str | None] = set()
        self.asked = 0
        """Requests that arrived."""
        self.answered = 0
        """Requests that were answered."""
        self.status = 200
        """What every request is answered with."""
        self.go = threading.Event()
        """While it is clear, no request is answered."""
        self.go.set()
        self.came = threading.Event()
        """Set when a request arrived."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def names(self) -> list[str]:
        """Names of the captured events."""
        return [item["event"] for item in self.events]

    def properties(self, event: str) -> dict[str, Any]:
        """What the one event of this name says, without what the library says of itself."""
        (found,) = [item["properties"] for item in self.events if item["event"] == event]
        return {name: value for name, value in found.items() if not name.startswith("$")}

    def take(self, path: str, encoding: str | None, body: bytes) -> None:
        """Keep one request."""
        self.asked += 1
        self.encodings.add(encoding)
        plain = gzip.decompress(body) if encoding == "gzip" else body
        self.raw += path.encode() + plain
        told = json.loads(plain)
        self.keys.add(told["api_key"])
        if self.status == 200:
            self.events += told["batch"]
        self.came.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def _handler(capture: Capture) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            capture.take(self.path, self.headers.get("Content-Encoding"), body)
            capture.go.wait(600)
            try:
                self.send_response(capture.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")
                capture.answered += 1
            except OSError:
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    return Handler
