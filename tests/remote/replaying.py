"""Replays an image's build on this machine: every command that Modal's client sends, in a Python environment in the image's place.

What differs: folders lie below a folder of the test, git takes the repositories' addresses to be small ones on this disk, and
PyTorch's and CUDA's packages are empty wheels, whose own hashes stand in a copy of the lock. Debian's packages are not installed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import modal

from ryla_gen.locks import NodePack, pins
from ryla_gen.remote import image
from ryla_gen.remote.build import check_snapshot, patch_pulid
from ryla_gen.remote.container_paths import COMFYUI_FOLDER
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.modal_loopback.images import layers_of

UV = str(Path(sys.executable).with_name("uv"))
STUBBED = re.compile(r"(torch|torchvision|torchaudio|triton|nvidia-[a-z0-9-]+)$")
"""Gigabytes that no test here computes with."""
MAIN = """
import json, pathlib, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import aiohttp, alembic, av, comfy_cli, safetensors, sqlalchemy, tokenizers, transformers, yaml  # what needs no torch

classes = {}
for file in pathlib.Path("custom_nodes").glob("*/__init__.py"):
    if file.parent.name == "ryla_snapshot":
        continue  # it chooses the device of the real one
    names = {}
    exec(file.read_text(), names)
    classes.update(names["CLASSES"])

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({"one": {"status": {"status_str": "success"}}} if self.path.startswith("/history") else classes)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"device": "cpu"} if self.path == "/ryla/device" else {"prompt_id": "one"})

    def answer(self, data):
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""
FACES = "import cv2, onnxruntime\nfrom insightface.app import FaceAnalysis\n"
PULID = "".join(
    f"def {name}(wrapper_executor, noise, latent_image, disable_pbar=False, seed=None):\n"
    "    callback = None\n    return wrapper_executor(noise, latent_image, callback, disable_pbar, seed)\n\n\n"
    for name in patch_pulid.WRAPPERS
)

HOOK = "def pulid_forward_orig(\n    self,\n    control = None,\n    transformer_options={},\n):\n    return transformer_options\n"


def git(folder: Path, *words: str) -> str:
    """Run git, and return what it says."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    call = ["git", *who, "-C", str(folder), *words]
    return subprocess.run(call, check=True, capture_output=True, text=True, timeout=600).stdout.strip()


def repository(folder: Path, files: dict[str, str], tag: str = "") -> str:
    """Make a repository with one commit; its id."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "as it is")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    if tag:
        git(folder, "tag", tag)
    return git(folder, "rev-parse", "HEAD")


