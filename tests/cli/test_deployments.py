"""``deploy history``, ``rollback`` and ``delete``, with Modal's real client on a loopback control plane."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import modal
import pytest
from grpclib import Status
from modal.exception import NotFoundError
from modal_proto import api_pb2 as pb

from ryla_gen.errors import NotDeployedError
from ryla_gen.history import History
from ryla_gen.remote import deployments, pins
from ryla_gen.settings import Settings
from ryla_gen.version import __version__
from tests.modal_loopback import Loopback, minimal_environment
from tests.modal_loopback.client import connected

from .shell import COMMAND, PLACES, SMALL, envelope, environment, here, picture, ryla
from .terminal import terminal
from .test_deploy import APP, EMULATED

Capsys = pytest.CaptureFixture[str]
Told = Callable[..., dict[str, Any]]

COMFYUI = "0.28.2"


@pytest.fixture(scope="module")
def container_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with what the images install for us."""
    return minimal_environment(tmp_path_factory.mktemp("python"), "modal", *pins.SDK, *pins.HUB)


@contextmanager
def empty_control_plane(python: Path, work: Path) -> Iterator[Loopback]:
    inside = {"RYLA_COMFYUI_COMMAND": EMULATED, "RYLA_WORK_FOLDER": str(work)}
    with Loopback(python=python, container_env=inside, environments=("main", "staging"), max_containers=1) as loopback:
        yield loopback
        assert loopback.unknown_rpcs == []
        assert loopback.bugs == []


