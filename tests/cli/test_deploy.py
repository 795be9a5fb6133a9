"""The commands that need Modal, with its real client and container runtime on a loopback control plane."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import load
from ryla_gen.locks.families import family_lock
from ryla_gen.names import CLASS_OF_FAMILY
from ryla_gen.remote import pins
from ryla_gen.version import __version__
from tests.modal_loopback import Loopback, minimal_environment
from tests.modal_loopback.client import connected
from tests.models.downloads.hub import Hub

from .shell import COMMAND, PLACES, SECONDS, envelope, environment, here, lines, picture, ryla

EMULATED = "{python} -m ryla_gen.emulator --port {port} --folder {work} --comfyui {comfyui}"
"""What the workers start in ComfyUI's place."""
APP = "ryla-comfyui"

deployed_apps: set[str] = set()
"""What the control plane of this module has already."""

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """A hub that has no file of ours."""
    with Hub() as server:
        yield server


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[Loopback]:
    """A control plane that nothing was deployed to, except by the tests' own commands."""
    python = minimal_environment(tmp_path_factory.mktemp("python"), "modal", *pins.SDK, *pins.HUB)
    inside = {"RYLA_COMFYUI_COMMAND": EMULATED, "RYLA_WORK_FOLDER": str(tmp_path_factory.mktemp("work")), "HF_ENDPOINT": hub.url}
    with Loopback(python=python, container_env=inside, environments=("main", "staging"), max_containers=1) as loopback:
        yield loopback
        assert loopback.unknown_rpcs == []
        assert loopback.bugs == []


