"""Modal's own commands read the logs that the loopback keeps: of apps, containers, calls and builds of images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import modal
import pytest

from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.modal_loopback.conftest import check, eventually, run

SOURCE = """
import sys
import modal

app = modal.App("writer", include_source=False)
image = modal.Image.debian_slim()
if modal.is_local():
    image = image.run_commands("echo building").add_local_file(__file__, "/root/writer_app.py")


@app.cls(image=image)
class Writer:
    @modal.enter()
    def start(self) -> None:
        print("it starts")

    @modal.method()
    def write(self, text: str) -> None:
        print(text)
        print(f"{text}, an error", file=sys.stderr)
"""


@pytest.fixture
def loopback(minimal_python: Path, clean_environment: Path, tmp_path: Path) -> Iterator[Loopback]:
    """A loopback with an app that writes, its image built aloud."""
    (tmp_path / "writer_app.py").write_text(SOURCE)
    with Loopback(python=minimal_python, max_containers=1) as loopback:
        loopback.knobs.build_lines = ["a layer is built"]
        done = run(loopback, "-m", "modal", "deploy", "-m", "writer_app", PYTHONPATH=str(tmp_path))
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("a layer is built") == 2, "the base image is one too"
        with connected(loopback):
            yield loopback
        check(loopback)


def modal_command(loopback: Loopback, *words: str) -> str:
    done = run(loopback, "-m", "modal", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_was_written_is_found_by_app_container_call_and_image_when_all_is_over(loopback: Loopback) -> None:
    began = datetime.fromtimestamp(time.time() - 60, UTC)
    call = modal.Cls.from_name("writer", "Writer")().write.spawn("the first line")
    call.get()
    other = modal.Cls.from_name("writer", "Writer")().write.spawn("the other line")
    other.get()
    (container,) = loopback.containers
    loopback.kill_container(container)
    eventually(lambda: container.finished_at > 0)
    whole = modal_command(loopback, "app", "logs", "writer")
    assert [text in whole for text in ("it starts", "the first line", "the first line, an error", "the other line")] == [True] * 4
    assert "it starts" in modal_command(loopback, "container", "logs", container.id, "--all")
    own = "".join(entry.message for entry in call.logs.fetch(since=began))
    assert ("the first line" in own, "the other line" in own, "it starts" in own) == (True, False, False)
    assert {entry.source for entry in call.logs.fetch()} == {"stdout", "stderr"}
    built = modal_command(loopback, "image", "logs", loopback.images[-1], "--all")
    assert built.count("a layer is built") == 2


def test_a_call_is_streamed_until_it_ends(loopback: Loopback) -> None:
    call = modal.Cls.from_name("writer", "Writer")().write.spawn("a streamed line")
    assert "a streamed line" in "".join(entry.message for entry in call.logs.stream())
    call.get()


def test_a_build_that_fails_says_so_and_keeps_its_log(loopback: Loopback, tmp_path: Path) -> None:
    loopback.knobs.fail_build = True
    loopback.knobs.build_lines = ["it goes wrong here"]
    (tmp_path / "writer_app.py").write_text(SOURCE.replace("echo building", "echo failing"))
    done = run(loopback, "-m", "modal", "deploy", "-m", "writer_app", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "it goes wrong here" in done.stdout
    image = (done.stdout + done.stderr).rpartition("modal image logs ")[2].split()[0]
    assert "it goes wrong here" in modal_command(loopback, "image", "logs", image)
