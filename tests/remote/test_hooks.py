"""A hook on outputs in the containers of Modal: it travels with the app, and what it refuses never leaves them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, Flux, Settings
from ryla_gen.errors import HookFailedError, RefusedError
from ryla_gen.events import Finished, Preview
from ryla_gen.remote.hook_requirements import lock_warnings
from ryla_gen.results import Output
from ryla_gen.workflows.base import Workflow
from ryla_gen_cli.app import run
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.support.hooks import RULE, install, known_here

from .conftest import EMULATOR, ROOT, SMALL, deploy, method

BROKEN = """
from ryla_gen.errors import RefusedError

def check(output, workflow):
    if "broken" in workflow.prompt:
        raise KeyError(output.data)
"""
FINE, BAD = Flux(**SMALL), Flux(**{**SMALL, "prompt": "a forbidden fox"})


@pytest.fixture(scope="module")
def hooked(container_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """An app that was deployed where two packages with hooks are installed; its containers have nothing else of them."""
    folder = tmp_path_factory.mktemp("hooked")
    install(folder / "site", "ryla_rule", RULE)
    install(folder / "site", "ryla_broken", BROKEN)
    inside = {"RYLA_COMFYUI_COMMAND": EMULATOR, "RYLA_WORK_FOLDER": str(folder / "work")}
    with Loopback(python=container_python, container_env=inside, max_containers=1) as loopback:
        deploy(loopback, folder, PYTHONPATH=f"{ROOT}:{folder / 'site'}")
        yield loopback
        assert loopback.unknown_rpcs == []
        assert loopback.bugs == []


@pytest.fixture
def app(hooked: Loopback, clean_environment: Path) -> Iterator[Loopback]:
    with connected(hooked):
        yield hooked


def test_what_a_container_made_is_asked_about_there(app: Loopback) -> None:
    with Client(settings=Settings.load(backend="modal")) as client:
        made = client.run(FINE)
        assert made.server["on_output"] == ["ryla_broken", "ryla_rule"]
        with pytest.raises(RefusedError) as caught:
            client.run(BAD)
        record = client.jobs.list()[0]
    told = {"output": "flux-7-0.png", "hook": "ryla_rule", "said": {"score": 0.9}}
    assert {key: caught.value.details[key] for key in told} == told
    assert (record.state, record.error["code"]) == ("failed", "refused")  # type: ignore[index]
    assert record.cost_usd == caught.value.details["cost_usd"]
    rate = made.cost.total_usd / made.cost.gpu_seconds
    assert record.cost_usd == pytest.approx(caught.value.details["gpu_seconds"] * rate)


def test_a_hook_that_is_installed_here_and_not_in_the_app_is_named(app: Loopback, tmp_path: Path) -> None:
    install(tmp_path / "site", "ryla_later", "import no_such_package\n")
    with known_here(tmp_path / "site"), Client(settings=Settings.load(backend="modal")) as client:
        [notice] = [item for item in client.run(FINE).warnings if item.code == "hook_not_asked"]
    assert "ryla_later" in notice.message


def test_a_refusal_is_a_reply_that_any_caller_reads_and_holds_nothing_of_the_output(app: Loopback) -> None:
    reply = method("flux").remote({"inputs": {**SMALL, "prompt": "broken"}})
    assert (reply["ok"], reply["error"]["code"], reply["error"]["details"]["hook"]) == (False, "hook_failed", "ryla_broken")
    assert "KeyError" in reply["error"]["message"]
    assert "IHDR" not in str(reply)
    assert b"IHDR" not in repr(reply).encode()


def test_no_preview_leaves_a_container_with_a_hook(app: Loopback) -> None:
    with Client(settings=Settings.load(backend="modal")) as client:
        job = client.submit(FINE.changed(width=1024, height=1024, steps=8, seed=11))
        seen = list(job.events())
    assert isinstance(seen[-1], Finished)
    assert not any(isinstance(event, Preview) for event in seen)


def test_a_client_has_its_own_hook_beside(app: Loopback) -> None:
    def refuse(output: Output, workflow: Workflow) -> None:
        raise RefusedError("Nothing today.")

    with Client(settings=Settings.load(backend="modal"), on_output=refuse) as client:
        job = client.submit(FINE)
        assert [event.state for event in job.events() if isinstance(event, Finished)] == ["failed"]
        with pytest.raises(RefusedError, match="Nothing today"):
            job.result()
        [record] = client.jobs.list()
        assert record.cost_usd
        with pytest.raises(RefusedError):  # by this client, nobody gets it later
            client.jobs.get(record.id).result()


def test_a_hook_whose_requirements_the_image_lacks_lets_nothing_run(container_python: Path, tmp_path: Path,
                                                                    clean_environment: Path) -> None:  # fmt: skip
    install(tmp_path / "site", "ryla_needy", "import no_such_classifier\n")
    inside = {"RYLA_COMFYUI_COMMAND": EMULATOR, "RYLA_WORK_FOLDER": str(tmp_path / "work")}
    with Loopback(python=container_python, container_env=inside, max_containers=1) as loopback:
        deploy(loopback, tmp_path, PYTHONPATH=f"{ROOT}:{tmp_path / 'site'}")
        with connected(loopback), Client(settings=Settings.load(backend="modal")) as client:
            with pytest.raises(HookFailedError, match="ModuleNotFoundError.*no_such_classifier"):
                client.run(FINE)
            assert not client.jobs.list()[0].cost_usd


def test_a_hook_that_would_stay_behind_ends_the_deploy(tmp_path: Path) -> None:
    install(tmp_path / "site", "ryla_unpacked", RULE)
    (tmp_path / "site" / "ryla_unpacked-1.0.dist-info" / "RECORD").unlink()  # as packages of a distribution are
    environment: dict[str, Any] = {"PYTHONPATH": f"{ROOT}:{tmp_path / 'site'}", "RYLA_GEN_HOME": str(tmp_path)}
    call = [sys.executable, "-c", "import ryla_gen.remote.app"]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "The hook ryla_unpacked" in done.stderr
    assert "Install it with pip" in done.stderr


WANTS = (
    "ryla-gen>=0.2",
    "Pillow>=9",
    "numpy>=99",
    "onnxruntime>=1.20",
    "no_such.classifier[gpu]>=2; python_version >= '3.9'",
    "pywin32; sys_platform == 'win32'",
    "tests-alone; extra == 'dev'",
)


def test_what_a_hook_requires_and_an_image_lacks_is_named_before_a_deploy(
    tmp_path: Path, clean_environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path / "site", "ryla_wanting", RULE, requires=WANTS)
    with Loopback() as modal, connected(modal), known_here(tmp_path / "site"):
        assert run(["deploy", "--only", "flux", "--only", "faces"]) == 2, "it asks, and nobody is there to answer"
        said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if "ryla_wanting" in line]
    assert len(lines) == 2, "one for each kind of image"
    both, faces = "numpy>=99 (it has 2.2.6)", next(line for line in lines if "of Faces " in line)
    assert "requires numpy>=99 (it has 2.2.6), no_such.classifier>=2, which the image of Faces does not install" in faces
    flux = next(line for line in lines if "of Flux " in line)
    assert f"requires {both}, onnxruntime>=1.20, no_such.classifier>=2, which the image of Flux" in flux
    assert not [name for name in ("ryla-gen>", "Pillow", "pywin32", "tests-alone") if name in both + faces + flux]
    assert "hook_failed" in faces and faces.startswith("warning: ")


def test_a_lock_is_deployed_with_the_same_warning(tmp_path: Path, clean_environment: Path) -> None:
    install(tmp_path / "site", "ryla_wanting", RULE, requires=("no-such-classifier",))
    requirements = tmp_path / "x.requirements.txt"
    requirements.write_text("numpy==2.2.6 \\\n    --hash=sha256:0\n")
    with known_here(tmp_path / "site"):
        (warning,) = lock_warnings(requirements, "3.11")
        assert "ryla_wanting requires no-such-classifier, which the image of this lock does not install" in warning
        requirements.write_text("no-such-classifier==1.0 \\\n    --hash=sha256:0\n")
        assert lock_warnings(requirements, "3.11") == []
