"""The way from an empty Modal account to a first picture: four steps, by the real command against a loopback control plane."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from grpclib import Status

import ryla_gen
from ryla_gen import Flux, ZImage
from ryla_gen.models.weights_table import Weights
from ryla_gen.remote import admin, pins
from tests.modal_loopback import Loopback, minimal_environment
from tests.modal_loopback.client import connected
from tests.models.downloads.hub import Hub

from .shell import COMMAND, PLACES, envelope, here, picture, ryla
from .terminal import Terminal, terminal
from .test_deploy import EMULATED

FILES = ZImage(prompt="a lighthouse").required_weights()
OLDER = Flux(prompt="a lighthouse").required_weights()
"""What an account has in which the first picture was made before z-image made it."""
DATA = b"weights of z-image " * 4096
"""What each file holds here: the real ones have 21 GB."""
QUESTION = "[yes/skip/stop]: "
INIT = ("init", "--backend", "modal")


@dataclass
class Account:
    """A new account, and a machine on which nobody has used it."""

    modal: Loopback
    hub: Hub
    package: Path
    home: Path
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment of a command: no token, except in the file that ``modal token new`` writes."""
        return {name: text for name, text in self.modal.env.items() if "TOKEN" not in name} | {
            "PYTHONPATH": os.pathsep.join([str(self.package), *PLACES]),
            "MODAL_CONFIG_PATH": str(self.folder / "modal.toml"),
            "BROWSER": "true",
        }

    def init(self, *options: str, code: int = 0, **env: str) -> dict[str, Any]:
        """Run the command without a terminal; the last line of its JSON."""
        done = ryla(*INIT, "--json", *options, folder=self.folder, **(self.env | env))
        assert done.returncode == code, done.stderr.decode()
        return envelope(done.stdout)

    def states(self, *options: str, code: int = 0, **env: str) -> list[str]:
        """Run it; what became of the four steps."""
        return states(self.init(*options, code=code, **env))

    def have_token(self) -> None:
        """As if a person had made a token before."""
        token = {name.removeprefix("MODAL_").lower(): text for name, text in self.modal.env.items() if "TOKEN" in name}
        text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in token.items())
        (self.folder / "modal.toml").write_text(f"[loopback]\n{text}\nactive = true\n")

    def have_weights(self, rows: tuple[Weights, ...] = FILES) -> None:
        """As if they had been downloaded before."""
        for row in rows:
            place = self.modal.volume("ryla-models") / row.label
            place.parent.mkdir(parents=True)
            place.write_bytes(DATA)


def states(data: dict[str, Any]) -> list[str]:
    found = data["data"]["steps"]
    assert [item["step"] for item in found] == ["token", "deploy", "weights", "picture"]
    return [item["state"] for item in found]


