"""Locks on a volume that knows no ``flock``: the C library answers ENOSYS below one folder, as such a file system does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ryla_gen.support.file_locks import lockable

from .conftest import Start, noise, row, until
from .hub import Hub

ROOT = Path(__file__).resolve().parents[3]
SHIM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int flock(int fd, int operation) {
    char link[64], path[4096];
    const char *volume = getenv("VOLUME_WITHOUT_FLOCK");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (volume && length > 0 && (path[length] = 0, strncmp(path, volume, strlen(volume)) == 0)) { errno = ENOSYS; return -1; }
    return syscall(SYS_flock, fd, operation);
}

int gethostname(char *name, size_t length) {  /* each container has a name of its own */
    snprintf(name, length, "%s", getenv("NAME_OF_CONTAINER") ? getenv("NAME_OF_CONTAINER") : "one");
    return 0;
}
"""
HOLD = """
import sys
from pathlib import Path
from filelock import Timeout
from ryla_gen.support.file_locks import file_lock
try:
    with file_lock(Path(sys.argv[1]), timeout=0):
        print("held", flush=True)
        sys.stdin.read()
except Timeout:
    print("another holds it", flush=True)
"""

Hold = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("the C library is interposed with a C compiler, on Linux")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c"], check=True, timeout=600)
    return folder / "shim.so"


@pytest.fixture
def volume(shim: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of a process for which ``tmp_path`` is a volume that knows no flock."""
    (tmp_path / "disk").mkdir()
    own = tmp_path.parent / f"{tmp_path.name}-own-disk"  # a container's own: not on the volume
    own.mkdir()
    return {"LD_PRELOAD": str(shim), "VOLUME_WITHOUT_FLOCK": str(tmp_path) + "/", "TMPDIR": str(own)}


@pytest.fixture
def hold(volume: dict[str, str]) -> Iterator[Hold]:
    """Try to take a lock in another process, which then holds it until it is killed."""
    running: list[subprocess.Popen[str]] = []

    def begin(file: Path) -> subprocess.Popen[str]:
        environment = {**os.environ, **volume, "PYTHONPATH": str(ROOT)}
        running.append(subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdin=-1, stdout=-1, text=True, env=environment))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_on_a_volume_without_flock_one_holds_the_lock_and_a_killed_holder_frees_it(hold: Hold, tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    first = hold(file)
    assert said(first) == "held"
    assert said(hold(file)) == "another holds it"
    assert said(hold(tmp_path / "b.lock")) == "held"
    first.kill()
    first.wait()
    assert said(hold(file)) == "held"


def test_where_flock_is_known_the_lock_lies_where_it_was_asked_for(tmp_path: Path) -> None:
    assert lockable(tmp_path / "a.lock") == tmp_path / "a.lock"


def test_syncs_onto_a_volume_without_flock_bring_each_file_once(
    hub: Hub,
    models: Path,
    start: Start,
    volume: dict[str, str],
) -> None:
    contents = {f"{number}.bin": noise(200_000, number) for number in range(3)}
    for name, data in contents.items():
        hub.put("maker/model", name, data)
    rows = [row(name, data) for name, data in contents.items()]
    for process in [start(*rows, environment=volume), start(*rows, environment=volume)]:
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0 and '"ok": true' in out, err
    until(lambda: hub.seen.at_once == 0)
    assert hub.sent == 3 * 200_000
    assert all((models / "checkpoints" / name).read_bytes() == data for name, data in contents.items())


def test_a_sync_that_was_killed_in_one_container_stops_none_in_the_next(
    hub: Hub,
    models: Path,
    start: Start,
    volume: dict[str, str],
) -> None:
    data = noise(800_000)
    hub.put("maker/model", "a.safetensors", data)
    hub.knobs.speed = 10_000
    first = start(row(data=data), environment={**volume, "NAME_OF_CONTAINER": "first"})
    until(lambda: hub.sent > 0)
    first.kill()
    first.wait()
    hub.knobs.speed = None
    second = start(row(data=data), environment={**volume, "NAME_OF_CONTAINER": "second"})
    out, err = second.communicate(timeout=600)
    assert second.returncode == 0 and '"ok": true' in out, err
    assert (models / "checkpoints/a.safetensors").read_bytes() == data


def test_a_batch_whose_folder_knows_no_flock_is_held(shim: Path, volume: dict[str, str], tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from ryla_gen.batches.manifest import Manifest\n"
        "from ryla_gen.errors import StorageFailedError\n"
        f"one, two = (Manifest(Path({str(tmp_path / 'out')!r})) for _ in range(2))\n"
        "with one.lock():\n"
        "    try:\n"
        "        with two.lock(): print('both')\n"
        "    except StorageFailedError as error: print(error.message)\n"
    )
    environment = {**os.environ, **volume, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600)
    assert done.stdout.strip() == f"Another batch is running in {tmp_path / 'out'}.", done.stderr
