"""What an agent writes is data: it reads no file, reaches no address and runs no command that a person did not allow."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.errors import InvalidInputError
from ryla_gen.media.addresses import ALLOW
from ryla_gen.tools.mcp.inputs import allowed_path, request_of
from ryla_gen.workflows.registry import workflow_class

from .agents import SMALL, agent, error, facts, jobs, pictures

EDIT = "z_image"


@pytest.fixture
def folders(tmp_path: Path, face: bytes) -> tuple[Path, Path]:
    """A folder that is allowed and one that is not, with a picture in each, and ways from the first to the second."""
    allowed, secret = (tmp_path / "allowed").resolve(), (tmp_path / "secret").resolve()
    for folder in (allowed, secret):
        folder.mkdir()
        (folder / "face.png").write_bytes(face)
    (allowed / "link.png").symlink_to(secret / "face.png")
    (allowed / "door").symlink_to(secret, target_is_directory=True)
    (allowed / "circle").symlink_to(allowed / "circle")
    (allowed / "notes.txt").write_text("not a picture")
    return allowed, secret


async def test_a_file_below_an_allowed_folder_is_read(folders: tuple[Path, Path], face: bytes, clean_environment: Path) -> None:
    allowed, _ = folders
    data = f"data:image/png;base64,{base64.b64encode(face).decode()}"
    async with agent("--allow-folder", str(allowed)) as client:
        for given in ("face.png", str(allowed / "face.png"), data):
            made = await client.call_tool(EDIT, {"prompt": "older", "image": given, **SMALL})
            assert len(pictures(made)) == 1
        several = await client.call_tool("qwen_image_edit", {"prompt": "older", "images": ["face.png", data], **SMALL})
        assert len(pictures(several)) == 1
        (_, line, *_) = facts(await client.call_tool("jobs"))["jobs"]
        told = facts(await client.call_tool("job", {"job": line["job"]}))
        assert set(told["inputs"]["image"]) == {"sha256", "bytes"}, "of a picture the journal has its hash"


@pytest.mark.parametrize(
    "given",
    [
        "../secret/face.png",
        "link.png",
        "door/face.png",
        "circle",
        "missing.png",
        "door/missing.png",
        "/etc/passwd",
        "/dev/zero",
        "~/face.png",
        ".",
        "",
        "a\0b",
        "x" * 5000,
        "file:///etc/passwd",
        "http://127.0.0.1/x.png",
        "ftp://example.org/x.png",
        "\\\\server\\share\\x.png",
    ],
)
def test_another_file_is_not_and_whether_it_is_there_is_not_told(folders: tuple[Path, Path], given: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        allowed_path(given, [folders[0]], "image")
    assert str(folders[0]) in caught.value.hint
    assert ("is not a file that may be read here" in caught.value.message) != ("only https://" in caught.value.message)


@pytest.mark.parametrize(
    "given",
    ["https://127.0.0.1/x.png", "https://localhost:1/x.png", "https://[::1]/x.png", "https://169.254.169.254/latest", "notes.txt"],
)
async def test_no_private_address_and_nothing_but_pictures_is_read(
    folders: tuple[Path, Path], given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RYLA_GEN_ALLOW_PRIVATE_ADDRESSES", "true")  # a person's own programs may
    with pytest.raises(InvalidInputError) as caught:
        await request_of(workflow_class(EDIT), {"prompt": "x", "image": given}, [folders[0]])
    assert ALLOW not in caught.value.hint


BAD: list[tuple[str, dict[str, Any]]] = [
    ("flux_dev", {"prompt": "x", "lora_id": "../../../etc/passwd"}),
    ("flux_dev", {"prompt": ["x"]}),
    ("flux_dev", {"prompt": "x", "seed": 2**64}),
    ("flux_dev", {"prompt": "x", "width": 1e308}),
    ("flux_dev", {"prompt": "x" * 20_001}),
    ("flux_dev", {"prompt": "x", "output": "/tmp/x.png"}),
    ("flux_dev", {"prompt": "x", "__class__": "os.system"}),
    (EDIT, {"prompt": "x", "image": {"path": "/etc/passwd"}}),
    (EDIT, {"prompt": "x", "image": ["/etc/passwd"]}),
    (EDIT, {"prompt": "x", "image": 5}),
    ("run", {"workflow": "../evil.lock", "fields": {}}),
    ("run", {"workflow": "/tmp/evil.lock", "fields": {}}),
    ("run", {"workflow": "workflow", "fields": {"graph": {"1": {"class_type": "SaveImage", "inputs": {}}}}}),
    ("run", {"workflow": "flux", "fields": {"prompt": "x", "backend": "modal"}}),
    ("run", {"workflow": "flux", "fields": "prompt=x"}),
    ("run", {"workflow": "flux", "fields": {"prompt": "x"}, "max_usd": 100}),
    ("estimate", {"workflow": EDIT, "fields": {"prompt": "x", "image": "/etc/passwd"}}),
    ("workflows", {"name": "../../x"}),
    ("job", {"job": "http://127.0.0.1:1/prompt/abc"}),
    ("job", {"job": "%"}),
    ("result", {"job": "' OR 1=1 --"}),
    ("cancel", {"job": "*"}),
    ("cancel", {}),
    ("jobs", {"limit": -1}),
    ("jobs", {"state": "lost"}),
    ("costs", {"since": "yesterday; rm -rf /"}),
    ("gallery", {"folder": "/"}),
    ("gallery", {"since": "9" * 40}),
    ("__init__", {}),
    ("x" * 500, {}),
]


async def test_hostile_arguments_are_refused_as_tool_errors_and_send_nothing(clean_environment: Path) -> None:
    async with agent() as client:
        for name, given in BAD:
            refused = error(await client.call_tool(name, given))
            assert refused["code"] in ("invalid_input", "lora_not_found", "job_not_found"), (name, given, refused)
            assert len(str(refused)) < 4000, name
        assert facts(await client.call_tool("costs"))["usd"] == 0
    assert [record.state for record in jobs() if record.state == "succeeded"] == []


async def test_results_go_to_our_folder_under_our_names(clean_environment: Path, tmp_path: Path) -> None:
    async with agent("-o", str(tmp_path / "out {seed}"), folder=tmp_path) as client:
        made = facts(await client.call_tool("flux_dev", {"prompt": "../../{job}\n/etc/x", **SMALL}))
    (file,) = made["files"]
    assert Path(file["path"]) == tmp_path / "out {seed}" / f"flux_dev-{made['job']}-0.png"
    assert sorted(os.listdir(tmp_path)) == ["home", "out {seed}"]  # noqa: PTH208
