"""A real Jupyter kernel: the bar of a running job, pictures, grids, and what an interrupted cell leaves."""

from __future__ import annotations

import io
import os
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager
from PIL import Image

from docs_tools.notebooks import FOREIGN, ROOT

SECONDS = 240
START = """
import asyncio
from ryla_gen import AsyncClient, Client, Flux, FluxDev, RylaGenError, Settings, grid
client, small = Client("emulator"), {"width": 256, "height": 256, "steps": 4, "seed": 7}
long = FluxDev(prompt="a lighthouse", width=2048, height=2048, steps=100)
"""


@dataclass
class Shown:
    """What one cell showed."""

    status: str = ""
    error: str = ""
    trace: str = ""
    text: str = ""
    bundles: list[dict[str, str]] = field(default_factory=list)
    """In order, without those that replace another."""
    bars: list[dict[str, str]] = field(default_factory=list)
    """Every version of what is replaced."""

    def pictures(self) -> list[Image.Image]:
        data = [bundle.get("image/png") or bundle.get("image/jpeg") for bundle in self.bundles if "text/html" not in bundle]
        return [Image.open(io.BytesIO(b64decode(item))) for item in data if item]


class Kernel:
    """A kernel, and cells that run in it."""

    def __init__(self, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        roots = os.pathsep.join([str(ROOT), str(ROOT / "cli")])
        homes = {"RYLA_GEN_HOME": str(folder / "home"), "IPYTHONDIR": str(folder / "ipython"), "PYTHONPATH": roots}
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=kept | homes, cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)

    def run(self, code: str, *, interrupt_when: Callable[[Shown], bool] | None = None) -> Shown:
        shown, asked = Shown(), self.client.execute(code)
        end = time.monotonic() + SECONDS
        while True:
            message = self.client.get_iopub_msg(timeout=end - time.monotonic())
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            take(shown, message["msg_type"], message["content"])
            if interrupt_when is not None and interrupt_when(shown):
                interrupt_when = None
                self.manager.interrupt_kernel()
        while (reply := self.client.get_shell_msg(timeout=end - time.monotonic()))["parent_header"].get("msg_id") != asked:
            pass
        shown.status = reply["content"]["status"]
        return shown

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def take(shown: Shown, kind: str, content: dict[str, Any]) -> None:
    if kind == "stream":
        shown.text += content["text"]
    elif kind == "error":
        shown.error, shown.trace = content["ename"], "\n".join(content["traceback"])
    elif kind in ("display_data", "execute_result", "update_display_data"):
        replaced = content.get("transient", {}).get("display_id")
        (shown.bars if replaced else shown.bundles).append(content["data"])


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    made = Kernel(tmp_path_factory.mktemp("kernel"))
    try:
        assert made.run(START).status == "ok"
        yield made
    finally:
        made.close()


def has_preview(shown: Shown) -> bool:
    return any('<img alt="preview"' in bar["text/html"] for bar in shown.bars)


def test_a_running_job_shows_a_bar_and_its_growing_picture_and_then_the_result(kernel: Kernel) -> None:
    shown = kernel.run("assert asyncio.get_running_loop().is_running()\nclient.flux_dev(prompt='a fox', **small | {'steps': 8})")
    assert shown.status == "ok"
    assert "progressbar" in shown.bars[0]["text/html"]
    assert has_preview(shown)
    assert "progressbar" not in shown.bars[-1]["text/html"]
    assert shown.bars[-1]["text/plain"].startswith("flux_dev · done in ")
    assert [picture.size for picture in shown.pictures()] == [(256, 256)]
    assert "flux_dev · seed 7" in shown.bundles[-1]["text/plain"]


def test_the_async_client_shows_it_too(kernel: Kernel) -> None:
    shown = kernel.run("async with AsyncClient('emulator') as other:\n    made = await other.flux(prompt='a cat', **small)\nmade")
    assert shown.status == "ok"
    assert "progressbar" in shown.bars[0]["text/html"]
    assert "done in" in shown.bars[-1]["text/plain"]
    assert [picture.size for picture in shown.pictures()] == [(256, 256)]


