"""A package index on this machine that says when each file was uploaded, as the one of Python does."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def serve_wheels(folder: Path, uploaded: Mapping[str, str]) -> Iterator[str]:
    """Serve a folder of wheels; the address for uv.

    Args:
        folder: where the wheels are.
        uploaded: time of upload, by the name of the file.

    """

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            kind, _, name = self.path.strip("/").partition("/")
            if kind == "files":
                self._answer((folder / name).read_bytes(), "application/octet-stream")
                return
            files = [
                {
                    "filename": path.name,
                    "url": f"/files/{path.name}",
                    "hashes": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
                    "upload-time": uploaded[path.name],
                }
                for path in sorted(folder.glob(f"{name.strip('/')}-*.whl"))
            ]
            page = {"meta": {"api-version": "1.1"}, "name": name.strip("/"), "files": files}
            self._answer(json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")

        def _answer(self, data: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()
            thread.join()
