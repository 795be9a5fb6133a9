"""The log of a job and of an app on Modal: builds and containers, while they run and when they are gone, secrets masked."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from grpclib import Status

from ryla_gen import Client, Settings
from ryla_gen.backends.logs import LogLine
from ryla_gen.errors import (
    JobExpiredError,
    JobNotFoundError,
    NotAuthorizedError,
    NotDeployedError,
)
from ryla_gen.history import History
from ryla_gen.remote.build_logs import build_log_path
from ryla_gen.remote.graph_deploy import DeployReports, deploy_lock
from ryla_gen.workflows.registry import workflow_class
from tests.cli.shell import envelope, lines, ryla, started
from tests.locks.locking import colour_lock, write_lock
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.modal_loopback.conftest import eventually

from .conftest import EMULATED, ROOT

TOKEN = "hf_" + "a1B2c3D4" * 4
PRINTS = f"cloning a pack with {TOKEN}"
"""What the build of an image prints here."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of the machine that deploys here."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def control(worker_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A control plane on which nothing is deployed, and which builds images aloud."""
    inside = {"RYLA_COMFYUI_COMMAND": EMULATED, "RYLA_WORK_FOLDER": str(tmp_path_factory.mktemp("work"))}
    with Loopback(python=worker_python, container_env=inside, max_containers=1) as loopback:
        yield loopback
        assert loopback.unknown_rpcs == []
        assert loopback.bugs == []


@pytest.fixture
def plane(control: Loopback, clean_environment: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """That control plane, with this process as its client, on the machine that deploys."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "cli")]))
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")
    monkeypatch.setenv("RYLA_GEN_HOME", str(home))
    control.knobs.build_lines = [PRINTS]
    with connected(control):
        yield control
    control.knobs.reset()


def deploy(name: str, home: Path) -> None:
    deploy_lock(write_lock(colour_lock(name), home / "locked"), DeployReports(lambda _: None, lambda _: None))


@pytest.fixture
def gone(plane: Loopback, home: Path) -> str:
    """A job of the lock ``cafe`` that succeeded, its container gone since: its id. Whichever test comes first makes it."""
    if "cafe" not in jobs:
        deploy("cafe", home)
        with Client("modal") as client:
            jobs["cafe"] = str(client.run(workflow_class("cafe")(color=3)).job)
        end_containers(plane)
    return jobs["cafe"]


jobs: dict[str, str] = {}
"""Lock → the job that was run of it."""


def end_containers(plane: Loopback) -> None:
    plane.kill_container()
    eventually(lambda: all(container.exit_code is not None for container in plane.containers))


def log_of(name: str, *, follow: bool = False) -> list[LogLine]:
    with Client("modal") as client:
        return list(client.jobs.logs(name, follow=follow))


def said(found: list[LogLine], part: str) -> list[str]:
    return [line.text for line in found if line.part == part]


def kept(app: str) -> Path:
    return build_log_path(replace(Settings.load(), modal_app=app))


def test_the_log_of_a_job_is_shown_when_its_container_is_gone(gone: str) -> None:
    found = log_of(gone)
    assert "Prompt executed in" in said(found, "comfyui")[-1]
    assert any("runs on the image im-" in text for text in said(found, "comfyui")), "its start is shown too"
    built = [line for line in found if line.part == "build"]
    assert {line.source.partition(" im-")[0] for line in built} == {"build of the image"}, "Modal still has the image's own"
    assert "cloning a pack with [secret]" in said(found, "build")
    assert TOKEN not in str(found)
    assert [line.part for line in found] == sorted(line.part for line in found), "the build first"
    times = [line.at for line in found if line.part == "comfyui"]
    assert None not in times
    assert times == sorted(times, key=str)


def test_what_a_container_wrote_at_other_times_is_left_out_but_for_its_start(gone: str) -> None:
    whole = said(log_of(gone), "comfyui")
    with Client("modal") as client:
        record = client.history.get(gone)
        assert record is not None
        # As if it had run much later: what its container wrote before is its start, and nothing of others.
        client.history.update(gone, started_at="2100-01-01T00:00:00.000Z", finished_at="2100-01-01T00:00:01.000Z")
        start = said(log_of(gone), "comfyui")
        client.history.update(gone, started_at=record.started_at, finished_at=record.finished_at)
    assert any("runs on the image" in text for text in start)
    assert set(start) <= set(whole)


def test_a_name_shows_what_the_last_deploy_said_and_the_newest_containers(gone: str) -> None:
    for name in ("cafe", "ryla-cafe"):
        found = log_of(name)
        assert "cloning a pack with [secret]" in said(found, "build")
        assert "Prompt executed in" in said(found, "comfyui")[-1]
        assert {str(kept("ryla-cafe")) in line.source for line in found if line.part == "build"} == {True}
    assert TOKEN not in kept("ryla-cafe").read_text(encoding="utf-8")
    assert kept("ryla-cafe").stat().st_mode & 0o077 == 0


def test_another_machine_sees_the_app_of_a_name_with_the_build_that_modal_has(
    gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RYLA_GEN_HOME", str(tmp_path / "elsewhere"))
    found = log_of("cafe")
    assert "cloning a pack with [secret]" in said(found, "build")
    assert "build of the image im-" in found[0].source
    assert said(found, "comfyui")
    with pytest.raises(JobNotFoundError, match="Nor is an app") as caught:
        log_of("no-such-name")
    assert "ryla-gen jobs list" in caught.value.hint


def test_what_modal_does_not_know_or_does_not_answer_is_a_typed_error(plane: Loopback, gone: str) -> None:
    with pytest.raises(JobNotFoundError):
        log_of("3b0c0000-0000-4000-8000-000000000000")
    plane.knobs.refuse = {"FunctionCallFromId": Status.NOT_FOUND}
    with pytest.raises(JobExpiredError, match="no longer knows"):
        log_of(gone)
    plane.knobs.refuse = {"AppCountLogs": Status.PERMISSION_DENIED}
    with pytest.raises(NotAuthorizedError):
        log_of(gone)
    plane.knobs.refuse = {"TaskGetInfo": Status.NOT_FOUND, "ImageBuildChainGet": Status.NOT_FOUND}
    found = log_of(gone)
    assert said(found, "comfyui")
    assert "cloning a pack with [secret]" in said(found, "build"), "what was kept stands in"
    assert str(kept("ryla-cafe")) in found[0].source


def test_the_command_prints_lines_for_people_and_for_programs(gone: str) -> None:
    people = ryla("jobs", "logs", gone[:8])
    assert people.returncode == 0, people.stderr
    assert b"Prompt executed in" in people.stdout
    assert TOKEN.encode() not in people.stdout
    assert "── container ta-".encode() in people.stderr
    programs = ryla("jobs", "logs", gone, "--json")
    *entries, _ = lines(programs.stdout)
    assert envelope(programs.stdout)["data"] == {"name": gone, "lines": len(entries)}
    assert {item["type"] for item in entries} == {"log"}
    assert {item["part"] for item in entries} == {"build", "comfyui"}


def test_following_shows_the_start_of_a_cold_container_and_ends_with_the_job(plane: Loopback, gone: str) -> None:
    followed = plane.counts["AppGetLogs"]
    process = started("jobs", "logs", "cafe", "--follow")
    try:
        eventually(lambda: plane.counts["AppGetLogs"] > followed)
        with Client("modal") as client:
            job = client.submit(workflow_class("cafe")(color=4))
            found = [line for line in client.jobs.logs(job.id, follow=True) if line.part == "comfyui"]
            assert (job.done, job.state) == (True, "succeeded")
        assert process.stdout is not None
        own = found[-1].text.encode()  # the other reader saw it too: a name is followed until an interrupt
        assert any(line.strip() == own for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=200)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert b"ryla-gen jobs logs cafe --follow" in err
    texts = [line.text for line in found]
    assert any("runs on the image im-" in text for text in texts)
    assert "Prompt executed in" in texts[-1]
    assert len(set(found)) == len(found), "nothing is shown twice"
    assert said(log_of(job.id, follow=True), "comfyui") == texts, "a job that has ended is shown and not awaited"


def test_a_build_that_failed_is_kept_and_shown_although_there_is_no_app(plane: Loopback, home: Path) -> None:
    plane.knobs.build_lines = ["ERROR: No matching distribution found for strange-pack", "\x1b[31mred\x1b[0m \x07bell"]
    plane.knobs.fail_build = True
    with pytest.raises(NotDeployedError) as caught:
        deploy("broken", home)
    assert "ryla-gen jobs logs ryla-broken" in caught.value.hint
    shown = ryla("jobs", "logs", "ryla-broken")
    assert shown.returncode == 0, shown.stderr
    assert b"No matching distribution found for strange-pack" in shown.stdout
    assert b"red bell" in shown.stdout
    assert b"\x1b" not in shown.stdout + shown.stderr


def test_a_deploy_that_builds_nothing_keeps_what_the_last_build_said(plane: Loopback, gone: str, home: Path) -> None:
    before = kept("ryla-cafe").read_bytes()
    deploy("cafe", home)
    assert kept("ryla-cafe").read_bytes() == before


def test_a_stopped_app_still_has_its_log(plane: Loopback, gone: str, tmp_path: Path) -> None:
    assert ryla("deploy", "delete", "cafe", "--yes").returncode == 0
    assert said(log_of("cafe"), "comfyui")
    assert said(log_of(gone), "comfyui")
    kept("ryla-cafe").unlink()
    shown = ryla("jobs", "logs", "flux", RYLA_GEN_MODAL_APP="ryla-cafe")
    assert (shown.returncode, shown.stdout) == (1, b"")
    assert b"error[not_deployed]: The app ryla-cafe has no class Flux." in shown.stderr


def test_runpod_and_the_embedded_emulator_name_the_place_to_look(clean_environment: Path) -> None:
    with Client("emulator") as client:
        job = client.flux_dev(prompt="a fox", width=256, height=256, steps=1).job
        assert job is not None
        with pytest.raises(JobNotFoundError, match="keeps no log") as caught:
            list(client.jobs.logs(job))
        assert f"ryla-gen jobs show {job[:8]}" in caught.value.hint
    history = History(Settings.load().history_path)
    other = "7f0c4a1e-0000-4000-8000-000000000000"
    history.record(other, backend="runpod", workflow="flux_dev", inputs={}, handle="runpod:x")
    history.close()
    with Client("emulator") as client, pytest.raises(JobNotFoundError, match="on its own pages only") as caught:
        list(client.jobs.logs(other))
    assert "https://console.runpod.io" in caught.value.hint
