"""A loopback registry of node packs: what its documented addresses answer, with knobs. Knows nothing of the code under test."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass
class Knobs:
    """How the registry misbehaves."""

    status: int = 0
    """Every request gets this HTTP status."""
    words: bytes | None = None
    """Every answer has this body."""
    silent: bool = False
    """No request is answered before the registry ends."""


class Registry:
    """The server; a context manager."""

    def __init__(self) -> None:
        self.packs: dict[str, dict[str, Any]] = {}
        self.versions: dict[tuple[str, str], dict[str, Any]] = {}
        self.claims: dict[str, str] = {}
        """Class → id of the pack that claims it."""
        self.moved: dict[str, str] = {}
        """Address → where it redirects to."""
        self.knobs, self.seen, self.ended = Knobs(), list[str](), threading.Event()
        handler = type("Handler", (_Answer,), {"registry": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, name: str, repository: str, *versions: str, **more: Any) -> None:
        latest = {"version": versions[-1]} if versions else None
        self.packs[name] = {"id": name, "name": name, "repository": repository, "status": "NodeStatusActive"} | more
        self.packs[name]["latest_version"] = latest
        for version in versions:
            row = {
                "id": f"uuid-{version}",
                "version": version,
                "status": "NodeVersionStatusActive",
                "downloadUrl": "https://x/node.zip",
            }
            self.versions[name, version] = row

    def answer(self, path: str) -> dict[str, Any] | None:
        match path.strip("/").split("/"):
            case ["nodes", name]:
                return self.packs.get(name)
            case ["nodes", name, "versions", version]:
                return self.versions.get((name, version))
            case ["comfy-nodes", kind, "node"]:
                return self.packs.get(self.claims.get(unquote(kind), ""))
        return None

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()


class _Answer(BaseHTTPRequestHandler):
    registry: Registry

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return

    def do_GET(self) -> None:
        registry, knobs = self.registry, self.registry.knobs
        registry.seen.append(self.path)
        if knobs.silent:
            registry.ended.wait()
            return
        row = registry.answer(self.path)
        status = knobs.status or (302 if self.path in registry.moved else 200 if row else 404)
        body = knobs.words if knobs.words is not None else json.dumps(row or {"message": "Node not found"}).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", registry.moved[self.path])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