@pytest.fixture
def modal(control: Loopback, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """That control plane, with this process and its children as clients."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(PLACES))
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")
    with connected(control):
        yield control
    control.knobs.reset()


@pytest.fixture
def app(modal: Loopback) -> Loopback:
    """The same, with the app deployed as the table says, by whichever test came first."""
    if APP not in deployed_apps:
        assert ryla("deploy", "--yes").returncode == 0
        deployed_apps.add(APP)
    return modal


def told(capsys: Capsys, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a command; the last line of its JSON."""
    capsys.readouterr()
    assert here(*arguments, "--json") == code, capsys.readouterr()
    return envelope(capsys.readouterr().out)


def test_before_a_deploy_everything_says_that_it_is_missing(
    capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")
    with Loopback() as empty, connected(empty):
        for line in (
            ["weights", "sync", "flux"],
            ["deploy", "warm", "flux", "--yes"],
            ["run", "flux", "fox", "-o", f"{tmp_path}/x.png"],
        ):
            error = told(capsys, *line, code=1)["error"]
            assert error["code"] == "not_deployed", line
            assert "ryla-gen deploy" in error["hint"]
        checks = {item["name"]: item for item in told(capsys, "doctor", code=1)["data"]["items"]}
    assert (checks["token"]["state"], checks["app"]["state"], checks["picture"]["state"]) == ("ok", "failed", "skipped")


def test_deploy_puts_the_app_there_without_waiting_for_a_container_and_says_what_comes_next(modal: Loopback) -> None:
    before = len(modal.containers), modal.counts["FunctionMap"], modal.counts["ContainerHello"]
    done = ryla("deploy", "--yes")
    assert (len(modal.containers), modal.counts["FunctionMap"], modal.counts["ContainerHello"]) == before, "nothing runs yet"
    assert done.returncode == 0, done.stderr
    said = done.stderr.decode()
    assert done.stdout.decode().startswith(f"{APP} is deployed")
    assert "L40S" in said
    for line in ("ryla-gen weights sync z-image", 'ryla-gen run z-image "', "ryla-gen config set backend modal", "ryla-gen doctor"):
        assert line in said
    assert "Traceback" not in said
    assert "\x1b" not in said
    classes = modal.registered(APP)["classes"]
    assert set(classes) == {*CLASS_OF_FAMILY.values(), "Weights"}
    assert classes["Flux"]["gpu"] == ["L40S"]


def test_options_decide_for_one_family_or_for_all(modal: Loopback, capsys: Capsys) -> None:
    options = ["--gpu", "H100,L40S", "--min-containers", "1", "--max-containers", "4", "--window", "60", "--family", "flux"]
    options += ["--buffer-containers", "2"]
    found = told(capsys, "deploy", *options, "--region", "eu", "--environment", "staging", "--preload", "--yes")["data"]
    assert (found["environment"], found["workspace"], found["app"]) == ("staging", "loopback", APP)
    assert found["families"]["flux"] == {"gpu": ["H100", "L40S"], "min_containers": 1}
    classes = modal.registered(APP, "staging")["classes"]
    flux, video = classes["Flux"], classes["Video"]
    assert (flux["gpu"], flux["min_containers"], flux["max_containers"], flux["scaledown_window"]) == (["H100", "L40S"], 1, 4, 60)
    assert (video["gpu"], video.get("min_containers"), video["scaledown_window"]) == (["L40S"], None, 300)
    assert (flux["buffer_containers"], video.get("buffer_containers")) == (2, None)
    places = {name: (item["max_inputs"], item.get("target_inputs")) for name, item in classes.items()}
    assert places == {
        **dict.fromkeys(("ZImage", "Flux", "Flux2", "Sdxl", "Faces"), (5, 1)),
        **dict.fromkeys(("Qwen", "Video", "Upscale", "Custom"), (2, 1)),
        "Weights": (5, None),
    }
    assert (flux["timeout"], video["timeout"]) == (5 * 900 + 300, 2 * 3600 + 420), "a full container may use up every limit"
    assert flux["regions"] == video["regions"] == ["eu"]
    assert "preloads" in str(flux["image"]) and "preloads" in str(video["image"]), "containers are told to load their weights first"


def test_one_family_alone_is_deployed_and_what_goes_away_is_said_before(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")
    with Loopback() as empty, connected(empty):

        def deploy(*only: str) -> str:
            capsys.readouterr()
            assert here("deploy", *(word for name in only for word in ("--only", name)), "--yes") == 0
            return capsys.readouterr().err

        assert "takes away" not in deploy("flux"), "nothing was deployed before"
        assert sorted(empty.registered(APP)["classes"]) == ["Flux", "Weights"]
        checks = {item["name"]: item for item in told(capsys, "doctor", code=1)["data"]["items"]}
        assert checks["app"]["state"] == "ok", "what was left out is not missing"
        assert "takes away what is deployed of: Flux." in deploy("video", "faces")
        assert sorted(empty.registered(APP)["classes"]) == ["Faces", "Video", "Weights"]
        assert "takes away" not in deploy()
        assert len(empty.registered(APP)["classes"]) == len(CLASS_OF_FAMILY) + 1


@pytest.mark.parametrize(
    "line",
    [
        "deploy --gpu L41S --yes",
        "deploy --only flix --yes",
        "deploy --apply-to flix --yes",
        "deploy --family flix --yes",
        "deploy --min-containers 5 --max-containers 2 --yes",
        "deploy --window 1 --yes",
        "warm flix --yes",
        "warm flux --containers 0 --yes",
        "warm flux --containers 99 --yes",
        "cool flix --yes",
        "deploy",
        "warm flux",
        "cool flux",
    ],
)
def test_what_does_not_fit_and_what_nobody_agreed_to_is_exit_2(line: str, modal: Loopback, capsys: Capsys) -> None:
    apps = modal.counts["AppPublish"], modal.counts["FunctionUpdateSchedulingParams"]
    capsys.readouterr()
    assert here(*line.split()) == 2
    said = capsys.readouterr().err
    assert "error[invalid_input]: " in said
    assert ("--yes" in said) == ("--yes" not in line)
    assert (modal.counts["AppPublish"], modal.counts["FunctionUpdateSchedulingParams"]) == apps


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_a_person_is_asked(answer: str, code: int, app: Loopback) -> None:
    before = app.counts["FunctionUpdateSchedulingParams"]
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    outer, inner = pty.openpty()
    line = [*COMMAND, "deploy", "warm", "flux", "--containers", "2"]
    with subprocess.Popen(line, stdin=inner, stderr=inner, stdout=subprocess.PIPE, env=environment()) as process:
        os.close(inner)
        said = b""
        while b"?" not in said:
            said += os.read(outer, 1000)
        os.write(outer, f"{answer}\n".encode())
        assert process.wait(SECONDS) == code
    os.close(outer)
    assert b"$4.92 an hour" in said
    assert app.counts["FunctionUpdateSchedulingParams"] - before == (answer == "y")


def test_families_say_what_is_pinned_and_what_is_deployed_without_a_container(app: Loopback, capsys: Capsys) -> None:
    before = app.counts["FunctionMap"]
    found = told(capsys, "families")["data"]
    assert {row["family"]: row["class"] for row in found["items"]} == CLASS_OF_FAMILY
    for row in found["items"]:
        lock = family_lock(row["family"])
        assert row["comfyui"]["version"] == row["deployed"] == lock.release
        assert row["comfyui"]["commit"] == lock.comfyui.commit
        assert [pack["commit"] for pack in row["packs"]] == [pack.commit for pack in lock.packs]
        assert (row["python"], f"torch=={row['torch']}") == (lock.python.version, lock.python.requirements[0])
    assert found["deployed"] == {"app": APP, "version": __version__, "error": None}
    assert here("families") == 0
    printed = capsys.readouterr().out
    assert "ComfyUI_PuLID_Flux_ll" in printed and "another ComfyUI" not in printed
    assert app.counts["FunctionMap"] == before, "nothing was called; what another test warmed may still be starting"


def test_a_deployment_of_another_comfyui_or_of_an_older_version_is_noticed(app: Loopback, capsys: Capsys) -> None:
    [deployed] = [item for item in app._world.apps.values() if item.name == APP and item.environment == "main"]
    tags = deployed.tags
    try:
        deployed.tags = {**tags, "comfyui-video": "0.3.71"}
        assert here("families") == 0
        assert "Deployed with another ComfyUI: video." in capsys.readouterr().out
        deployed.tags = {}
        assert here("families") == 0
        assert "does not say which ComfyUI it has" in capsys.readouterr().out
        assert {row["deployed"] for row in told(capsys, "families")["data"]["items"]} == {None}
    finally:
        deployed.tags = tags


def test_families_are_listed_where_nothing_is_deployed_too(capsys: Capsys) -> None:
    with Loopback() as empty, connected(empty):
        found = told(capsys, "families")["data"]
    assert [row["family"] for row in found["items"]] == list(CLASS_OF_FAMILY)
    assert found["deployed"]["error"]["code"] == "not_deployed"
    assert found["deployed"]["version"] is None


def test_warm_keeps_containers_and_cool_lets_them_end(app: Loopback, capsys: Capsys) -> None:
    found = told(capsys, "deploy", "warm", "flux", "--containers", "1", "--yes")["data"]
    assert (found["containers"], round(found["hourly_usd"], 2)) == (1, 2.46)
    deadline = time.monotonic() + 100
    while not app.containers:
        assert time.monotonic() < deadline, "no container came up"
        time.sleep(0.05)
    assert told(capsys, "deploy", "cool", "flux", "--yes")["data"]["containers"] == 0


def test_a_refused_token_and_another_workspace_are_said_before_anything_is_deployed(
    modal: Loopback, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = modal.counts["AppPublish"]
    monkeypatch.setenv("MODAL_WORKSPACE", "somebody-else")
    error = told(capsys, "deploy", "--yes", code=1)["error"]
    assert (error["code"], error["hint"]) == (
        "not_authorized",
        "Switch to the right token: modal profile activate somebody-else",
    )
    monkeypatch.delenv("MODAL_WORKSPACE")
    modal.knobs.refuse_token = True
    assert told(capsys, "deploy", "--yes", code=1)["error"]["code"] == "not_authorized"
    assert modal.counts["AppPublish"] == before


def test_a_deploy_that_fails_says_why(modal: Loopback, capsys: Capsys) -> None:
    capsys.readouterr()
    assert here("deploy", "--environment", "nowhere", "--yes", "--json") == 1
    printed = capsys.readouterr()
    error = envelope(printed.out)["error"]
    assert error["code"] == "not_deployed"
    assert "nowhere" in error["message"] + error["details"]["output"]


def test_the_doctor_looks_at_everything(app: Loopback, capsys: Capsys) -> None:
    checks = {item["name"]: item for item in told(capsys, "doctor", code=1)["data"]["items"]}
    told_of = ("folders", "token", "app", "version", "queue", "call", "weights", "picture")
    states = {name: checks[name]["state"] for name in told_of}
    assert states == dict.fromkeys(told_of[:-2], "ok") | {"weights": "failed", "picture": "skipped"}
    assert checks["weights of flux"]["hint"] == "Download them: ryla-gen weights sync flux"
    # The emulator needs no weights, so their absence is all there is to complain of.
    app.knobs.queue_unavailable = True
    broken = {item["name"]: item for item in told(capsys, "doctor", "flux", code=1)["data"]["items"]}
    assert (broken["queue"]["state"], broken["weights of flux"]["state"]) == ("failed", "failed")


def test_an_older_deployment_is_noticed(app: Loopback, capsys: Capsys) -> None:
    app.knobs.missing_classes = {"Upscale"}
    checks = {item["name"]: item for item in told(capsys, "doctor", code=1)["data"]["items"]}
    assert (checks["app"]["state"], "Upscale" in checks["app"]["message"]) == ("failed", True)


def test_weights_on_the_volume_are_asked_through_the_app(app: Loopback, hub: Hub, capsys: Capsys) -> None:
    listed = told(capsys, "weights", "list", "flux", "wan2", "--deployed")["data"]["items"]
    assert {item["state"] for item in listed} == {"missing"}
    assert told(capsys, "weights", "verify", "flux", code=1)["error"]["code"] == "model_not_found"
    assert told(capsys, "weights", "sync", "workflow")["data"]["ok"] is True  # a graph of one's own needs no known file
    before = len(hub.seen.requests)
    error = told(capsys, "weights", "sync", "flux", code=1)["error"]
    assert error["code"] in ("model_not_found", "storage_failed"), error
    assert len(hub.seen.requests) > before


def test_a_job_is_submitted_watched_and_fetched_by_three_processes(app: Loopback, tmp_path: Path) -> None:
    # It still runs when it is watched, for seconds: of one that has ended the events are listened for only a moment.
    large = ("--width", "2048", "--height", "2048", "--steps", "60")
    done = ryla("submit", "flux-dev", "fox", *large, "--seed", "7")
    job = done.stdout.decode().strip()
    assert (done.returncode, len(job)) == (0, 36), done.stderr
    watched = ryla("jobs", "watch", job, "--json")
    assert watched.returncode == 0, watched.stderr
    types = [item.get("type") for item in lines(watched.stdout)]
    assert {"queued", "started", "progress"} <= set(types)
    assert types[-2] == "finished"
    fetched = ryla("jobs", "result", job[:8], "-o", "fox.png", folder=tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    assert picture(tmp_path / "fox.png").size == (2048, 2048)
    assert load(tmp_path / "fox.png").to_plain()["seed"] == 7
    assert [sum(json.loads(ryla("jobs", "show", job, "--json").stdout)["data"]["state"] == state for state in ("succeeded",))] == [
        1
    ]


def test_a_job_that_runs_is_seen_and_cancelled_from_outside(app: Loopback, capsys: Capsys) -> None:
    line = ["submit", "flux-dev", "fox", "--steps", "100", "--width", "2048", "--height", "2048", "--batch-size", "4"]
    job = told(capsys, *line)["data"]["job"]
    deadline = time.monotonic() + 100
    while (found := told(capsys, "jobs", "show", job)["data"])["state"] != "running":
        assert time.monotonic() < deadline, found
    assert told(capsys, "jobs", "cancel", job)["data"]["state"] == "canceled"
    assert told(capsys, "jobs", "watch", job, code=1)["error"]["code"] == "job_canceled"


def test_a_batch_runs_there_too(app: Loopback, tmp_path: Path, capsys: Capsys) -> None:
    row = {"workflow": "flux", "width": 256, "height": 256, "steps": 1}
    file = tmp_path / "list.jsonl"
    file.write_text("".join(json.dumps({**row, "prompt": f"fox {number}"}) + "\n" for number in range(6)))
    data = told(capsys, "batch", str(file), "-o", str(tmp_path / "out"))["data"]
    assert (data["succeeded"], data["failed"]) == (6, 0)
    assert data["cost_usd"] == pytest.approx(sum(item["cost_usd"] for item in data["items"]))
    assert data["cost_usd"] > 0
    again = told(capsys, "batch", str(file), "-o", str(tmp_path / "out"))["data"]
    assert (again["present"], again["cost_usd"], again["total_cost_usd"]) == (6, 0, pytest.approx(data["cost_usd"]))
