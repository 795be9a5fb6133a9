"""Installing locks on this machine: by real git and real pip, from repositories and a folder of wheels on this disk."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.errors import InvalidInputError, LockOpenError
from ryla_gen.locks import NodePack, sha256_of
from ryla_gen.locks import pins as versions
from ryla_gen.locks.graph_lock import OpenQuestion, lock_text
from ryla_gen.tools.local.folder import Folder
from ryla_gen.tools.local.install import plan
from ryla_gen.tools.local.install_steps import OWN_LIST, Pins, needs_compiler
from tests.cli.shell import here
from tests.locks.locking import colour_lock, write_lock

from .conftest import HOST, MAIN, Sources, repository

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="installs ComfyUI on Linux and macOS only"),
    pytest.mark.usefixtures("comfy_cli", "clean_environment"),
    pytest.mark.timeout(300),
]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ON_LINUX = pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="locks are for Linux on x86_64")
PACK = {
    "__init__.py": "import tiny_greeting\nNODE_CLASS_MAPPINGS = {}\n",
    "pyproject.toml": '[project]\nname = "greeter"\nversion = "1"\ndependencies = ["tiny-greeting"]\n',
}
"""A pack with dependencies and no requirements.txt, which does not load without them."""
WITH_PACKS = f"""
import glob, runpy
for pack in glob.glob("custom_nodes/*/__init__.py"):
    runpy.run_path(pack)
{MAIN}"""
"""A server that starts only where every pack loads."""


@dataclass(frozen=True)
class Shop:
    """What a lock is made of."""

    comfyui: NodePack
    pack: NodePack
    hashes: dict[str, str]
    """Of the wheel of each version."""

    def packages(self, *lines: str) -> str:
        """Return a list of packages in which tiny-greeting has these versions and hashes."""
        return "".join(
            f"{line} \\\n    --hash=sha256:{self.hashes[line.partition('==')[2]]}\n    # via greeter\n" for line in lines
        )

    def lock(self, folder: Path, packages: str, name: str = "greeting", python: str = PYTHON, **more: Any) -> Path:
        """Write a lock with the pack, or with other packs, and its list of packages; its file."""
        made = colour_lock(name)
        listed = replace(made.image.python, version=python, requirements=(), sha256=sha256_of(packages))
        packs = more.pop("packs", (self.pack,))
        path = write_lock(
            replace(made, image=replace(made.image, comfyui=self.comfyui, packs=packs, python=listed), **more), folder
        )
        path.with_name(listed.file).write_text(packages)
        return path


def wheel(folder: Path, version: str) -> str:
    """Write a wheel of tiny-greeting; its sha256."""
    path, info = folder / f"tiny_greeting-{version}-py3-none-any.whl", f"tiny_greeting-{version}.dist-info"
    files = {
        "tiny_greeting.py": f'VERSION = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny-greeting\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
        file.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD")))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def shop(tmp_path: Path, origin: Sources, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Repositories and wheels, which git and pip find by their usual addresses."""
    commit = repository(tmp_path / "ComfyUI", {"main.py": WITH_PACKS, "requirements.txt": ""}, "v0.28.2")
    other = repository(tmp_path / "greeter", PACK)
    (tmp_path / "wheels").mkdir()
    hashes = {version: wheel(tmp_path / "wheels", version) for version in ("1.0", "2.0", "3.0")}
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PYTHONPATH", origin.environment["PYTHONPATH"])
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    for number, (place, name) in enumerate([("ComfyUI", "comfyanonymous/ComfyUI"), ("greeter", "owner/greeter")]):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", f"url.file://{tmp_path / place}.insteadOf")
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", f"{HOST}/{name}")
    comfyui = NodePack("ComfyUI", f"{HOST}/comfyanonymous/ComfyUI", "0.28.2", commit, None, ())
    yield Shop(comfyui, NodePack("greeter", f"{HOST}/owner/greeter", None, other, None, ("EmptyImage",)), hashes)


