"""A built-in workflow is four files by hand, and one command writes the rest: shown on a copy of the tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("ryla_gen", "cli", "docs", "docs_tools", "examples", "tests")

CLASS = '''"""SDXL with nothing around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..graphs.graph import Graph
from .base import Files, SampledWorkflow
from .facts import Duration, Example


class PlainSDXL(SampledWorkflow):
    """SDXL: a picture. Its licence is nobody's here."""

    name: ClassVar[str] = "plain_sdxl"
    family: ClassVar[str] = "faces"
    durations: ClassVar[Mapping[str, Duration]] = {"": Duration(1.0, 2.0, 9.0, "no time was published for it", known=False)}
    example: ClassVar[Example | None] = Example({"prompt": "a boat", "width": 256, "height": 256, "steps": 2}, "boat.png")

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return checkpoint → text → sampler → picture."""
        graph = Graph()
        model = graph.add("CheckpointLoaderSimple", ckpt_name="plain_sdxl.safetensors")
        text, other = (graph.add("CLIPTextEncode", text=words, clip=model[1]) for words in (self.prompt, self.negative_prompt))
        latent = graph.add("EmptyLatentImage", width=self.width, height=self.height, batch_size=1)
        values = {"steps": self.steps, "cfg": self.cfg, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
        fed = {"model": model, "positive": text, "negative": other, "latent_image": latent}
        sampled = graph.add("KSampler", **fed, **values, seed=self.seed or 0)
        graph.add("SaveImage", images=graph.add("VAEDecode", samples=sampled, vae=model[2]), filename_prefix=files.prefix)
        return graph
'''
RECORDED = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "plain_sdxl.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a boat", "clip": ["1", 1]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
    "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 256, "height": 256, "batch_size": 1}},
    "5": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "positive": ["2", 0],
            "negative": ["3", 0],
            "latent_image": ["4", 0],
            "seed": 0,
            "steps": 2,
            "cfg": 1.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        },
    },
    "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
    "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "ryla"}},
}
GENERATED = {
    *("ryla_gen/__init__.py", "ryla_gen/client/methods.py", "ryla_gen/remote/app.py", "tests/remote/deployed.json"),
    *("examples/typescript/src/options.ts", "examples/typescript/src/ryla.ts", "examples/typescript/README.md"),
    *("README.md", "mkdocs.yml", "docs/deployment.md", "docs/models.md", "docs/cli.md", "docs/api.md"),
    *("docs/workflows/index.md", "docs/workflows/plain-sdxl.md"),
}
USE = """
from ryla_gen import Client, PlainSDXL
from ryla_gen.remote.app import Faces

with Client("emulator") as client:
    made = client.plain_sdxl(prompt="a boat", width=256, height=256, steps=1, seed=7)
    assert made.image.size == (256, 256) and isinstance(made.workflow, PlainSDXL)
    print(client.estimate(made.workflow, backend="modal").basis)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the checkout."""
    folder = tmp_path / "tree"
    unwanted = shutil.ignore_patterns("__pycache__", "node_modules", "dist")
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=unwanted)
    for name in ("README.md", "CONTRIBUTING.md", "mkdocs.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def by_hand(tree: Path) -> list[str]:
    """Do what CONTRIBUTING asks for; the files that were touched."""
    row = json.loads((tree / "ryla_gen/models/weights.json").read_text(encoding="utf-8"))["weights"][0]
    row = dict.fromkeys(row) | {"folder": "checkpoints", "name": "plain_sdxl.safetensors", "file": "plain_sdxl.safetensors"}
    row |= {"repo": "nobody/plain", "gated": False, "nodes": [], "source": "a test", "base": "sdxl"}
    weights = (tree / "ryla_gen/models/weights.json").read_text(encoding="utf-8")
    registry = (tree / "ryla_gen/workflows/registry.py").read_text(encoding="utf-8")
    line = 'BUILT_IN = {\n    "plain_sdxl": "plain_sdxl:PlainSDXL",'
    written = {
        "ryla_gen/workflows/plain_sdxl.py": CLASS,
        "ryla_gen/workflows/registry.py": registry.replace("BUILT_IN = {", line, 1),
        "ryla_gen/models/weights.json": weights.replace('"weights": [', f'"weights": [{json.dumps(row)},', 1),
        "tests/data/graphs/plain_sdxl.json": json.dumps(RECORDED),
    }
    for name, text in written.items():
        (tree / name).write_text(text, encoding="utf-8")
    return sorted(written)


def python(tree: Path, *arguments: str) -> str:
    """Run Python in the copy, and return what it said."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), str(tree / "cli")]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_four_files_by_hand_and_one_command_make_a_workflow(tree: Path) -> None:
    assert len(by_hand(tree)) == 4
    said = python(tree, "-m", "docs_tools")
    assert {line.removeprefix("written: ") for line in said.splitlines()} == GENERATED
    assert "no time was published for it" in python(tree, "-c", USE)
    assert "plain_sdxl" in (tree / "tests/remote/deployed.json").read_text(encoding="utf-8")
    page = (tree / "docs/workflows/plain-sdxl.md").read_text(encoding="utf-8")
    assert 'client.plain_sdxl(prompt="a boat", width=256, height=256, steps=2)' in page
    assert "generatePlainSDXL" in (tree / "examples/typescript/src/ryla.ts").read_text(encoding="utf-8")
    python(tree, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "tests/workflows/test_workflows.py", "-k", "plain_sdxl")
