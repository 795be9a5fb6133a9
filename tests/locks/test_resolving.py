"""A resolution by the real uv and the real git, of packages and repositories that lie on this disk: no network."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ryla_gen import locks
from ryla_gen.errors import BackendNotConfiguredError, BackendUnreachableError, InvalidInputError
from ryla_gen.locks import NodePack, Requirements
from tests.remote.replaying import git, repository

AT_ALL_TIMES = "2099-01-01T00:00:00Z"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that uv looks into, and into nothing else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_OFFLINE", "1")  # uv has no variable for --no-index
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def wheel(folder: Path, name: str, version: str, *needs: str) -> str:
    """Make a wheel that holds nothing; its hash."""
    stem = f"{name}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(f"Requires-Dist: {item}\n" for item in needs)
    files = {
        f"{stem}.dist-info/METADATA": metadata,
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{stem}.dist-info/RECORD", "".join(f"{file},,\n" for file in files))
    return hashlib.sha256((folder / f"{stem}-py3-none-any.whl").read_bytes()).hexdigest()


def pack(folder: Path, requirements: str | bytes | None, name: str = "a pack") -> NodePack:
    """A repository whose list is this."""
    files = {"__init__.py": ""} | ({"requirements.txt": ""} if requirements is not None else {})
    repository(folder, files)
    if requirements is not None:
        data = requirements if isinstance(requirements, bytes) else requirements.encode()
        (folder / "requirements.txt").write_bytes(data)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "--allow-empty", "-m", "a list")
    return NodePack(name, f"file://{folder}", None, git(folder, "rev-parse", "HEAD"), None, ())


def test_everything_is_resolved_together_with_hashes_and_the_inputs_stand_on_top(index: Path, tmp_path: Path) -> None:
    wheel(index, "client", "1.0", "click<=8.1.8")
    wheel(index, "model", "4.0")
    wheel(index, "model", "5.0", "click>=8.4")
    wheel(index, "click", "8.1.8")
    wheel(index, "click", "8.5.0")
    hashed = wheel(index, "model", "4.9")
    item = pack(tmp_path / "comfyui", "# its list\nmodel>=4\n")
    requirements = Requirements(("client==1.0",), (item,), until=AT_ALL_TIMES)
    lock = locks.resolve(requirements)
    assert locks.pins(lock) == {"client": "1.0", "click": "8.1.8", "model": "4.9"}, "5.0 would be the newest, and does not fit"
    assert f"model==4.9 \\\n    --hash=sha256:{hashed}\n" in lock
    assert f"# list: a pack {item.repo} {item.commit}\n# own: client==1.0\n" in lock
    assert requirements.made(lock) and not Requirements(("client==1.1",), (item,), until=AT_ALL_TIMES).made(lock)
    assert str(tmp_path) not in lock.replace(item.repo, ""), "no path of this machine"
    assert locks.resolve(requirements) == lock, "again, the same"
    locks.check_closed(lock, requirements)


def test_a_contradiction_is_told_in_uvs_words(index: Path) -> None:
    wheel(index, "client", "1.0", "click<=8.1.8")
    wheel(index, "click", "8.1.8")
    wheel(index, "click", "8.5.0")
    with pytest.raises(InvalidInputError, match=r"contradict each other(.|\n)*depends? on click<=8\.1\.8") as caught:
        locks.resolve(Requirements(("client", "click>=8.4"), until=AT_ALL_TIMES))
    assert caught.value.hint


def test_the_list_is_read_at_its_commit_from_a_clone_or_from_the_address(tmp_path: Path) -> None:
    item = pack(tmp_path / "repository", "old\n")
    (tmp_path / "repository" / "requirements.txt").write_text("new\n")
    git(tmp_path / "repository", "commit", "-q", "-a", "-m", "newer")
    git(tmp_path, "clone", "-q", "--bare", str(tmp_path / "repository"), str(tmp_path / "bare"))
    nowhere = NodePack(item.name, f"file://{tmp_path}/nowhere", None, item.commit, None, ())
    assert locks.requirement_list(item) == "old\n"
    assert locks.requirement_list(nowhere, tmp_path / "bare") == "old\n"
    with pytest.raises(BackendUnreachableError, match="nowhere") as caught:
        locks.requirement_list(nowhere)
    assert "--source" not in caught.value.hint, "graph lock has no such option"
    assert locks.requirement_list(pack(tmp_path / "without", None)) == ""


def test_a_commit_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    item = pack(tmp_path / "repository", "old\n")
    for commit, words in [("0" * 40, "has no commit 0000"), ("main", "'main' is not a commit"), ("-" * 40, "is not a commit")]:
        other = NodePack(item.name, item.repo, None, commit, None, ())
        for folder in (None, tmp_path / "repository"):
            with pytest.raises(InvalidInputError, match=words) as caught:
                locks.requirement_list(other, folder)
            assert caught.value.hint
    with pytest.raises(InvalidInputError, match="is not a folder"):
        locks.requirement_list(item, tmp_path / "nothing")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("opencv-python>=4.5 # for pictures\r\n\r\n  numpy\n", ["opencv-python-headless>=4.5", "numpy"]),
        ("\ufeffOpenCV_Python; sys_platform == 'linux'", ["opencv-python-headless; sys_platform == 'linux'"]),
        ("numpy\n".encode("utf-16"), ["numpy"]),
        ("numpy>=1\\\n  ,<3\n", ["numpy>=1 ,<3"]),
    ],
)
def test_lists_are_read_as_people_write_them(text: str | bytes, found: list[str], tmp_path: Path) -> None:
    from ryla_gen.locks.lists import packages

    item = pack(tmp_path / "repository", text)
    replaced = {"opencv-python": "opencv-python-headless"}
    assert packages(locks.requirement_list(item), item, replaced).splitlines() == found


@pytest.mark.parametrize(
    "line",
    ["--extra-index-url https://example.com", "-r other.txt", "-e .", "git+https://example.com/a", "a @ https://example.com/a.whl"],
)
def test_a_line_that_no_hash_can_hold_is_named(line: str, index: Path, tmp_path: Path) -> None:
    item = pack(tmp_path / "repository", f"numpy\n{line}\n")
    with pytest.raises(InvalidInputError, match="The list of a pack at") as caught:
        locks.resolve(Requirements((), (item,), until=AT_ALL_TIMES))
    assert line in caught.value.message


def test_an_index_that_does_not_answer_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(BackendUnreachableError, match="package index does not answer"):
        locks.resolve(Requirements(("numpy",)))


def test_without_uv_or_git_it_says_which_one_to_install(tmp_path: Path) -> None:
    item = pack(tmp_path / "repository", "numpy\n")
    python = tmp_path / "bin" / "python"  # uv lies beside the tests' own
    python.parent.mkdir()
    python.symlink_to(Path(sys.executable).resolve())
    code = (
        "import sys; from pathlib import Path; from ryla_gen import locks; from ryla_gen.locks import NodePack\n"
        f"item = NodePack('a pack', {item.repo!r}, None, {item.commit!r}, None, ())\n"
        "for call in (lambda: locks.resolve(locks.Requirements(())), lambda: locks.requirement_list(item)):\n"
        "    try: call()\n"
        "    except Exception as error: print(type(error).__name__, error.message, error.hint)\n"
    )
    places = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PATH": str(python.parent), "PYTHONPATH": places}
    done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, timeout=600)
    assert done.stdout.splitlines() == [
        f"{BackendNotConfiguredError.__name__} Resolving requirements needs uv, which is not installed. Install it: pip install uv",
        f"{BackendNotConfiguredError.__name__} Reading repositories needs git, which is not installed. Install git.",
    ], done.stderr


def test_what_changed_is_told_by_package() -> None:
    before, after = "a==1\nB_b==2 \\\n    --hash=sha256:0\n", "a==1\nb-b==3\nc==1\n"
    assert locks.differences(before, after) == ["b-b 2 -> 3", "c absent -> 1"]
    assert locks.differences(after, "") == ["a 1 -> absent", "b-b 3 -> absent", "c 1 -> absent"]