@dataclass
class Replay:
    """One image's build."""

    folder: Path
    recipe: image.Recipe

    def __post_init__(self) -> None:
        self.root, self.wheels = self.folder / "root", self.folder / "wheels"
        self.python = self.folder / "python" / "bin" / "python"
        self.addresses: list[tuple[Path, str]] = []
        self.wheels.mkdir(parents=True)
        self.recipe = replace(
            self.recipe,
            lock=self._lock(self.recipe.lock),
            comfyui=self._comfyui(self.recipe),
            packs=tuple(self._pack(item) for item in self.recipe.packs),
        )

    def run(self) -> list[str]:
        """Make the environment that Modal's base image has, then run every command; what was run, as it was sent."""
        self._base()
        commands = []
        with Loopback() as loopback, connected(loopback):
            app, built = modal.App("replay", include_source=False), image.image_of(self.recipe, "L40S")
            app.function(image=built, serialized=True)(print)
            app.deploy()
            world = loopback._world
            for layer in layers_of(world, built.object_id)[1:]:
                for line in layer.image.dockerfile_commands:
                    word, _, rest = line.partition(" ")
                    if word == "COPY":
                        self._copy(world, layer.image.context_mount_id)
                    elif word == "RUN" and not rest.startswith("apt-get "):
                        self._command(rest)
                        commands.append(rest)
                    else:
                        assert line == "FROM base" or rest.startswith("apt-get "), line
        return commands

    def installed(self) -> dict[str, str]:
        """Everything that the environment has in the end."""
        code = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
        return pins(self.says(code))

    def says(self, code: str) -> str:
        """What a few lines print in the environment."""
        return subprocess.run([self.python, "-c", code], check=True, capture_output=True, text=True, timeout=600).stdout

    def _base(self) -> None:
        """Modal's base images have the newest pip, wheel and uv of the day they were made."""
        uv = [UV, "venv", "--quiet", "--python", image.PYTHON, "--seed", str(self.python.parent.parent)]
        subprocess.run(uv, check=True, timeout=600)
        uv = [UV, "pip", "install", "--quiet", "--python", str(self.python), "--upgrade", "pip", "wheel", "uv"]
        subprocess.run(uv, check=True, timeout=600)

    def _command(self, command: str) -> None:
        here = command.replace(COMFYUI_FOLDER, f"{self.root}{COMFYUI_FOLDER}")
        here = here.replace(image.SCRIPTS_IN_IMAGE, f"{self.root}{image.SCRIPTS_IN_IMAGE}")
        done = subprocess.run(
            ["sh", "-c", here], cwd=self.folder, env=self._environment(), capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"

    def _environment(self) -> dict[str, str]:
        home = self.root / "root"
        home.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
        kept |= {"PATH": f"{self.python.parent}:{os.environ['PATH']}", "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
        kept |= {"UV_FIND_LINKS": str(self.wheels), "GIT_CONFIG_COUNT": str(len(self.addresses))}
        for number, (place, address) in enumerate(self.addresses):
            kept |= {f"GIT_CONFIG_KEY_{number}": f"url.file://{place}.insteadOf", f"GIT_CONFIG_VALUE_{number}": address}
        return kept

    def _copy(self, world: Any, mount: str) -> None:
        for file in world.mounts[mount]:
            target = self.root / file.filename.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(world.files[file.sha256_hex])

    def _lock(self, lock: Path) -> Path:
        """A copy of a lock in which empty wheels stand for PyTorch and CUDA."""
        blocks = re.split(r"^(?=[A-Za-z0-9])", lock.read_text(), flags=re.MULTILINE)
        copied = "".join(
            self._stub(block) if (found := pins(block)) and STUBBED.match(next(iter(found))) else block for block in blocks
        )
        assert pins(copied) == pins(lock.read_text())
        target = self.folder / lock.name
        target.write_text(copied)
        return target

    def _stub(self, block: str) -> str:
        [(name, version)] = pins(block).items()
        digest = hashlib.sha256(empty_wheel(self.wheels, name, version).read_bytes()).hexdigest()
        return f"{name}=={version} \\\n    --hash=sha256:{digest}\n"

    def _comfyui(self, recipe: image.Recipe) -> NodePack:
        core = sorted(recipe.nodes.difference(*(pack.nodes for pack in recipe.packs)))
        files = {"main.py": MAIN, "requirements.txt": "a-package-that-does-not-exist==1\n", "comfyui_version.py": ""}
        files["custom_nodes/core/__init__.py"] = f"CLASSES = { {name: {} for name in core}!r}\n"
        files["comfy/cli_args.py"] = "".join(f'print("{flag}")\n' for flag in check_snapshot.FLAGS)
        files["comfy/model_management.py"] = f"{check_snapshot.CHOICE}\n"
        place = self.folder / "ComfyUI"
        commit = repository(place, files, f"v{recipe.comfyui.version}")
        self.addresses.append((place, recipe.comfyui.repo))
        return replace(recipe.comfyui, commit=commit)

    def _pack(self, pack: NodePack) -> NodePack:
        place = self.folder / pack.name
        imports = FACES if "insightface" in pins(self.recipe.lock.read_text()) else ""
        classes = f"{imports}CLASSES = { {name: {} for name in pack.nodes}!r}\n"
        commit = repository(place, {"__init__.py": classes, patch_pulid.FILE: PULID, patch_pulid.HOOK_FILE: HOOK})
        self.addresses.append((place, pack.repo))
        return replace(pack, commit=commit)


def empty_wheel(folder: Path, name: str, version: str) -> Path:
    """Make a wheel that holds nothing but its own name."""
    stem = f"{name.replace('-', '_')}-{version}"
    files = {
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},sha256={encoded(text)},{len(text)}\n" for file, text in files.items())
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for file, text in {**files, f"{stem}.dist-info/RECORD": f"{record}{stem}.dist-info/RECORD,,\n"}.items():
            wheel.writestr(file, text)
    return folder / f"{stem}-py3-none-any.whl"


def encoded(text: str) -> str:
    """A hash as a wheel's record writes it."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