def test_an_error_shows_the_cells_own_lines_and_what_mends_it(kernel: Kernel) -> None:
    calls = ("client.flux(prompt='a fox', width=250)", "await AsyncClient('emulator').run(Flux(prompt='a fox', width=250))")
    for call in calls:
        shown = kernel.run(f"wide = 250\n\n{call}")
        lines = shown.trace.splitlines()
        assert lines[0].startswith("InvalidInputError [invalid_input]: flux does not accept this: width:")
        assert lines[1].startswith("  Nearest valid: width=256.")
        assert lines[2] == f"  in line 3: {call}"
        assert len(lines) == 4
    whole = kernel.run(f"import os; os.environ['RYLA_GEN_DEBUG'] = '1'\n{calls[0]}").trace
    assert "ryla_gen/client/methods.py" in whole
    assert kernel.run("del os.environ['RYLA_GEN_DEBUG']").status == "ok"


def test_a_list_of_results_is_a_grid_and_other_lists_stay_lists(kernel: Kernel) -> None:
    shown = kernel.run("list(client.map(Flux(prompt=p, **small) for p in ('an owl', 'a horse')))")
    assert shown.bars == []
    (picture,) = shown.pictures()
    assert picture.width > 512
    assert "an owl, a horse" in shown.bundles[0]["text/plain"]
    assert kernel.run("[1, 'a']").bundles == [{"text/plain": "[1, 'a']"}]
    assert kernel.run("[]").bundles == [{"text/plain": "[]"}]


def test_a_grid_says_once_what_its_results_warn_of(kernel: Kernel) -> None:
    shown = kernel.run("[client.run(Flux(prompt=prompt, **small)) for prompt in ('a fox', 'a fox at dusk', 'a hare')]")
    [bundle] = [item for item in shown.bundles if "did not paint" in item["text/plain"]]
    assert [line[:36] for line in bundle["text/plain"].splitlines()] == [
        "⚠ The emulator did not paint: 'fox'.",
        "⚠ The emulator did not paint: 'hare'",
    ]
    shown = kernel.run("grid([client.run(Flux(prompt=f'a qq{n} hill', **small)) for n in 'abcdef'])")
    assert shown.bundles[-1]["text/plain"].splitlines()[4:] == ["… and 2 more warnings: see .warnings of each result"]


def test_a_video_is_a_player_and_a_strip_of_frames(kernel: Kernel) -> None:
    shown = kernel.run("client.wan2(prompt='waves', width=256, height=256, length=5, steps=1, seed=7)")
    assert "<video controls" in shown.bundles[0]["text/html"]
    assert 'poster="data:image/jpeg' in shown.bundles[0]["text/html"]
    (strip,) = shown.pictures()
    assert strip.width > 3 * strip.height


def test_it_can_be_switched_off(kernel: Kernel) -> None:
    quiet = "with Client(settings=Settings.load(backend='emulator', notebook=False)) as other:\n"
    shown = kernel.run(quiet + "    made = other.flux(prompt='a cat', **small)\nmade")
    assert shown.status == "ok"
    assert shown.bars == []
    assert len(shown.pictures()) == 1


def test_a_failed_job_says_so_in_its_bar(kernel: Kernel) -> None:
    graph = "{'1': {'class_type': 'EmptyImage', 'inputs': {'width': 64, 'height': 64, 'batch_size': 1, 'color': 0}}}"
    shown = kernel.run(f"client.workflow(graph={graph})")
    assert shown.status == "error"
    assert "failed after" in shown.bars[-1]["text/plain"]


@pytest.mark.parametrize("how", ["client.run(long)", "await AsyncClient('emulator').run(long)"])
def test_interrupting_a_cell_cancels_its_job_and_the_next_cell_works(kernel: Kernel, how: str) -> None:
    shown = kernel.run(how, interrupt_when=has_preview)
    assert shown.status == "error"
    assert shown.error in ("KeyboardInterrupt", "CancelledError")
    assert "canceled after" in shown.bars[-1]["text/plain"]
    after = kernel.run("print(client.jobs.list(limit=1)[0].state, client.flux(prompt='a fox', **small).seed)")
    assert after.status == "ok"
    assert after.text.split() == ["canceled", "7"]
