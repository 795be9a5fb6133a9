"""What the page about the old endpoints says of locks is true of graphs with the nodes of the old ones."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from docs_tools.__main__ import DOCS
from tests.cli.shell import envelope, here

PAGE = (DOCS / "from-the-old-endpoints.md").read_text(encoding="utf-8")


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


Z_IMAGE_PULID = {
    "1": node("UNETLoader", unet_name="z_image_turbo_bf16.safetensors", weight_dtype="default"),
    "2": node("CLIPLoader", clip_name="qwen_3_4b.safetensors", type="lumina2", device="default"),
    "3": node("VAELoader", vae_name="z-image-turbo-vae.safetensors"),
    "4": node("CLIPTextEncode", text="a woman in a cafe", clip=["2", 0]),
    "7": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
    "8": node("BetaSamplingScheduler", model=["28", 0], steps=20, alpha=0.4, beta=0.4),
    "9": node("Sigmas Rescale", sigmas=["8", 0], start=0.996, end=0),
    "10": node("ClownsharKSampler_Beta", model=["28", 0], positive=["4", 0], latent_image=["7", 0], sigmas=["9", 0], seed=7),
    "11": node("VAEDecode", samples=["10", 0], vae=["3", 0]),
    "12": node("SaveImage", images=["11", 0], filename_prefix="x"),
    "20": node("PulidFluxModelLoader", pulid_file="pulid_flux_v0.9.1.safetensors"),
    "21": node("PulidFluxInsightFaceLoader", provider="CPU"),
    "22": node("PulidFluxEvaClipLoader"),
    "23": node("LoadImage", image="face.png"),
    "24": node(
        "ApplyPulidFlux",
        model=["1", 0],
        pulid_flux=["20", 0],
        eva_clip=["22", 0],
        face_analysis=["21", 0],
        image=["23", 0],
        weight=0.8,
        start_at=0.0,
        end_at=1.0,
    ),
    "28": node("FixPulidFluxPatch", model=["24", 0]),
}
"""As the handler of ``/z-image-pulid`` built it."""


def test_the_lock_of_pulid_in_z_image_is_made_by_the_command_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"^ryla-gen (graph lock z_image_pulid\.json.*?[^\\])$", PAGE, re.MULTILINE | re.DOTALL)
    Path("z_image_pulid.json").write_text(json.dumps(Z_IMAGE_PULID), encoding="utf-8")
    assert here(*shlex.split(command.replace("\\\n", " ")), "--offline", "--json") == 0
    assert Path("z-image-pulid.lock").is_file()
    left = envelope(capsys.readouterr().out)["data"]["open"]
    assert len(left) == 1 and "Python packages" in left[0]["question"], "for which it asks the network"
