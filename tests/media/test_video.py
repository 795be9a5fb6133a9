"""Videos are read, counted, and refused with a reason."""

from __future__ import annotations

import pytest
from PIL import Image

from ryla_gen import media
from ryla_gen.errors import InvalidInputError

from ..media_samples import encoded, picture, silent_sound, video


@pytest.mark.parametrize("kind", ["mp4", "webm", "mov", "mkv"])
async def test_a_video_is_read_unchanged_and_counted(kind: str) -> None:
    data = video(kind, frames=9, rate=16)
    assert await media.read_video(data) == data
    info = media.probe_video(data)
    assert (info.container, info.frames, info.width, info.height) == (kind, 9, 64, 48)
    assert info.fps == pytest.approx(16)
    assert info.duration == pytest.approx(9 / 16, abs=0.01)


def test_an_animated_webp_counts_as_a_video() -> None:
    data = encoded(
        picture(),
        "WEBP",
        save_all=True,
        append_images=[Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")],
        duration=125,
    )
    info = media.probe_video(data)
    assert (info.container, info.frames, info.fps, info.duration) == ("webp", 3, 8.0, 0.375)


@pytest.mark.parametrize("kind", ["mp4", "webm", "mov", "mkv"])
def test_a_video_cut_anywhere_is_refused(kind: str) -> None:
    data = video(kind)
    for cut in {1, 7, 20, 60, len(data) // 3, len(data) // 2, len(data) - 3}:
        with pytest.raises(InvalidInputError):
            media.probe_video(data[:cut])


async def test_what_is_no_video_is_refused_with_a_reason() -> None:
    for data, reason in (
        (b"", "empty"),
        (b"text", "not a video"),
        (encoded(picture()), "image/png"),
        (encoded(picture(), "WEBP"), "still picture"),
        (silent_sound(), "no video stream"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n", "not a video"),
    ):
        with pytest.raises(InvalidInputError, match=reason):
            await media.read_video(data)
    with pytest.raises(InvalidInputError, match="a video"):
        await media.read_image(video())


async def test_a_video_over_its_limits_is_refused() -> None:
    for kind in ("mp4", "webm"):
        with pytest.raises(InvalidInputError, match="more than 8 frames"):
            await media.read_video(video(kind), limit_frames=8)
    with pytest.raises(InvalidInputError, match="64×48"):
        await media.read_video(video(), limit_pixels=1000)
    with pytest.raises(InvalidInputError, match="Only bytes"):
        await media.read_video("video.mp4", trusted=False)