@pytest.fixture
def client(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process and its children use the backend modal, and the packages under test."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(PLACES))
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")


@pytest.fixture
def empty(container_python: Path, client: None, tmp_path: Path) -> Iterator[Loopback]:
    """A control plane without an app."""
    with empty_control_plane(container_python, tmp_path / "work") as loopback, connected(loopback):
        yield loopback


@pytest.fixture(scope="module")
def shared(container_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A control plane with Flux deployed as version 1 and Video as version 2, which takes some seconds."""
    work = tmp_path_factory.mktemp("work")
    with empty_control_plane(container_python, work) as loopback:
        for family in ("flux", "video"):
            done = ryla("deploy", "--only", family, "--yes", RYLA_GEN_HOME=str(work), **loopback.env)
            assert done.returncode == 0, done.stderr
        yield loopback


@pytest.fixture
def twice(shared: Loopback, client: None) -> Iterator[Loopback]:
    """The same; afterwards it is as it was, so that a test may roll the app back, delete it and deploy it again."""
    world = shared._world
    [app] = world.apps.values()
    before = {name: copy(value) for name, value in vars(app).items()}
    with connected(shared):
        yield shared
    shared.knobs.reset()
    shared.kill_container()
    world.apps.clear()
    world.apps[app.id] = app
    vars(app).update(before)
    for function_id, (own, ranked) in app.versions[-1].definitions.items():
        world.functions[function_id].own, world.functions[function_id].ranked = own, ranked


@pytest.fixture
def told(capsys: Capsys) -> Told:
    """Runs a command with ``--json``; returns the last line."""

    def told(*arguments: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert here(*arguments, "--json") == code, capsys.readouterr()
        return envelope(capsys.readouterr().out)

    return told


def versions(told: Told, *words: str) -> list[tuple[int, bool, str, int | None]]:
    items = told("deploy", "history", *words)["data"]["items"]
    return [(item["version"], item["live"], item["kind"], item["restores"]) for item in items]


def find(name: str) -> None:
    modal.Cls.from_name(APP, name).hydrate()


def test_the_history_says_what_each_version_is(twice: Loopback, told: Told, capsys: Capsys) -> None:
    said = told("deploy", "history")
    assert (said["command"], said["data"]["app"], said["data"]["environment"]) == ("deploy history", APP, None)
    newest, oldest = said["data"]["items"]
    assert set(newest) == {
        *("version", "live", "kind", "restores", "deployed_at", "deployed_by", "modal", "commit", "dirty", "tag"),
        *("ryla_gen", "comfyui", "lock", "rollback_allowed"),
    }
    assert (newest["version"], newest["live"], newest["kind"], newest["restores"]) == (2, True, "deploy", None)
    assert (oldest["version"], oldest["live"], oldest["rollback_allowed"]) == (1, False, True)
    for item in (newest, oldest):
        assert (item["ryla_gen"], item["comfyui"], item["modal"]) == (__version__, [COMFYUI], modal.__version__)
        assert (item["tag"], item["deployed_by"]) == (f"{__version__}_comfyui-{COMFYUI}", "loopback")
    assert oldest["deployed_at"] < newest["deployed_at"]
    capsys.readouterr()
    assert here("deploy", "history") == 0
    printed = capsys.readouterr().out
    assert "live" in printed and __version__ in printed and "tag " not in printed


def test_a_rollback_says_before_what_will_be_live_and_its_classes_answer_again(twice: Loopback, told: Told, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        find("Flux")
    done = ryla("deploy", "rollback", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"Live now:    version 2 (ryla_gen {__version__}, ComfyUI {COMFYUI}, deployed " in done.stderr.decode()
    assert f"Live again:  version 1 (ryla_gen {__version__}" in done.stderr.decode()
    assert done.stdout.decode() == f"Version 1 of {APP} is live again, as version 3.\n"
    assert versions(told) == [(3, True, "rollback", 1), (2, False, "deploy", None), (1, False, "deploy", None)]
    find("Flux")
    with pytest.raises(NotFoundError):
        find("Video")
    made = ryla("run", "flux", "fox", *SMALL, "-o", "fox.png", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert picture(tmp_path / "fox.png").size == (256, 256)
    deployed = {row["family"]: row["deployed"] for row in told("families")["data"]["items"]}
    assert (deployed["flux"], deployed["video"]) == (COMFYUI, None), "the tags follow the version that is live"


def test_rollbacks_step_back_and_a_named_version_is_any_of_them(twice: Loopback, told: Told) -> None:
    first = told("deploy", "rollback", "--yes")["data"]
    assert (first["app"], first["workspace"], first["replaced"]) == (APP, "loopback", 2)
    assert (first["live"]["version"], first["live"]["restores"], first["live"]["live"]) == (3, 1, True)
    error = told("deploy", "rollback", "--yes", code=1)["error"]
    assert (error["code"], error["message"]) == ("not_deployed", f"{APP} has no version before version 1, which is live.")
    assert error["hint"].endswith("name a later one: ryla-gen deploy rollback --to VERSION")
    assert told("deploy", "rollback", "--to", "2", "--yes")["data"]["live"]["restores"] == 2
    assert told("deploy", "rollback", "--to", "3", "--yes")["data"]["live"]["restores"] == 1, "version 3 was version 1 again"
    find("Flux")


@pytest.mark.parametrize(
    ("to", "message"),
    [("9", "has no version 9; it has 2 versions."), ("2", "Version 2 is live already.")],
)
def test_a_version_that_is_not_there_or_is_live_is_refused(to: str, message: str, twice: Loopback, told: Told) -> None:
    before = twice.counts["AppRollback"]
    error = told("deploy", "rollback", "--to", to, "--yes", code=2)["error"]
    assert (error["code"], error["message"].endswith(message)) == ("invalid_input", True)
    assert "ryla-gen deploy history" in error["hint"]
    assert twice.counts["AppRollback"] == before


def test_a_version_that_only_renewed_the_containers_is_the_one_before_it(twice: Loopback, told: Told) -> None:
    [app] = twice._world.apps.values()
    entry = app.versions[1].entry
    try:
        entry.deployment_type = pb.DEPLOYMENT_TYPE_ROLLOVER
        assert versions(told) == [(2, True, "rollover", None), (1, False, "deploy", None)]
        assert "no version before version 1" in told("deploy", "rollback", "--yes", code=1)["error"]["message"]
        error = told("deploy", "rollback", "--to", "1", "--yes", code=2)["error"]
        assert error["message"] == "Version 1 is live already as version 2."
    finally:
        entry.deployment_type = pb.DEPLOYMENT_TYPE_UNSPECIFIED


def test_what_modal_refuses_names_the_history(twice: Loopback, told: Told) -> None:
    twice.knobs.refuse = {"AppRollback": Status.FAILED_PRECONDITION}
    error = told("deploy", "rollback", "--yes", code=1)["error"]
    assert (error["code"], error["hint"]) == ("not_deployed", "See its versions: ryla-gen deploy history")
    assert len(versions(told)) == 2
    twice.knobs.refuse = {"AppSetTags": Status.FAILED_PRECONDITION}
    assert told("deploy", "rollback", "--yes")["data"]["live"]["restores"] == 1, "tags that stay wrong are no failed rollback"


@pytest.mark.parametrize("verb", ["rollback", "delete"])
def test_without_a_terminal_to_ask_on_nothing_happens_and_with_a_no_neither(
    verb: str, twice: Loopback, told: Told, tmp_path: Path
) -> None:
    done = ryla("deploy", verb)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"error[invalid_input]" in done.stderr and b"--yes" in done.stderr
    with terminal(*COMMAND, "deploy", verb, folder=tmp_path) as screen:
        screen.until("[y/N]")
        screen.type("n\n")
        assert screen.finish()[0] == 1
    assert [item[0] for item in versions(told)] == [2, 1]


def test_delete_says_what_goes_away_and_what_stays(twice: Loopback, told: Told, capsys: Capsys) -> None:
    settings = Settings.load()
    weights = twice.volume("ryla-models") / "unet" / "flux.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(bytes(3_000_000))
    with closing(History(settings.history_path)) as journal:
        for job, backend, workflow in (("a" * 8, "modal", "wan2"), ("b" * 8, "comfyui", "flux"), ("c" * 8, "modal", "portrait")):
            journal.record(f"{job}-1", backend=backend, workflow=workflow, inputs={})
        journal.record("d" * 8, backend="modal", workflow="flux", inputs={})
        journal.update("d" * 8, state="succeeded")
    locks = settings.home / "locks"
    locks.mkdir()
    (locks / "portrait.lock").touch()  # its jobs run in an app of its own
    capsys.readouterr()
    assert here("deploy", "delete", "--yes") == 0
    printed = capsys.readouterr()
    assert printed.out == f"{APP} is stopped. Its calls fail until it is deployed again.\n"
    assert "This takes away the classes Video, Weights.\n" in printed.err
    assert "1 job of this machine may end without a result: aaaaaaaa (wan2, queued).\n" in printed.err
    assert "The volume ryla-models (3.0 MB) stays, with weights and LoRAs" in printed.err
    assert weights.exists()
    with pytest.raises(NotFoundError):
        find("Video")
    error = told("deploy", "delete", "--yes", code=1)["error"]
    assert error["code"] == "not_deployed"
    assert error["message"].startswith(f"The app {APP} is no longer deployed: it was stopped on ")
    assert error["message"].endswith(" UTC by loopback.")
    assert error["hint"] == "Deploy it: ryla-gen deploy"
    assert ryla("deploy", "--only", "flux", "--yes").returncode == 0
    assert versions(told) == [(1, True, "deploy", None)], "Modal counts anew"


def test_delete_ends_a_job_that_runs_and_names_it(twice: Loopback, told: Told) -> None:
    assert told("deploy", "rollback", "--yes")["data"]["live"]["restores"] == 1
    job = told("submit", "flux", "fox", "--width", "2048", "--height", "2048", "--steps", "50", "--batch-size", "4")["data"]["job"]
    deadline = time.monotonic() + 100
    while (found := told("jobs", "show", job)["data"])["state"] != "running":
        assert time.monotonic() < deadline, found
    data = told("deploy", "delete", "--yes")["data"]
    assert (data["version"], data["classes"], data["containers"], data["jobs"]) == (3, ["Flux", "Weights"], 1, [job])
    assert (data["app"], data["workspace"], data["environment"]) == (APP, "loopback", None)
    assert told("jobs", "watch", job, code=1)["error"]["code"] == "preempted", "it is over without a result, and was not canceled"


@pytest.mark.parametrize("verb", ["history", "rollback", "delete"])
def test_an_app_that_is_not_there_is_said_so_with_what_to_do(verb: str, empty: Loopback, told: Told) -> None:
    yes = [] if verb == "history" else ["--yes"]
    error = told("deploy", verb, *yes, code=1)["error"]
    assert (error["code"], error["message"]) == ("not_deployed", f"The app {APP} is not deployed.")
    assert error["hint"] == "Deploy it: ryla-gen deploy"
    error = told("deploy", verb, "portrait", "--environment", "staging", *yes, code=1)["error"]
    assert error["message"] == "The app ryla-portrait is not deployed in the environment staging."
    assert error["hint"] == "See which apps there are: modal app list"
    empty.knobs.refuse_token = True
    assert told("deploy", verb, *yes, code=1)["error"]["code"] == "not_authorized"


def test_the_app_of_a_lock_is_found_by_its_name_in_the_environment_that_is_named(
    empty: Loopback, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RYLA_GEN_MODAL_APP", "ryla-portrait")
    for _ in range(2):
        assert ryla("deploy", "--only", "flux", "--environment", "staging", "--yes").returncode == 0
    monkeypatch.delenv("RYLA_GEN_MODAL_APP")
    assert [item[0] for item in versions(told, "portrait", "--environment", "staging")] == [2, 1]
    error = told("deploy", "rollback", "portrait", "--environment", "staging", "--to", "7", code=2)["error"]
    assert error["hint"] == "See them: ryla-gen deploy history portrait --environment staging"
    settings = Settings.load()
    with closing(History(settings.history_path)) as journal:
        journal.record("a" * 8, backend="modal", workflow="portrait", inputs={})
        journal.record("b" * 8, backend="modal", workflow="flux", inputs={})
    data = told("deploy", "delete", "portrait", "--environment", "staging", "--yes")["data"]
    assert (data["app"], data["environment"], data["jobs"]) == ("ryla-portrait", "staging", ["a" * 8])
    with pytest.raises(NotDeployedError, match="no longer deployed in the environment staging"):
        asyncio.run(deployments.delete(deployments.settings_for_app(settings, "portrait", "staging")))


def test_a_deploy_by_modals_own_command_has_no_tag_and_the_apps_tags_tell_of_the_live_one_alone(
    empty: Loopback, told: Told
) -> None:
    for _ in range(2):
        line = [sys.executable, "-m", "modal", "deploy", "-m", "ryla_gen.remote.app"]
        done = subprocess.run(line, env=environment(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    items = told("deploy", "history")["data"]["items"]
    assert [(item["tag"], item["ryla_gen"], item["comfyui"]) for item in items] == [
        (None, __version__, [COMFYUI]),
        (None, None, []),
    ]
    assert told("deploy", "rollback", "--yes")["data"]["live"]["ryla_gen"] is None
    assert told("families")["data"]["deployed"]["version"] is None, "better unknown than of another version"


def test_another_workspace_is_noticed_before_anything_is_rolled_back_or_deleted(
    twice: Loopback, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODAL_WORKSPACE", "somebody-else")
    for verb in ("rollback", "delete"):
        assert told("deploy", verb, "--yes", code=1)["error"]["code"] == "not_authorized"
    assert len(versions(told)) == 2