@pytest.fixture(scope="module")
def container_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with what the images install for us."""
    return minimal_environment(tmp_path_factory.mktemp("python"), "modal", *pins.SDK, *pins.HUB)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this package whose table has small files in the place of real ones: so a download runs to its end."""
    folder = tmp_path_factory.mktemp("package")
    copy = folder / "ryla_gen"
    shutil.copytree(Path(ryla_gen.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    table = copy / "models" / "weights.json"
    data = json.loads(table.read_text())
    for row in data["weights"]:
        if f"{row['folder']}/{row['name']}" in [found.label for found in (*FILES, *OLDER)]:
            row |= {"bytes": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest(), "revision": None}
    table.write_text(json.dumps(data))
    return folder


@pytest.fixture
def account(container_python: Path, package: Path, clean_environment: Path, tmp_path: Path) -> Iterator[Account]:
    folder = tmp_path / "here"
    folder.mkdir()
    with Hub() as hub:
        for row in FILES:
            hub.put(row.repo, row.file, DATA)
        inside = {"RYLA_COMFYUI_COMMAND": EMULATED, "RYLA_WORK_FOLDER": str(tmp_path / "work"), "HF_ENDPOINT": hub.url}
        with Loopback(python=container_python, container_env=inside, max_containers=1) as loopback:
            yield Account(loopback, hub, package, clean_environment, folder)
            assert loopback.unknown_rpcs == []
            assert loopback.bugs == []


def answer(there: Terminal, text: str) -> str:
    """Wait for the question of a step and answer it; what was said before."""
    said = there.until(QUESTION)
    there.type(f"{text}\n")
    return said


def test_from_nothing_to_a_picture_and_then_all_of_it_is_found(account: Account) -> None:
    with terminal(*COMMAND, "init", folder=account.folder, **account.env) as there:
        there.until("Number [1]: ")
        there.type("modal\n")
        token = answer(there, "y")
        there.until("https://modal.invalid/token-flow/")
        deploy, weights, made = answer(there, "yes"), answer(there, "YES"), answer(there, "yes")
        code, said = there.finish()
    assert code == 0, said
    for plan in (token, deploy, weights, made):
        assert "Takes about" in plan and "Costs " in plan
    assert "modal token new" in token and "Costs nothing" in token
    assert "15 minutes the first time" in deploy and "unknown" in deploy
    assert "100 MB/s" in weights and "$0.01" in weights
    assert "$0.04" in made and "66 s" in made
    assert b"Next: ryla-gen run z-image " in said
    assert picture(account.folder / "z_image-7-0.png").size == (1024, 1024)
    assert tomllib.loads((account.home / "config.toml").read_text()) == {"backend": "modal"}
    assert sorted(account.modal.registered("ryla-comfyui")["classes"]) == ["Weights", "ZImage"]
    assert all((account.modal.volume("ryla-models") / row.label).read_bytes() == DATA for row in FILES)

    calls = len(account.modal.calls)
    again = account.init()
    assert states(again) == ["already"] * 4
    assert again["data"]["picture"].endswith("z_image-7-0.png")
    assert again["data"]["next"].startswith("ryla-gen run z-image ")
    assert len(account.modal.calls) == calls, "looking costs nothing"


def test_nothing_runs_that_nobody_agreed_to(account: Account) -> None:
    account.have_token()
    found = account.init()
    assert states(found) == ["already", "skipped", "skipped", "skipped"]
    assert "--yes" in found["data"]["steps"][1]["message"]
    assert found["data"]["next"] == "ryla-gen init --backend modal"
    assert (account.modal.counts["AppPublish"], account.modal.calls) == (0, [])
    assert tomllib.loads((account.home / "config.toml").read_text()) == {"backend": "modal"}


def test_each_step_can_be_left_out_and_the_next_run_goes_on_from_what_is_there(account: Account) -> None:
    assert account.states("--yes", "--skip", "token") == ["skipped"] * 4
    account.have_token()
    assert account.states("--yes", "--skip", "deploy") == ["already", "skipped", "skipped", "skipped"]
    assert account.modal.counts["AppPublish"] == 0
    assert account.states("--yes", "--skip", "weights") == ["already", "done", "skipped", "skipped"]
    assert account.hub.seen.requests == []
    assert account.states("--yes", "--skip", "picture") == ["already", "already", "done", "skipped"]
    assert account.states("--yes", "--no-picture") == ["already", "already", "already", "skipped"]
    assert account.states("--yes") == ["already", "already", "already", "done"]
    assert account.states("--yes", "--picture") == ["already", "already", "already", "done"]
    assert len(list(account.folder.glob("z_image-*.png"))) == 2


def test_ctrl_c_leaves_what_is_done_and_the_next_run_goes_on(account: Account) -> None:
    modal = account.modal
    modal.knobs.confirm_token = False
    with terminal(*COMMAND, *INIT, folder=account.folder, **account.env) as there:
        answer(there, "yes")
        there.until("Enter this code")
        there.interrupt()
        code, said = there.finish()
    assert (code, b"hint: To go on from there: ryla-gen init --backend modal" in said) == (130, True)
    assert b"Traceback" not in said

    modal.knobs.confirm_token = True
    modal.knobs.delay["AppPublish"] = 600
    with terminal(*COMMAND, *INIT, folder=account.folder, **account.env) as there:
        answer(there, "yes")
        answer(there, "yes")
        there.until("Created Function Weights")
        there.interrupt()
        code, said = there.finish()
    assert (code, b"the work was canceled" in said) == (130, True)

    modal.knobs.reset()
    with terminal(*COMMAND, *INIT, folder=account.folder, **account.env) as there:
        assert "Step 1 of 4, token: already done" in answer(there, "yes")
        there.until(QUESTION)
        there.interrupt()
        code, said = there.finish()
    assert (code, b"hint: To go on from there" in said) == (130, True)
    assert account.states("--yes") == ["already", "already", "done", "done"]


def test_stop_ends_the_walk_and_skip_only_one_step(account: Account) -> None:
    account.have_token()
    with terminal(*COMMAND, *INIT, folder=account.folder, **account.env) as there:
        answer(there, "perhaps")
        assert "Answer yes, skip or stop." in there.until(QUESTION)
        there.type("skip\n")
        code, said = there.finish()
    assert code == 0, said
    assert b"deploy: skipped." in said and b"weights: skipped." in said
    with terminal(*COMMAND, *INIT, folder=account.folder, **account.env) as there:
        answer(there, "stop")
        code, said = there.finish()
    assert (code, b"weights" in said, b"Next: ryla-gen init --backend modal" in said) == (0, False, True)
    assert account.modal.counts["AppPublish"] == 0


def test_a_deploy_that_fails_has_its_code_and_undoes_nothing(account: Account) -> None:
    account.have_token()
    account.have_weights()
    account.modal.knobs.refuse["AppPublish"] = Status.FAILED_PRECONDITION
    found = account.init("--yes", code=1)
    assert states(found) == ["already", "failed", "already", "skipped"]
    assert found["error"]["code"] == found["data"]["steps"][1]["error"]["code"] == "not_deployed"
    assert tomllib.loads((account.home / "config.toml").read_text()) == {"backend": "modal"}
    account.modal.knobs.reset()
    assert account.states("--yes") == ["already", "done", "already", "done"]


def test_weights_that_cannot_be_had_have_their_code(account: Account) -> None:
    account.have_token()
    account.hub.gated[FILES[0].repo] = set()
    found = account.init("--yes", code=1)
    assert states(found) == ["already", "done", "failed", "skipped"]
    assert found["error"]["code"] == "not_authorized"
    assert "modal secret create huggingface" in found["error"]["hint"]
    account.hub.gated.clear()
    account.hub.files[FILES[0].repo, "another"] = account.hub.files.pop((FILES[0].repo, FILES[0].file))
    assert account.init("--yes", code=1)["error"]["code"] == "model_not_found"


def test_a_refused_token_is_replaced_unless_variables_hold_it(account: Account) -> None:
    account.have_token()
    file = account.folder / "modal.toml"
    file.write_text(file.read_text().replace("as-loopback", "as-of-last-year"))
    variables = {"MODAL_TOKEN_ID": "ak-loopback", "MODAL_TOKEN_SECRET": "as-of-last-year"}
    found = account.init("--yes", code=1, **variables)
    assert states(found) == ["failed", "skipped", "skipped", "skipped"]
    assert found["error"]["code"] == "not_authorized"
    assert "MODAL_TOKEN_SECRET" in found["error"]["hint"]
    assert account.modal.counts["TokenFlowCreate"] == 0
    assert account.states("--yes", "--skip", "deploy") == ["done", "skipped", "skipped", "skipped"]
    assert account.states() == ["already", "skipped", "skipped", "skipped"]
    other = account.init("--yes", code=1, MODAL_WORKSPACE="somebody-else")
    assert (other["error"]["code"], states(other)[0]) == ("not_authorized", "failed")


def test_a_modal_that_does_not_answer_has_its_code_and_the_choice_is_saved(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(admin, "ANSWER_SECONDS", 1.0)
    with connected(account.modal):
        account.modal.away()
        assert here(*INIT, "--yes", "--json") == 1
        account.modal.come_back()
    found = envelope(capsys.readouterr().out)
    assert states(found) == ["failed", "skipped", "skipped", "skipped"]
    assert found["error"]["code"] == "backend_unreachable"
    assert tomllib.loads((account.home / "config.toml").read_text()) == {"backend": "modal"}


def test_what_else_is_deployed_stays(account: Account) -> None:
    account.have_token()
    assert ryla("deploy", "--only", "video", "--yes", folder=account.folder, **account.env).returncode == 0
    done = ryla(*INIT, "--yes", "--skip", "weights", folder=account.folder, **account.env)
    assert done.returncode == 0, done.stderr
    assert b"Video is deployed again, so that it stays." in done.stderr
    assert sorted(account.modal.registered("ryla-comfyui")["classes"]) == ["Video", "Weights", "ZImage"]


def test_an_app_that_makes_the_first_picture_with_another_model_is_left_as_it_is(account: Account) -> None:
    account.have_token()
    account.have_weights(OLDER)
    assert ryla("deploy", "--only", "flux", "--yes", folder=account.folder, **account.env).returncode == 0
    found = account.init("--yes")
    assert states(found) == ["already", "already", "already", "done"]
    assert found["data"]["picture"].endswith("flux-7-0.png")
    assert found["data"]["next"].startswith("ryla-gen run flux ")


@pytest.mark.parametrize("options", [["--backend", "emulator", "--skip", "token"], ["--backend", "modal", "--skip", "tokens"]])
def test_a_step_that_there_is_not_is_refused_before_anything_is_written(options: list[str], clean_environment: Path) -> None:
    done = ryla("init", *options, "--yes", "--json")
    assert (done.returncode, envelope(done.stdout)["error"]["code"]) == (2, "invalid_input")
    assert not (clean_environment / "config.toml").exists()
