"""The examples that need a server which outlives them: one on a ComfyUI server, one on Modal without this package's client."""

from __future__ import annotations

from pathlib import Path

from tests.examples.running import example, size_of
from tests.modal_loopback import Loopback


def test_a_job_is_handed_in_by_one_process_and_fetched_by_another(server: str, tmp_path: Path) -> None:
    first = example(tmp_path, "submit_and_resume", COMFYUI_POD_URL=server)
    assert (first.code, first.new) == (0, ()), first.told
    job = first.said.strip()
    second = example(tmp_path, "submit_and_resume", job, COMFYUI_POD_URL=server)
    assert second.code == 0, second.told
    assert [size_of(file) for file in second.new] == [(512, 512)]
    again = example(tmp_path, "submit_and_resume", job, COMFYUI_POD_URL=server)
    assert (again.code, again.new, again.changed) == (1, (), ())
    assert again.told.startswith("output_exists: ")
    alone = example(tmp_path, "submit_and_resume")
    assert alone.code == 1
    assert "RYLA" not in alone.told
    assert "ryla-gen emulator --port 8188" in alone.told


def test_modals_own_client_is_enough(modal_app: Loopback, tmp_path: Path) -> None:
    modal_app.knobs.reset()
    first, second = (example(tmp_path, "without_the_sdk", **modal_app.env) for _ in range(2))
    for done in (first, second):
        assert done.code == 0, done.told
        assert [size_of(file) for file in done.new] == [(512, 512)]
        assert done.changed == ()
    assert not (tmp_path / "home").exists(), "ryla_gen had no part in it"
    refused = example(tmp_path, "without_the_sdk", " ", **modal_app.env)
    assert (refused.code, refused.new) == (1, ())
    assert refused.told.startswith("invalid_input: ")
