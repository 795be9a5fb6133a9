"""After the first picture one command leads on: the one that fits, on a terminal, once per kind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ryla_gen import Client, Flux, Generation
from ryla_gen.emulator.server import Emulator
from ryla_gen.results import Cost
from ryla_gen.settings import Settings
from ryla_gen_cli import next_step
from ryla_gen_cli.next_step import choose_step, is_comfyui

from .shell import SMALL, ryla
from .terminal import shown

ON_A_GPU = b"Next, on a GPU: ryla-gen init --backend modal"


class _Answer(BaseHTTPRequestHandler):
    """Says what a ComfyUI says of itself."""

    said = b'{"system": {"comfyui_version": "0.28.2"}}'

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.said)

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def comfyui(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of something that says it is ComfyUI."""
    monkeypatch.setattr(next_step, "PATIENCE", 60.0)  # a busy machine may not answer within half a second
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def generation() -> Generation:
    with Client("emulator") as client:
        return client.run(Flux(prompt="a boat", width=256, height=256, steps=1, seed=7))


def test_on_a_terminal_it_is_printed_after_the_first_picture_and_never_again(tmp_path: Path) -> None:
    line = ("run", "flux", "a boat", *SMALL, "--no-preview", "-o", str(tmp_path / "{index}-{job}.png"))
    for wanted in (1, 0):
        code, said = shown(*line, folder=tmp_path)
        assert (code, said.count(ON_A_GPU)) == (0, wanted), said


def test_programs_and_pipes_are_given_no_advice(tmp_path: Path) -> None:
    for more in ([], ["--json"]):
        done = ryla("run", "flux", "a boat", *SMALL, *more, "-o", str(tmp_path / "{job}.png"))
        assert (done.returncode, b"Next" in done.stdout + done.stderr) == (0, False)


def test_it_fits_what_was_run_and_what_is_there(generation: Generation, comfyui: int) -> None:
    settings = Settings.load()
    nothing = frozenset[str]()
    graph = choose_step(settings, generation, "portrait.json", nothing)
    assert graph is not None and "ryla-gen graph lock" in graph.text
    own = choose_step(settings, generation, "", nothing, comfyui)
    assert own is not None and f"ryla-gen init --url http://127.0.0.1:{comfyui}" in own.text
    paid = replace(generation, backend="modal", cost=Cost(total_usd=0.01))
    costs = choose_step(settings, paid, "", nothing)
    assert costs is not None and costs.text.endswith("ryla-gen costs")
    assert choose_step(settings, paid, "", frozenset({"costs"})) is None
    assert choose_step(Settings.load(backend="emulator"), generation, "", nothing) is None, "it was chosen"


@pytest.mark.parametrize("said", [b"", b"[]", b'{"system": 1}', b'{"system": {}}', b'{"system": {"emulator": 1}}'])
def test_only_a_comfyui_counts_as_one(said: bytes, comfyui: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_comfyui(comfyui)
    monkeypatch.setattr(_Answer, "said", said)
    assert not is_comfyui(comfyui)


def test_the_emulator_and_a_closed_port_are_no_comfyui() -> None:
    with Emulator() as server:
        port = int(server.url.rpartition(":")[2])
        assert not is_comfyui(port)
    assert not is_comfyui(port)
