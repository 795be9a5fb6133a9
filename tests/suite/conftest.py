"""The places in which the contract suite runs: the emulator in this process, a ComfyUI server, Modal and RunPod on loopbacks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, Settings
from tests.modal_loopback import Loopback, minimal_environment
from tests.modal_loopback.client import connected
from tests.runpod_loopback import ComfyWorker, RunpodLoopback

ROOT = Path(__file__).resolve().parent.parent.parent
IN_CONTAINERS = ("modal", "pydantic", "pillow", "aiohttp", "numpy", "av", "huggingface_hub", "filelock", "obstore")
"""What the images install for the worker; a test compares the images with this project's dependencies."""
EMULATED = "{python} -m ryla_gen.emulator --port {port} --folder {work} --comfyui {comfyui}"
"""What the workers start in ComfyUI's place."""


WORK_FOLDERS: dict[str, Path] = {}
"""Where the containers of each loopback keep their servers' files."""


@dataclass(frozen=True)
class Place:
    """Where the suite runs, and what can be expected there."""

    name: str
    backend: str
    """What results call it."""
    url: str | None
    variables: Mapping[str, str]
    """Environment of a process that runs jobs here."""
    outlives: bool
    """Whether a job goes on when its caller dies."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of a client here."""
    cannot: Mapping[str, str] = field(default_factory=dict)
    """What is impossible here by nature, and why."""

    def client(self) -> Client:
        """A client of this place, with the journal of the test."""
        return Client(settings=Settings.load(backend=self.backend, comfyui_url=self.url, **self.arguments))

    def require(self, ability: str) -> None:
        """Skip the test where the place cannot do what it is about, with the reason."""
        if ability in self.cannot:
            pytest.skip(self.cannot[ability])


RUNPOD_CANNOT = {
    "large files": "RunPod accepts 10 MB with /run and 20 MB with /runsync, base64 included",
    "server version": "worker-comfyui's answer does not tell ComfyUI's version",
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A ComfyUI server in a process of its own, which knows its files and no others: the address."""
    command = [
        sys.executable,
        "-m",
        "ryla_gen_cli",
        "emulator",
        "--strict",
        "--port",
        "0",
        "--folder",
        str(tmp_path_factory.mktemp("server")),
    ]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        if "http://" in line:
            yield "http://" + line.split("http://")[1].split()[0].rstrip(".,/")
            break
    process.terminate()
    process.wait(60)
    process.stdout.close()


@pytest.fixture(scope="session")
def worker_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with what the images install, and nothing of the test environment."""
    return minimal_environment(tmp_path_factory.mktemp("worker"), *IN_CONTAINERS)


@contextmanager
def deployed(
    python: Path, work: Path, source: Path = ROOT, secrets: Mapping[str, Mapping[str, str]] | None = None, **variables: str
) -> Iterator[Loopback]:
    """A loopback with the app of a source tree deployed by Modal's own command, its workers on the emulator.

    The secrets are the workspace's; the app's containers get all of them.
    """
    inside = {"RYLA_COMFYUI_COMMAND": EMULATED, "RYLA_WORK_FOLDER": str(work), **variables}
    given = {name: dict(values) for name, values in (secrets or {}).items()}
    with Loopback(python=python, container_env=inside, secrets=given, max_containers=1) as loopback:
        home = {name: value for name, value in os.environ.items() if not name.startswith(("MODAL_", "RYLA_"))}
        environment = {**home, **loopback.env, "PYTHONPATH": str(source), "RYLA_GEN_HOME": str(work / "home")}
        environment |= {"RYLA_GEN_MODAL_SECRETS": ",".join(given)} if given else {}
        command = [sys.executable, "-m", "modal", "deploy", "-m", "ryla_gen.remote.app"]
        done = subprocess.run(command, env=environment, cwd=work, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        WORK_FOLDERS[loopback.url] = work
        yield loopback


@pytest.fixture(scope="session")
def modal_app(worker_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """One loopback with the app, for the whole suite."""
    with deployed(worker_python, tmp_path_factory.mktemp("modal")) as loopback:
        yield loopback
        assert loopback.unknown_rpcs == []
        assert loopback.bugs == []


@pytest.fixture(scope="session")
def runpod(server: str) -> Iterator[RunpodLoopback]:
    """One RunPod endpoint whose worker runs graphs on the ComfyUI server."""
    with RunpodLoopback(ComfyWorker(server)) as loopback:
        yield loopback


@pytest.fixture(params=["emulator", "comfyui", "modal", "modal-cbor", "runpod"])
def place(request: pytest.FixtureRequest, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Each place in turn."""
    kind: str = request.param
    if kind == "emulator":
        yield Place(kind, "emulator", None, {"RYLA_GEN_BACKEND": "emulator"}, outlives=False)
    elif kind == "comfyui":
        url = request.getfixturevalue("server")
        yield Place(kind, "comfyui", url, {"COMFYUI_POD_URL": url}, outlives=True)
    elif kind == "runpod":
        endpoint: RunpodLoopback = request.getfixturevalue("runpod")
        # ComfyUI is up and has its weights, so a workflow's limit needs no allowance for loading; the price is made up.
        arguments = {"runpod_load_seconds": 0.0, "runpod_usd_per_second": 0.001}
        inside = {f"RYLA_GEN_{name.upper()}": str(value) for name, value in arguments.items()}
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        variables = {**endpoint.environment, **inside, "RYLA_GEN_BACKEND": "runpod"}
        yield Place(kind, "runpod", None, variables, outlives=True, arguments=arguments, cannot=RUNPOD_CANNOT)
    else:
        loopback: Loopback = request.getfixturevalue("modal_app")
        payload = {"MODAL_PAYLOAD_FORMAT": "cbor"} if kind == "modal-cbor" else {}
        with connected(loopback, **payload):
            yield Place(kind, "modal", None, {**loopback.env, **payload, "RYLA_GEN_BACKEND": "modal"}, outlives=True)


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    """A client of the place."""
    with place.client() as made:
        yield made


Elsewhere = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def elsewhere(place: Place, clean_environment: Path) -> Elsewhere:
    """Runs a script in another process that knows the same place and the same journal."""

    def run(script: str) -> subprocess.CompletedProcess[str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("MODAL_", "RYLA_", "COMFYUI_", "RUNPOD_"))
        }
        environment = {**kept, **place.variables, "RYLA_GEN_HOME": str(clean_environment), "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=600, check=False
        )

    return run
