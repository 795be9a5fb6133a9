"""``ryla-gen doctor`` on the emulator and on a ComfyUI server; on Modal it is tested beside ``deploy``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ryla_gen.emulator.server import Emulator
from ryla_gen.models.node_schemas import OLDEST_VERSION, node_schemas
from ryla_gen.support.loop_thread import LoopThread

from .shell import envelope, here, ryla

Capsys = pytest.CaptureFixture[str]


def doctor(capsys: Capsys, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run it; state and all by name of the check."""
    capsys.readouterr()
    assert here("doctor", *arguments, "--json") == code
    return {item["name"]: item for item in envelope(capsys.readouterr().out)["data"]["items"]}


def test_the_emulator_makes_a_picture(capsys: Capsys) -> None:
    checks = doctor(capsys)
    assert [item["state"] for item in checks.values()] == ["ok", "ok"]
    assert checks["picture"]["message"].startswith("256×256")
    assert here("doctor") == 0
    assert "ok      picture: 256×256" in capsys.readouterr().out


def test_the_emulator_is_asked_for_each_workflow_that_is_named(capsys: Capsys) -> None:
    checks = doctor(capsys, "flux", "wan2", "flux-lora")
    assert list(checks) == ["folders", "nodes of flux", "nodes of wan2", "nodes of flux-lora", "picture"]
    assert {item["state"] for item in checks.values()} == {"ok"}


def test_why_this_backend_is_said_once() -> None:
    assert ryla("doctor").stderr.count(b"embedded emulator") == 1


def test_a_comfyui_without_an_address_is_told_both_ways_to_name_one(capsys: Capsys) -> None:
    hint = doctor(capsys, "--backend", "comfyui", code=1)["server"]["hint"]
    assert "--url http://" in hint
    assert "ryla-gen config set comfyui.url" in hint
    assert here("run", "flux", "fox", "--backend", "comfyui") == 1
    assert hint in capsys.readouterr().err


def test_a_server_with_every_node_is_well(capsys: Capsys) -> None:
    with Emulator() as server:
        checks = doctor(capsys, "--url", server.url)
        assert {item["state"] for name, item in checks.items() if name != "picture"} == {"ok"}
        assert checks["version"]["message"].startswith("ComfyUI 0.28.2")
        assert checks["picture"]["state"] == "skipped"
        assert doctor(capsys, "--url", server.url, "--generate")["picture"]["state"] == "ok"


def test_a_server_that_is_not_there(capsys: Capsys) -> None:
    checks = doctor(capsys, "--url", "http://127.0.0.1:9", code=1)
    assert (checks["server"]["state"], checks["picture"]["state"]) == ("failed", "skipped")
    assert checks["server"]["hint"]
    done = ryla("doctor", "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert b"error[server_unhealthy]: 1 of 3 checks failed: server." in done.stderr


def _answering(answer: Any) -> Any:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(answer)

    return handler


class Bare:
    """A ComfyUI of a certain version without node packs, as far as the doctor asks."""

    def __init__(self, version: str, *, nodes: bool = True) -> None:
        core = {
            name: schema for name, schema in node_schemas(OLDEST_VERSION).items() if "InstantID" not in name and "Pulid" not in name
        }
        self.answers: dict[str, Any] = {
            "/system_stats": {"system": {"comfyui_version": version}, "devices": [{"name": "cuda:0 L40S"}]},
            "/queue": {"queue_running": [], "queue_pending": []},
            "/object_info": core if nodes else {},
        }
        self._loop_thread = LoopThread()

    async def _start(self) -> str:
        application = web.Application()
        for path, answer in self.answers.items():
            application.router.add_get(path, _answering(answer))
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def __enter__(self) -> str:
        return self._loop_thread.call(self._start())

    def __exit__(self, *error: object) -> None:
        self._loop_thread.call(self._runner.cleanup())
        self._loop_thread.close()


def test_missing_node_packs_are_named_with_what_to_install(capsys: Capsys) -> None:
    with Bare("0.3.75") as url:
        checks = doctor(capsys, "--url", url)
        assert checks["version"]["state"] == checks["nodes of flux"]["state"] == "ok"
        faces = checks["nodes of instantid"]
        assert faces["state"] == "skipped"
        assert "ApplyInstantID" in faces["message"]
        assert "ComfyUI_InstantID at " in faces["hint"]
        # Whoever names it wants it to work.
        assert doctor(capsys, "instantid", "--url", url, code=1)["nodes of instantid"]["state"] == "failed"
        flux = doctor(capsys, "flux", "--url", url, code=1)  # it has the nodes, and no weights
        assert (flux["nodes of flux"]["state"], flux["weights of flux"]["state"]) == ("ok", "failed")
        assert "weights sync flux" in flux["weights of flux"]["hint"]


def test_an_old_server_and_one_without_nodes_fail(capsys: Capsys) -> None:
    with Bare("0.3.9") as url:
        assert doctor(capsys, "--url", url, code=1)["version"]["state"] == "failed"
    with Bare("0.3.71", nodes=False) as url:
        assert doctor(capsys, "--url", url, code=1)["workflows"]["state"] == "failed"


def test_modal_without_a_token_says_how_to_get_one() -> None:
    done = ryla("doctor", "--backend", "modal", "--json", MODAL_CONFIG_PATH="/dev/null")
    assert done.returncode == 1
    (_, token, picture) = envelope(done.stdout)["data"]["items"]
    assert (token["name"], token["state"], picture["state"]) == ("token", "failed", "skipped")
    assert "modal token new" in token["hint"]


def test_a_folder_that_cannot_be_written(capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("RYLA_GEN_OUTPUT_DIR", str(tmp_path / "file" / "pictures"))
    assert doctor(capsys, code=1)["folders"]["state"] == "failed"


def test_an_unknown_workflow_is_usage(capsys: Capsys) -> None:
    assert here("doctor", "nope") == 2
    assert "error[invalid_input]" in capsys.readouterr().err


def test_a_chain_of_backends_is_examined_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("doctor", "--backend", "comfyui,emulator", "--url", "http://127.0.0.1:9", "--json") == 1
    found = envelope(capsys.readouterr().out)
    states = {item["name"]: item["state"] for item in found["data"]["items"]}
    assert states["comfyui: server"] == "failed"
    assert states["emulator: picture"] == "ok"


def test_a_server_whose_thread_died_is_not_well_and_the_next_run_says_what_is_before_it(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator() as server:
        server.knobs.thread_dies = True
        assert here("run", "flux", "fox", "--timeout", "1", "--url", server.url, "--json") == 1
        first = envelope(capsys.readouterr().out)["error"]
        assert (first["code"], first["details"]["stopped"]) == ("server_unhealthy", False)
        assert f"ryla-gen doctor --url {server.url}" in first["hint"]
        queue = doctor(capsys, "--url", server.url, code=1)["queue"]
        assert queue["state"] == "failed"
        assert first["details"]["job"] in queue["message"]
        assert "restart ComfyUI" in queue["hint"]
        monkeypatch.setenv("RYLA_GEN_QUEUE_TIMEOUT", "1")
        assert here("run", "flux", "fox", "--url", server.url, "--json") == 1
        second = envelope(capsys.readouterr().out)["error"]
        assert (second["code"], second["details"]["ahead"]) == ("server_unhealthy", [first["details"]["job"]])
