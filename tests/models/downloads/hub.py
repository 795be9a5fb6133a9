"""A loopback hub: what the hub's resolve addresses and its store (on a port of its own) answer, with knobs and counters.

Also a GitHub release page, whose files lie in the same store. Knows nothing of the code under test.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import unquote, urlsplit

COMMIT = "1234567890abcdef1234567890abcdef12345678"
PIECE = 16 * 1024


@dataclass
class Stored:
    """One file: what the hub says of it, and what its store sends."""

    data: bytes
    sent: bytes
    commit: str
    large: bool = True


@dataclass
class Knobs:
    """How the hub misbehaves; the counting ones count down."""

    speed: float | None = None
    """Bytes a second that each connection gets."""
    cut_after: int | None = None
    cuts: int = 0
    """How many times the store hangs up after ``cut_after`` bytes."""
    stall_after: int | None = None
    stalls: int = 0
    """How many times the store falls silent after ``stall_after`` bytes, until it is asked again."""
    busy: int = 0
    """How many requests get HTTP 503."""
    ignore_ranges: bool = False
    restless: bool = False
    """Whether somebody pushes a commit after every question for the newest one."""
    refuse_store: int = 0
    """How many requests the store refuses with 403, as with a signed address that ran out."""


@dataclass
class Seen:
    """What came in and what went out."""

    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """(host's role, method, path)."""
    logins: dict[str, set[str]] = field(default_factory=lambda: {"hub": set(), "store": set()})
    """The authorization headers each host saw."""
    sent: Counter[str] = field(default_factory=Counter)
    """Bytes of bodies by file."""
    starts: list[int] = field(default_factory=list)
    """Where the downloads of the store began."""
    at_once: int = 0
    most_at_once: int = 0


class Hub:
    """The two servers; a context manager."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], Stored] = {}
        self.gated: dict[str, set[str]] = {}
        """Repository → tokens that were let in."""
        self.cards: dict[str, dict[str, object]] = {}
        """Repository → what stands at the top of its model card."""
        self.closed: set[str] = set()
        """Gated repositories of which even the list of files is refused."""
        self.renamed: dict[str, str] = {}
        """Former name of a repository → its name now."""
        self.tokens = {"hf_good", "hf_stranger"}
        self.revisions: set[str] = {"main", COMMIT}
        self.head = COMMIT
        self.knobs, self.seen, self.lock = Knobs(), Seen(), threading.Lock()
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, role)) for role in ("hub", "store")]
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.url, self.store = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)

    def put(self, repo: str, file: str, data: bytes, *, sent: bytes | None = None, large: bool = True) -> None:
        self.files[repo, file] = Stored(data, data if sent is None else sent, self.head, large)

    def count(self, role: str, method: str | None = None) -> int:
        return sum(1 for who, how, _ in self.seen.requests if who == role and method in (None, how))

    @property
    def sent(self) -> int:
        return sum(self.seen.sent.values())

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


def _handler(hub: Hub, role: str) -> type[BaseHTTPRequestHandler]:
    class Handler(_Answer):
        pass

    Handler.hub, Handler.role = hub, role
    return Handler


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    role: str

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        with hub.lock:
            hub.seen.requests.append((self.role, self.command, path))
            if login := self.headers.get("Authorization"):
                hub.seen.logins[self.role].add(login)
            busy, hub.knobs.busy = hub.knobs.busy > 0, max(hub.knobs.busy - 1, 0)
        if busy:
            return self._refuse(503, retry="0")
        if self.role == "store":
            return self._stored(path)
        if "/releases/download/" in path:
            return self._redirect(path.replace("/releases/download/", "@").lstrip("/"))
        if path.startswith("/api/models/"):
            return self._info(path.removeprefix("/api/models/"))
        return self._resolve(path)

    def _info(self, path: str) -> None:
        """Answer with what the hub says of a repository, the sizes and hashes of its files with ``?blobs=true`` only."""
        hub, (repo, _, revision) = self.hub, path.partition("/revision/")
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in hub.tokens:
            return self._refuse(401)
        if not any(known == repo for known, _ in hub.files):
            return self._refuse(404, "RepoNotFound") if token else self._refuse(401)
        if repo in hub.closed and token not in hub.gated.get(repo, set()):
            return self._refuse(403 if token else 401, "GatedRepo")
        if revision and revision not in hub.revisions:
            return self._refuse(404, "RevisionNotFound")
        blobs = "blobs=" in self.path
        files = [_sibling(file, stored, blobs) for (known, file), stored in hub.files.items() if known == repo]
        commit = hub.head if revision in ("", "main") else revision if len(revision) == 40 else COMMIT
        said = {"id": repo, "sha": commit, "private": False, "gated": "manual" if repo in hub.gated else False, "siblings": files}
        return self._json(said | ({"cardData": hub.cards[repo]} if repo in hub.cards else {}))

    def _json(self, data: object) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str = "", retry: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if retry:
            self.send_header("Retry-After", retry)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _redirect(self, key: str, *headers: tuple[str, str]) -> None:
        self._elsewhere(302, f"{self.hub.store}/{key}", *headers)

    def _elsewhere(self, status: int, address: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        self.send_header("Location", address)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _resolve(self, path: str) -> None:
        hub, (repo, _, rest) = self.hub, path.lstrip("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        if repo in hub.renamed:
            return self._elsewhere(307, f"/{hub.renamed[repo]}/resolve/{rest}")
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in hub.tokens:
            return self._refuse(401)
        if not any(known == repo for known, _ in hub.files):
            return self._refuse(404, "RepoNotFound") if token else self._refuse(401)
        if repo in hub.gated and token not in hub.gated[repo]:
            return self._refuse(403 if token else 401, "GatedRepo")
        if revision not in hub.revisions:
            return self._refuse(404, "RevisionNotFound")
        stored = hub.files.get((repo, file))
        if stored is None:
            return self._refuse(404, "EntryNotFound")
        commit = hub.head if revision == "main" else revision
        if hub.knobs.restless and revision == "main":
            hub.head = _sha1(hub.head.encode())
            hub.revisions.add(hub.head)
        if not stored.large:
            return self._send(f"{repo}/{file}", stored.sent, ("X-Repo-Commit", commit), ("ETag", f'"{_sha1(stored.data)}"'))
        etag, size = ("X-Linked-Etag", f'"{_sha256(stored.data)}"'), ("X-Linked-Size", str(len(stored.data)))
        xet = (
            "X-Xet-Hash",
            _sha256(stored.data[::-1]),
        )  # as large files have: HTTP must do all the same
        refresh = ("X-Xet-Refresh-Route", f"{hub.url}/api/models/{repo}/xet-read-token/{commit}")
        return self._redirect(f"{repo}@{file}", etag, size, xet, refresh, ("X-Repo-Commit", commit), ("ETag", '"of the redirect"'))

    def _stored(self, path: str) -> None:
        hub, (repo, _, file) = self.hub, path.lstrip("/").partition("@")
        with hub.lock:
            refused, hub.knobs.refuse_store = hub.knobs.refuse_store > 0, max(hub.knobs.refuse_store - 1, 0)
        if refused:
            return self._refuse(403)
        stored = hub.files.get((repo, file))
        if stored is None:
            return self._refuse(404)
        return self._send(f"{repo}/{file}", stored.sent, ("ETag", f'"{_sha1(stored.sent)}"'))

    def _send(self, name: str, data: bytes, *headers: tuple[str, str]) -> None:
        span = self.headers.get("Range") if not self.hub.knobs.ignore_ranges else None
        first, _, last = (span or "bytes=0-").removeprefix("bytes=").partition("-")
        start, end = int(first), int(last) if last else len(data) - 1
        if start >= len(data):
            return self._refuse(416)
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
        for key, value in (*headers, ("Content-Length", str(end + 1 - start))):
            self.send_header(key, value)
        self.end_headers()
        return self._body(name, data[start : end + 1], start) if self.command == "GET" else None

    def _body(self, name: str, data: bytes, start: int) -> None:
        hub = self.hub
        with hub.lock:
            hub.seen.starts.append(start)
            hub.seen.at_once += 1
            hub.seen.most_at_once = max(hub.seen.most_at_once, hub.seen.at_once)
            cut, hub.knobs.cuts = hub.knobs.cuts > 0, max(hub.knobs.cuts - 1, 0)
            silent_until = time.monotonic() + 60
            stall, hub.knobs.stalls = hub.knobs.stalls > 0, max(hub.knobs.stalls - 1, 0)
        try:
            for at in range(0, len(data), PIECE):
                if (cut and at >= (hub.knobs.cut_after or 0)) or (stall and at >= (hub.knobs.stall_after or 0)):
                    asked = len(hub.seen.starts)
                    while stall and len(hub.seen.starts) == asked and time.monotonic() < silent_until:
                        time.sleep(0.01)
                    self.close_connection = True
                    return
                piece = data[at : at + PIECE]
                self.wfile.write(piece)
                with hub.lock:
                    hub.seen.sent[name] += len(piece)
                if hub.knobs.speed:
                    time.sleep(len(piece) / hub.knobs.speed)
        except OSError:
            self.close_connection = True
        finally:
            with hub.lock:
                hub.seen.at_once -= 1


def _sibling(file: str, stored: Stored, blobs: bool) -> dict[str, object]:
    if not blobs:
        return {"rfilename": file}
    lfs = {"sha256": _sha256(stored.data), "size": len(stored.data), "pointerSize": 134}
    return {"rfilename": file, "size": len(stored.data), "blobId": _sha1(stored.data)} | ({"lfs": lfs} if stored.large else {})


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
