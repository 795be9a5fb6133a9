"""An installation of real commands: git repositories on this disk, a real environment, and the emulator as the server in them.

Only comfy-cli is played by another program of its name: installing it moves this project's own requirements to older versions. It
does here what 1.5.3 does with these flags, which is to clone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from ryla_gen.locks import NodePack
from ryla_gen.tools.local.folder import Folder
from ryla_gen.tools.local.install_steps import Pins

ROOT = Path(__file__).resolve().parents[3]
HOST = "https://github.com"
MAIN = """
import os, sys
port = sys.argv[sys.argv.index("--port") + 1]
folder = sys.argv[sys.argv.index("--output-directory") + 1] + "/.." if "--output-directory" in sys.argv else "/tmp"
flags = ["--folder", folder] if "--output-directory" in sys.argv else []
os.execv(sys.executable, [sys.executable, "-m", "ryla_gen.emulator", "--port", port, *flags])
"""
COMFY = """
import subprocess, sys
words = sys.argv[1:]
if "tracking" in words:
    raise SystemExit(0)
assert words[:2] == ["--skip-prompt", "--workspace"] and words[3] == "install", words
assert {"--skip-manager", "--skip-torch-or-directml", "--skip-requirement", "--cpu"} <= set(words), words
url, _, tag = words[words.index("--url") + 1].rpartition("@")
raise SystemExit(subprocess.run(["git", "clone", "-q", "-b", tag, url, words[2]]).returncode)
"""


def git(folder: Path, *words: str) -> str:
    """Run git, and return what it says."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    return subprocess.run(
        ["git", *who, "-C", str(folder), *words], check=True, capture_output=True, text=True, timeout=600
    ).stdout.strip()


def repository(folder: Path, files: dict[str, str], tag: str = "") -> str:
    """Make a repository with one commit; its id."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "as it is")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    if tag:
        git(folder, "tag", tag)
    return git(folder, "rev-parse", "HEAD")


@dataclass(frozen=True)
class Sources:
    """Repositories to install from, and the environment in which that works."""

    pins: Pins
    environment: dict[str, str]
    comfyui: Path


def sources(folder: Path) -> Sources:
    """Make them below a folder."""
    comfyui, pack = folder / "ComfyUI", folder / "pack"
    commit = repository(comfyui, {"main.py": MAIN, "requirements.txt": "", "nodes.py": ""}, "v0.28.2")
    other = repository(pack, {"__init__.py": "NODE_CLASS_MAPPINGS = {}\n"})
    (folder / "tools" / "comfy_cli").mkdir(parents=True)
    (folder / "tools" / "comfy_cli" / "__init__.py").touch()
    (folder / "tools" / "comfy_cli" / "__main__.py").write_text(COMFY)
    packs = (NodePack("a_pack", f"{HOST}/cubiq/a_pack", None, other, None, ("InstantIDModelLoader",)),)
    pins = Pins(NodePack("ComfyUI", f"{HOST}/comfyanonymous/ComfyUI", "0.28.2", commit, None, ()), packs, torch=(), requirements=())
    places = [str(folder / "tools"), str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    environment = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(places)), "GIT_CONFIG_COUNT": "2"}
    # Git takes the addresses to be these folders. comfy-cli refuses a ComfyUI whose remote is not the original one.
    for number, (place, name) in enumerate([(comfyui, "comfyanonymous/ComfyUI"), (pack, "cubiq/a_pack")]):
        environment |= {f"GIT_CONFIG_KEY_{number}": f"url.file://{place}.insteadOf", f"GIT_CONFIG_VALUE_{number}": f"{HOST}/{name}"}
    return Sources(pins, os.environ | environment, comfyui)


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Repositories to install from."""
    return sources(tmp_path_factory.mktemp("origin"))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder for an installation; nothing is in it."""
    return Folder(tmp_path / "comfy here")


@pytest.fixture
def comfy_cli(origin: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is installed, as far as this process can see."""
    monkeypatch.syspath_prepend(str(Path(origin.environment["PYTHONPATH"].split(os.pathsep)[0])))
    sys.modules.pop("comfy_cli", None)
