"""Loopback hosts with TLS: one that keeps files, one that answers as Civitai does, and a proxy in front of a name of the internet.

They know nothing of the code under test.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

PIECE = 16 * 1024


class Authority:
    """A certificate authority of the test; its certificate lies in a file that ``SSL_CERT_FILE`` can name."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def context(self, *names: str) -> ssl.SSLContext:
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert(*names).configure_cert(made)
        return made


@dataclass
class Page:
    """What lies at one path."""

    data: bytes = b""
    etag: str | None = '"1"'
    type: str = "application/octet-stream"
    status: int = 200
    location: str | None = None
    sent: bytes | None = None
    length: bool = True
    """Whether the host says how long it is."""
    login: bool = False
    """Whether it is for those with a token only (Civitai)."""


@dataclass
class HostSeen:
    """What came in and what went out."""

    requests: list[str] = field(default_factory=list)
    logins: set[str] = field(default_factory=set)
    starts: list[int] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)


class HttpsHost:
    """A host that keeps files; a context manager."""

    def __init__(self, authority: Authority, *names: str) -> None:
        self.pages: dict[str, Page] = {}
        self.seen, self.lock = HostSeen(), threading.Lock()
        self.cut_after: int | None = None
        self.cuts = 0
        """How many times it hangs up after ``cut_after`` bytes."""
        self.busy = 0
        """How many requests get HTTP 503."""
        self.ignore_ranges = False
        self.hold: threading.Event | None = None
        """Set it to let bodies go on after ``cut_after`` bytes."""
        host = self

        class Handler(_HostAnswer):
            owner = host

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = authority.context(*(names or ("127.0.0.1",)))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        self.url = f"https://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def find(self, path: str, query: str, token: str) -> Page:
        return self.pages.get(path, Page(b"nothing here", status=404))

    def __enter__(self) -> HttpsHost:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.hold is not None:
            self.hold.set()
        self._server.shutdown()
        self._server.server_close()


class CivitaiHost(HttpsHost):
    """Civitai: its API as https://developer.civitai.com has it, and downloads that lead to a store with signed addresses."""

    def __init__(self, authority: Authority, store: HttpsHost) -> None:
        super().__init__(authority)
        self.store = store
        self.tokens = {"civitai-good"}
        self.versions: dict[int, dict[str, Any]] = {}
        self.models: dict[int, dict[str, Any]] = {}

    def put(self, version: int, data: bytes, *, name: str = "a.safetensors", login: bool = False, **other: Any) -> None:
        """Publish a version with one file."""
        model = {"id": version * 10, "allowCommercialUse": ["Image", "RentCivit", "Rent"], "allowNoCredit": True}
        self.models[version * 10] = {**model, "allowDerivatives": True, "allowDifferentLicense": True, **other}
        url = f"https://civitai.com/api/download/models/{version}"
        file = {"id": 1, "name": name, "type": "Model", "sizeKB": len(data) / 1024, "primary": True, "downloadUrl": url}
        file |= {"hashes": {"AutoV2": "0", "SHA256": hashlib.sha256(data).hexdigest().upper()}}
        self.versions[version] = {"id": version, "modelId": version * 10, "usageControl": "Download", "files": [file]}
        self.store.pages[f"/signed/{version}"] = Page(data)
        self.pages[f"/api/download/models/{version}"] = Page(
            status=307, location=f"{self.store.url}/signed/{version}?X-Amz-Signature=s1gn", login=login
        )
        self.pages["/login"] = Page(b"<!DOCTYPE html><title>Log in</title>", type="text/html; charset=utf-8")

    def find(self, path: str, query: str, token: str) -> Page:
        if token and token not in self.tokens:
            return _json({"error": "Unauthorized"}, 401)
        kind, _, number = path.removeprefix("/api/v1/").partition("/")
        if path.startswith("/api/v1/"):
            known = {"model-versions": self.versions, "models": self.models}.get(kind, {})
            found = known.get(int(number)) if number.isdigit() else None
            return _json(found) if found else _json({"error": f"No {kind[:-1]} with id {number}"}, 404)
        page = super().find(path, query, token)
        if page.login and not token:
            back = Page(status=307, location="/login?returnUrl=/models/1&reason=download-auth")
            return back if parse_qs(query).get("as") == ["browser"] else _json({"error": "Unauthorized"}, 401)
        return page


def _json(data: Any, status: int = 200) -> Page:
    return Page(json.dumps(data).encode(), type="application/json; charset=utf-8", status=status)


class _HostAnswer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: HttpsHost

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # whoever asked hung up, or does not trust us
            self.close_connection = True

    def do_GET(self) -> None:
        host, parts = self.owner, urlsplit(self.path)
        login = self.headers.get("Authorization") or ""
        with host.lock:
            host.seen.requests.append(self.path)
            if login:
                host.seen.logins.add(login)
            busy, host.busy = host.busy > 0, max(host.busy - 1, 0)
        page = host.find(parts.path, parts.query, login.removeprefix("Bearer "))
        self._send(Page(status=503) if busy else page)

    def _send(self, page: Page) -> None:
        data = page.data if page.sent is None else page.sent
        span = self.headers.get("Range") if page.status == 200 and not self.owner.ignore_ranges else None
        first, _, last = (span or "bytes=0-").removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last) if last else len(data), len(data) - 1)
        self.send_response(page.status if not span else 206 if start < len(data) else 416)
        said = {"Content-Type": page.type, "ETag": page.etag, "Location": page.location}
        if page.length:
            said |= {"Content-Length": str(max(end + 1 - start, 0))}
        else:
            said |= {"Connection": "close"}
        if span and page.length:
            said["Content-Range"] = f"bytes {start}-{end}/{len(data)}" if start < len(data) else f"bytes */{len(data)}"
        for name, value in said.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self._body(data[start : end + 1], start)

    def _body(self, data: bytes, start: int) -> None:
        host = self.owner
        with host.lock:
            host.seen.starts.append(start)
            long = host.cut_after is not None and len(data) > host.cut_after
            cut, host.cuts = long and host.cuts > 0, host.cuts - (long and host.cuts > 0)
        for at in range(0, len(data), PIECE):
            if long and at >= (host.cut_after or 0):
                if cut:
                    self.close_connection = True
                    return
                if host.hold is not None:
                    host.hold.wait(60)
            self.wfile.write(data[at : at + PIECE])
            with host.lock:
                host.seen.sent[self.path.partition("?")[0]] += len(data[at : at + PIECE])


class Proxy:
    """A proxy that finds every name of the internet at one loopback host; a context manager."""

    def __init__(self, host: HttpsHost) -> None:
        self.asked: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

            def do_CONNECT(self) -> None:
                proxy.asked.append(self.path)
                with socket.create_connection(("127.0.0.1", host.port)) as there:
                    self.send_response(200)
                    self.end_headers()
                    back = threading.Thread(target=_copy, args=(there, self.connection), daemon=True)
                    back.start()
                    _copy(self.connection, there)
                    back.join()
                self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(PIECE):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