def version_in(folder: Folder) -> str:
    """The version of tiny-greeting that is installed."""
    command = [str(folder.python), "-c", "import tiny_greeting; print(tiny_greeting.VERSION)"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@ON_LINUX
def test_a_lock_is_installed_to_its_end_with_its_own_versions_and_hashes(
    shop: Shop, folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = shop.lock(tmp_path, shop.packages("tiny-greeting==1.0"))
    line = ("local", "install", "--cpu", "--folder", str(folder.root), "--yes", "--json", "--lock")
    assert here(*line, str(lock)) == 0, folder.install_log.read_text()
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[-1])["data"]["workflows"] == [str(lock)]
    assert "the code of greeter from https://github.com/owner/greeter" in said.err
    assert "compares no hashes" not in said.err
    assert version_in(folder) == "1.0", "the newest one is 3.0"
    assert folder.head(folder.comfyui / "custom_nodes" / "greeter") == shop.pack.commit
    wrong = shop.packages("tiny-greeting==2.0").replace(shop.hashes["2.0"], shop.hashes["1.0"])
    assert here(*line, str(shop.lock(tmp_path, wrong))) != 0
    assert "DO NOT MATCH THE HASHES" in capsys.readouterr().out
    assert version_in(folder) == "1.0"


def test_elsewhere_pip_chooses_the_versions_and_that_is_said(shop: Shop, folder: Folder, tmp_path: Path) -> None:
    lock = str(shop.lock(tmp_path, shop.packages("tiny-greeting==1.0"), python="3.9"))
    made = plan(folder, (lock,), "cpu", weights=False)
    assert made.warnings[0].startswith(f"The packages of {lock} were locked for Python 3.9 on 'x86_64-manylinux")
    assert made.warnings[0].endswith("; here pip chooses the versions, and compares no hashes.")
    assert not made.files and not any("--require-hashes" in step.command for step in made.steps)
    assert [step.command[1] for step in made.steps if step.title.startswith("requirements of greeter")] == [str(OWN_LIST)]


@pytest.mark.parametrize("file", ["pyproject.toml", "requirements.txt", None])
def test_where_pip_chooses_it_installs_what_a_pack_asks_for_in_either_file(shop: Shop, tmp_path: Path, file: str | None) -> None:
    pack, target = tmp_path / "pack", tmp_path / "installed"
    pack.mkdir()
    if file is not None:
        (pack / file).write_text(PACK["pyproject.toml"] if file == "pyproject.toml" else "tiny-greeting<3\n")
    pip = (sys.executable, "-m", "pip", "install", "-q", "--target", str(target))
    subprocess.run([sys.executable, str(OWN_LIST), str(pack), *pip], check=True, timeout=120)
    found = {path.name for path in target.glob("*.dist-info")}
    version = {"pyproject.toml": "3.0", "requirements.txt": "2.0"}
    assert found == ({f"tiny_greeting-{version[file]}.dist-info"} if file else set())


@ON_LINUX
def test_locks_whose_packages_agree_are_installed_by_their_hashes_and_others_are_not(shop: Shop, tmp_path: Path) -> None:
    one, same, other = (
        str(shop.lock(tmp_path, shop.packages(f"tiny-greeting=={version}"), name))
        for name, version in (("one", "1.0"), ("same", "1.0"), ("other", "2.0"))
    )
    assert Pins.of((one, same)).packages.text == shop.packages("tiny-greeting==1.0")
    found = Pins.of((one, other)).packages
    assert found.text == ""
    assert "one.lock was locked with tiny-greeting 1.0, and" in found.reason
    assert "other.lock with 2.0" in found.reason
    assert Pins.of(("flux",)).packages.reason == "", "without a lock there is nothing to say"
    mixed = versions(Pins.of((one, "flux")).packages.text)
    assert (mixed.keys() >= {"tiny-greeting", "torch"}) == (PYTHON == "3.11"), "the families' packages are for 3.11"


@ON_LINUX
def test_what_is_compiled_and_what_comes_last_is_known_from_the_lists_of_locks(shop: Shop, folder: Folder, tmp_path: Path) -> None:
    text = "".join(
        f"{name} \\\n    --hash=sha256:{'1' * 64}\n"
        for name in ("cython==3.1.6", "insightface==0.7.3", "opencv-python==4.12.0.88", "opencv-python-headless==4.12.0.88")
    )
    pins = Pins.of((str(shop.lock(tmp_path, text)),))
    assert needs_compiler(pins, "cpu")
    files = {path.name.partition("-")[0]: list(text.splitlines()[::2]) for path, text in pins.packages.files(folder).items()}
    assert files == {
        "tools": ["cython==3.1.6 \\"],
        "packages": [line for line in text.splitlines() if "==" in line],
        "last": ["opencv-python-headless==4.12.0.88 \\"],
    }


def test_a_lock_with_open_questions_is_refused_before_anything_is_said_or_done(
    shop: Shop, folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = OpenQuestion("python", "packages", "They were not resolved.", "ryla-gen graph lock greeting.json")
    lock = shop.lock(tmp_path, "", open=(asked,))
    with pytest.raises(LockOpenError, match="not resolved"):
        plan(folder, (str(lock),), "cpu")
    assert here("local", "install", "--lock", str(lock), "--cpu", "--folder", str(folder.root), "--yes") != 0
    said = capsys.readouterr().err
    assert "open question" in said
    assert "will run on this machine" not in said
    assert not folder.root.exists()


def test_a_pack_at_two_commits_is_refused_with_the_names_of_both(shop: Shop, folder: Folder, tmp_path: Path) -> None:
    moved = replace(shop.pack, name="Greeter", commit="b" * 40)
    text = shop.packages("tiny-greeting==1.0")
    one, two = shop.lock(tmp_path, text, "one"), shop.lock(tmp_path, text, "two", packs=(moved,))
    with pytest.raises(InvalidInputError) as caught:
        plan(folder, (str(one), str(two)), "cpu")
    assert f"by {one} at {shop.pack.commit[:12]} and by {two} at {'b' * 12}" in caught.value.message
    assert caught.value.details == {"pack": "Greeter", "commits": [shop.pack.commit, "b" * 40]}
    theirs = replace(shop.pack, name="ComfyUI_InstantID")
    with pytest.raises(InvalidInputError, match="ComfyUI_InstantID is needed by"):
        Pins.of((str(shop.lock(tmp_path, text, "three", packs=(theirs,))), "instantid"))


def test_a_lock_that_is_known_by_its_name_says_whose_code_it_brings_and_asks(
    shop: Shop, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    from ryla_gen.workflows.registry import locks_folder

    kept = shop.lock(locks_folder(), shop.packages("tiny-greeting==1.0"))
    assert lock_text(colour_lock("greeting")) != kept.read_text()
    assert here("local", "install", "greeting", "--cpu", "--folder", str(folder.root), "--no-weights") != 0  # nobody says yes
    assert "the code of greeter from https://github.com/owner/greeter" in capsys.readouterr().err
    assert not folder.root.exists()
