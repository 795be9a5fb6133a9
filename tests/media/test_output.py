"""What leaves: metadata written and read back, other formats, files saved whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ryla_gen import media
from ryla_gen.errors import InternalError, InvalidInputError, OutputExistsError, StorageFailedError

from ..media_samples import decoded, encoded, picture, pixels, silent_sound, sound, video

# -- metadata and other formats ---------------------------------------------------------------------------------------

TEXTS = {
    "prompt": '{"1": {"class_type": "KSampler"}}',
    "ryla:seed": "18446744073709551615",
    "größe": "naïve",
    "poem": "灯台 🗼\n夕暮れ",
}


def test_texts_of_a_png_come_back_and_its_pixels_stay() -> None:
    data = encoded(picture())
    written = media.add_png_text(data, TEXTS)
    assert media.read_metadata(written) == TEXTS
    assert decoded(written).text == TEXTS
    assert (pixels(written) == pixels(data)).all()
    again = media.add_png_text(written, {"prompt": "new"})
    assert decoded(again).text == {**TEXTS, "prompt": "new"}


@given(
    texts=st.dictionaries(
        st.text("abc:_é ", min_size=1, max_size=79).filter(str.isprintable),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    )
)
def test_any_text_comes_back(texts: dict[str, str]) -> None:
    assert media.read_metadata(media.add_png_text(PLAIN, texts)) == texts


PLAIN = encoded(picture(4, 4))


def test_texts_are_refused_where_they_cannot_be_written() -> None:
    for data in (b"", b"text", PLAIN[:-4], encoded(picture(), "JPEG")):
        with pytest.raises(InternalError):
            media.add_png_text(data, TEXTS)
    for name in ("", "x" * 80, "灯台", "a\0b"):
        with pytest.raises(InternalError):
            media.add_png_text(PLAIN, {name: "x"})


def test_texts_are_written_into_two_megabytes_without_writing_the_picture_again() -> None:
    noise = Image.fromarray(np.random.default_rng(7).integers(0, 255, (820, 820, 3), np.uint8))
    data = encoded(noise)

    def seconds(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    texts = min(seconds(lambda: media.add_png_text(data, {"prompt": "x" * 20_000, "seed": "7"})) for _ in range(9))
    again = min(seconds(lambda: encoded(noise)) for _ in range(3))
    assert len(data) > 2_000_000
    assert texts < again / 10, "some hundred times as fast, on any machine"


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_converted_picture_keeps_its_looks_and_its_metadata(kind: str, mode: str) -> None:
    source = media.add_png_text(encoded(picture(mode=mode)), {"prompt": "of the PNG"})
    made = media.convert_image(source, kind, TEXTS)
    assert media.probe_image(made).media_type == f"image/{kind}"
    assert media.read_metadata(made) == TEXTS
    difference = np.abs(np.asarray(decoded(made).convert("RGB"), int) - np.asarray(picture(mode=mode).convert("RGB"), int))
    assert difference.mean() < 3


def test_transparency_becomes_white_in_jpeg_and_stays_in_webp() -> None:
    clear = encoded(Image.new("RGBA", (16, 16), (255, 0, 0, 0)))
    assert decoded(media.convert_image(clear, "jpeg", {})).getpixel((8, 8)) == (255, 255, 255)
    assert decoded(media.convert_image(clear, "webp", {})).getpixel((8, 8))[3] == 0


def test_metadata_beyond_what_a_jpeg_holds_is_packed_and_then_left_out_from_the_largest() -> None:
    graph = json.dumps({str(index): {"class_type": "KSampler", "inputs": {"seed": index}} for index in range(3000)})
    assert len(graph) > 150_000
    assert media.read_metadata(media.convert_image(PLAIN, "jpeg", {"graph": graph, "seed": "7"})) == {"graph": graph, "seed": "7"}
    noise = base64.b64encode(np.random.default_rng(1).bytes(200_000)).decode()
    assert media.read_metadata(media.convert_image(PLAIN, "jpeg", {"noise": noise, "seed": "7"})) == {"seed": "7"}
    assert media.read_metadata(media.convert_image(PLAIN, "webp", {"noise": noise, "seed": "7"})) == {"noise": noise, "seed": "7"}


def test_converting_what_is_no_picture_or_to_another_format_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        media.convert_image(b"text", "jpeg", {})
    with pytest.raises(InvalidInputError):
        media.convert_image(PLAIN[:50], "jpeg", {})
    with pytest.raises(InvalidInputError, match="avif"):
        media.convert_image(PLAIN, "avif", {})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["mp4", "webm", "mov", "mkv"])
def test_tags_of_a_video_are_read(kind: str) -> None:
    found = media.read_metadata(video(kind, tags={"prompt": '{"1": {}}', "comment": '{"ryla:seed": "7", "number": 7}'}))
    assert found["prompt"] == '{"1": {}}'
    assert found["ryla:seed"] == "7"
    assert "number" not in found


@pytest.mark.parametrize("kind", ["mp3", "flac", "ogg"])
def test_tags_of_a_sound_are_read(kind: str) -> None:
    found = media.read_metadata(sound(kind, tags={"prompt": '{"1": {}}', "ryla": '{"job": "a"}'}))
    assert (found["prompt"], found["ryla"]) == ('{"1": {}}', '{"job": "a"}')


def test_the_exif_of_comfyuis_animated_webp_is_read() -> None:
    exif = Image.Exif()
    exif[0x0110] = 'prompt:{"1": {}}'
    exif[0x010F] = 'workflow:{"nodes": []}'
    data = encoded(picture(), "WEBP", save_all=True, append_images=[picture()], exif=exif)
    assert media.read_metadata(data) == {"prompt": '{"1": {}}', "workflow": '{"nodes": []}'}


def test_foreign_and_hostile_files_have_no_metadata() -> None:
    for data in (
        b"",
        b"text",
        PLAIN,
        PLAIN[:30],
        encoded(picture(), "JPEG"),
        encoded(picture(), "GIF"),
        video("mp4")[:100],
        silent_sound()[:64],
    ):
        assert set(media.read_metadata(data)) <= {"major_brand", "minor_version", "compatible_brands", "encoder"}
    flood = b"zTXt" + b"bomb\0\0" + zlib.compress(bytes(200_000_000))
    chunk = struct.pack(">I", len(flood) - 4) + flood + struct.pack(">I", zlib.crc32(flood))
    assert sum(map(len, media.read_metadata(PLAIN[:33] + chunk + PLAIN[33:]).values())) <= 16 * 1024 * 1024


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


# -- saving -----------------------------------------------------------------------------------------------------------


def test_a_description_is_hash_and_size() -> None:
    assert media.describe(b"abc") == {"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "bytes": 3}


def test_a_file_is_saved_with_its_folders_and_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = media.save_atomically(tmp_path / "new" / "folder" / "p.png", b"data", overwrite=False)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"data"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [item.name for item in path.parent.iterdir()] == ["p.png"]


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    media.save_atomically(path, b"old", overwrite=False)
    with pytest.raises(OutputExistsError):
        media.save_atomically(path, b"new", overwrite=False)
    assert path.read_bytes() == b"old"
    media.save_atomically(path, b"new", overwrite=True)
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["p.png"]


def test_of_many_writers_without_overwrite_exactly_one_wins(tmp_path: Path) -> None:
    gate, won = threading.Barrier(8), []

    def write(index: int) -> None:
        gate.wait()
        with contextlib.suppress(OutputExistsError):
            media.save_atomically(tmp_path / "p.png", bytes([index]) * 100_000, overwrite=False)
            won.append(index)

    threads = [threading.Thread(target=write, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert (tmp_path / "p.png").read_bytes() == bytes(won) * 100_000
    assert names(tmp_path) == ["p.png"]


def test_places_that_cannot_be_written_are_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path, reason in (
        (tmp_path, "is a folder"),
        (Path(), "is a folder"),
        (tmp_path / "file" / "p.png", "could not be written"),
        (tmp_path / ("x" * 300), "could not be written"),
        (tmp_path / "a\0b", "not a usable file name"),
        (tmp_path / "a\udcffb\ud800", "not a usable file name"),
        (Path(os.devnull), "not a regular file"),
        (Path("/proc/p.png"), "could not be written"),
    ):
        with pytest.raises(StorageFailedError, match=reason) as caught:
            media.save_atomically(path, b"data", overwrite=True)
        assert caught.value.hint
    assert names(tmp_path) == ["file"]
    assert media.save_atomically(tmp_path / ("y" * 255), b"data", overwrite=False).read_bytes() == b"data"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder) as mounted:
        media.save_atomically(folder / "p.png", b"old", overwrite=False)
        if mounted:
            with pytest.raises(StorageFailedError, match="No space left on device") as caught:
                media.save_atomically(folder / "p.png", bytes(200_000), overwrite=True)
            assert "Free " in caught.value.hint
        else:
            assert "File too large" in saved_under_a_file_limit(folder / "p.png")
        assert names(folder) == ["p.png"]
        assert (folder / "p.png").read_bytes() == b"old"


def saved_under_a_file_limit(path: Path) -> str:
    script = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom ryla_gen import media\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try: media.save_atomically(Path(sys.argv[1]), bytes(200_000), overwrite=True)\n"
        "except media.files.StorageFailedError as error: print(error.message)\n"
    )
    return subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True).stdout


def test_a_file_beyond_the_size_a_process_may_write_is_explained(tmp_path: Path) -> None:
    assert "File too large" in saved_under_a_file_limit(tmp_path / "p.png")
    assert names(tmp_path) == []
