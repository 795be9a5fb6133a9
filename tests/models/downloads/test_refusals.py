"""What a refusal of the hub becomes, and whom the token reaches."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pytest

from ryla_gen.errors import BackendUnreachableError, ModelNotFoundError, NotAuthorizedError, StorageFailedError
from ryla_gen.models.downloads import sync

from .conftest import DATA, failure, row, run
from .hub import Hub


def test_a_gated_file_says_how_to_get_access(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.gated["maker/model"] = {"hf_good"}
    for token, why in ((None, "no token"), ("hf_stranger", "has no access")):
        error = failure(run(hub, models, row(data=DATA, gated=True), token=token))
        assert isinstance(error, NotAuthorizedError) and why in error.message
        assert f"{hub.url}/maker/model" in error.hint and "HF_TOKEN" in error.hint
    assert run(hub, models, row(data=DATA, gated=True), token="hf_good").ok


def test_a_token_that_the_hub_does_not_know_is_named_as_the_cause(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    error = failure(run(hub, models, row(data=DATA), token="hf_old"))
    assert isinstance(error, NotAuthorizedError) and "HF_TOKEN" in error.hint


def test_the_token_reaches_the_hub_and_nobody_else(
    hub: Hub, models: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    hub.put("maker/model", "a.safetensors", DATA)
    hub.put("maker/model", "b.safetensors", DATA, sent=DATA[1:])
    hub.put("maker/tool", "v1.0/r.pth", DATA)
    hub.knobs.cut_after, hub.knobs.cuts = 100_000, 1
    release = row("r.pth", repo="github:maker/tool", revision="v1.0")
    report = run(hub, models, row(data=DATA), row("b.safetensors", DATA), release, row("no.bin"), token="hf_good")
    assert hub.seen.logins == {"hub": {"Bearer hf_good"}, "store": set()}
    told = caplog.text + "".join(capfd.readouterr()) + repr(report) + json.dumps(report.to_data())
    assert len(report.failures) == 2 and "hf_good" not in told
    for item in report.failures:
        assert item.error and item.error.__cause__ is item.error.__context__ is item.error.__traceback__ is None


def test_the_token_of_this_machine_is_not_sent_unasked(hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    hub.put("maker/model", "a.safetensors", DATA)
    assert run(hub, models, row(data=DATA)).ok and hub.seen.logins["hub"] == set()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"file": "moved.bin"}, "no file moved.bin"),
        ({"revision": "e" * 40}, f"no revision {'e' * 40}"),
        ({"repo": "maker/deleted"}, "no repository maker/deleted"),
        ({"repo": "not a name"}, "not the name of a repository"),
    ],
)
@pytest.mark.parametrize("token", [None, "hf_good"])
def test_what_is_not_there_is_named(hub: Hub, models: Path, change: dict[str, str], words: str, token: str | None) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    wanted = row(**change)
    error = failure(run(hub, models, wanted, token=token))
    assert isinstance(error, ModelNotFoundError) and words in error.message
    assert {key: error.details[key] for key in ("repo", "revision", "file")} == {
        "repo": wanted.repo,
        "revision": wanted.revision,
        "file": wanted.file,
    }


def test_no_network_is_said_after_a_few_tries(models: Path) -> None:
    began = time.monotonic()
    report = sync([row(), row("b.bin")], models, endpoint="http://127.0.0.1:9", tries=2)
    assert [type(item.error) for item in report.failures] == [BackendUnreachableError] * 2
    assert 0.4 < time.monotonic() - began < 60


def test_unreadable_records_are_said_not_forgotten(hub: Hub, models: Path) -> None:
    (models / ".ryla").mkdir(parents=True)
    (models / ".ryla/weights.json").write_text("{")
    with pytest.raises(StorageFailedError, match="recorded hashes"):
        run(hub, models, row())


@pytest.mark.parametrize(("name", "mends"), [("", "--local DIR"), (".ryla", "Move it away")])
def test_a_file_where_a_folder_has_to_be_is_called_one(name: str, mends: str, hub: Hub, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir() if name else models.write_text("a note")
    if name:
        (models / name).write_text("a note")
    with pytest.raises(StorageFailedError, match="is a file, but must be a folder") as caught:
        run(hub, models, row())
    assert str(models / name) in caught.value.message
    assert mends in caught.value.hint
