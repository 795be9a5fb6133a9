"""What errors of Modal advise: the command that deploys the right app, and the log of the right one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import modal
import pytest

from ryla_gen import FluxDev, Settings
from ryla_gen.backends.modal.backend import ModalBackend
from ryla_gen.errors import InternalError, ServerUnhealthyError, StorageFailedError
from ryla_gen.remote import admin
from ryla_gen.remote.faults import APP_VARIABLE, app_variable, typed_errors
from ryla_gen.workflows.registry import workflow_class
from tests.locks.locking import colour_lock, write_lock


def test_a_locks_job_names_the_lock_s_own_app_and_file(tmp_path: Path) -> None:
    path = write_lock(colour_lock("my-colour"), tmp_path / "a folder")
    settings = Settings.load(backend="modal")
    patience = ModalBackend(settings)._patience_for(workflow_class(str(path))(color=1))
    assert patience.log == "See its log: ryla-gen jobs logs ryla-my-colour"
    assert patience.deploy == f"ryla-gen deploy '{path}'"
    staging = ModalBackend(replace(settings, modal_environment="staging", modal_app="mine"))
    assert staging._patience_for(FluxDev(prompt="x")).log == "See its log: ryla-gen jobs logs mine --environment staging"


@pytest.mark.parametrize(("app", "deploy"), [("ryla-portrait", "ryla-gen deploy portrait.lock"), ("mine", "ryla-gen deploy")])
def test_questions_to_an_app_name_it(app: str, deploy: str) -> None:
    settings = replace(Settings.load(), modal_app=app)

    async def fail(error: Exception) -> None:
        raise error

    with pytest.raises(ServerUnhealthyError) as caught:
        asyncio.run(admin.ask(lambda: fail(modal.exception.RemoteError("it raised")), "Asking", settings))
    assert caught.value.hint == f"See its log: ryla-gen jobs logs {app}"
    with pytest.raises(Exception, match="gone") as missing:
        asyncio.run(admin.ask(lambda: fail(modal.exception.NotFoundError("gone")), "Asking", settings))
    assert missing.value.hint.endswith(f": {deploy}")  # type: ignore[attr-defined]


def test_a_container_names_its_own_app(monkeypatch: pytest.MonkeyPatch) -> None:
    assert app_variable("ryla-comfyui") == {}
    with pytest.raises(InternalError) as plain, typed_errors("It failed"):
        raise KeyError("x")
    assert "ryla-gen jobs logs ryla-comfyui" in plain.value.hint
    monkeypatch.setenv(APP_VARIABLE, app_variable("ryla-portrait")[APP_VARIABLE])
    monkeypatch.setenv("MODAL_ENVIRONMENT", "staging")
    with pytest.raises(StorageFailedError) as own, typed_errors("It failed"):
        raise PermissionError("no")
    assert own.value.hint.endswith("ryla-gen jobs logs ryla-portrait --environment staging")
