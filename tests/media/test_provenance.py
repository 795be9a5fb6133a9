"""The mark of origin, byte by byte: it is added, everything else stays, and readers that are not ours find it."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import wave
import zlib
from collections.abc import Iterator

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from ryla_gen.media.provenance import marked, read_mark
from ryla_gen.media.strip import png_chunks, webp_chunks
from ryla_gen.media.xmp import SOURCE_TYPES, packet, read_packet

from ..conftest import encoded, portrait
from ..media_samples import sound

TERM = f"{SOURCE_TYPES}trainedAlgorithmicMedia"
XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
FOREIGN = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="A node"'
    "{attribute}><dc:source>Füchse &amp; Co</dc:source>{element}</rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="w"?>'
)
CAPTURE = f"{SOURCE_TYPES}digitalCapture"
IPTC = 'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'


def animated(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [portrait((64, 48), colour) for colour in ("#b04030", "#3040b0")]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def lossless() -> bytes:
    buffer = io.BytesIO()
    picture = portrait((65, 33)).convert("RGBA")
    picture.putalpha(128)
    picture.save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def video(container: str = "mp4", **options: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options={"movflags": "use_metadata_tags", **options}) as file:
        file.metadata["ryla"] = "{}"
        stream = file.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade * 40, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


PICTURES = {
    "png": ("image/png", encoded(portrait())),
    "apng": ("image/png", animated("PNG")),
    "jpeg": ("image/jpeg", encoded(portrait(), "JPEG")),
    "webp": ("image/webp", encoded(portrait((65, 33)), "WEBP")),
    "webp-lossless": ("image/webp", lossless()),
    "webp-animated": ("image/webp", animated("WEBP")),
    "gif": ("image/gif", encoded(portrait((64, 48)), "GIF")),
    "gif-animated": ("image/gif", animated("GIF")),
}
VIDEOS = {"mp4": ("video/mp4", video()), "mov": ("video/quicktime", video("mov"))}
NOTED = {"ryla": '{"job": "a"}', "title": "Füchse"}
SOUNDS = {
    "mp3": ("audio/mpeg", sound("mp3", tags=NOTED)),
    "mp3-2.3": ("audio/mpeg", sound("mp3", tags=NOTED, id3v2_version="3")),
    "mp3-bare": ("audio/mpeg", sound("mp3", id3v2_version="0")),
    "wav": ("audio/wav", sound("wav")),
}
AVI = ("video/x-msvideo", video("avi"))
FILES = PICTURES | VIDEOS
ALL = FILES | SOUNDS | {"avi": AVI}


def mark(data: bytes, media_type: str, term: str = TERM) -> bytes:
    return marked(data, media_type, term, "ryla_gen 1")


def frames(data: bytes) -> list[bytes]:
    picture = Image.open(io.BytesIO(data))
    found = []
    for number in range(getattr(picture, "n_frames", 1)):
        picture.seek(number)
        found.append(picture.convert("RGBA").tobytes())
    return found


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        size = struct.unpack(">Q", data[at + 8 : at + 16])[0] if size == 1 else size
        yield kind, data[at + 8 : at + size]
        at += size


def xmp_of(data: bytes) -> bytes:
    """The packet as Pillow finds it; of GIF by the name of its block."""
    if data.startswith(b"GIF"):
        return data.partition(b"XMP DataXMP")[2].partition(b"\x01\xff\xfe")[0]
    found = Image.open(io.BytesIO(data)).info["xmp"]
    assert isinstance(found, bytes)
    return found


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_marked_and_every_frame_stays(name: str) -> None:
    media_type, data = PICTURES[name]
    new = mark(data, media_type)
    assert TERM.encode() in xmp_of(new)
    assert frames(new) == frames(data)
    assert read_mark(new, media_type) == (TERM, "ryla_gen 1")


@pytest.mark.parametrize("name", ALL)
def test_marking_again_changes_nothing(name: str) -> None:
    media_type, data = ALL[name]
    new = mark(data, media_type)
    assert read_mark(new, media_type) == (TERM, "ryla_gen 1")
    assert mark(new, media_type) is new


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video_is_marked_in_the_box_that_others_read(name: str) -> None:
    media_type, data = VIDEOS[name]
    new = mark(data, media_type)
    assert new.startswith(data), "nothing moves that the tables of the file point to"
    *_, (kind, body) = boxes(new)
    assert (kind, body[:16]) == (b"uuid", XMP_BOX)
    assert TERM.encode() in body
    with av.open(io.BytesIO(new)) as file:
        assert file.metadata["ryla"] == "{}"
        assert len(list(file.decode(video=0))) == 4


def samples(data: bytes, kind: str) -> tuple[dict[str, str], bytes]:
    """The tags of a sound as ffmpeg reads them, and what it plays."""
    with av.open(io.BytesIO(data), format=kind) as file:
        return dict(file.metadata), b"".join(frame.to_ndarray().tobytes() for frame in file.decode(audio=0))


@pytest.mark.parametrize("name", ["mp3", "mp3-2.3", "mp3-bare"])
def test_an_mp3_is_marked_in_a_frame_beside_those_that_it_has(name: str) -> None:
    media_type, data = SOUNDS[name]
    new = mark(data, media_type)
    (tags, played), (before, same) = samples(new, "mp3"), samples(data, "mp3")
    assert TERM in tags.pop("id3v2_priv.XMP")
    assert (tags, played) == (before, same)
    assert ("title" in tags) == (name != "mp3-bare")
    assert new.endswith(data[len(data) // 2 :])


def riff(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + (size & 1)
    return found


@pytest.mark.parametrize("name", ["wav", "avi"])
def test_a_wav_and_an_avi_are_marked_in_a_chunk_at_their_end(name: str) -> None:
    media_type, data = ALL[name]
    new = mark(data, media_type)
    assert new[8:].startswith(data[8:])
    assert int.from_bytes(new[4:8], "little") == len(new) - 8
    assert riff(new)[:-1] == riff(data)
    assert riff(new)[-1][0] == b"_PMX" and TERM.encode() in riff(new)[-1][1]
    if name == "wav":
        with wave.open(io.BytesIO(new)) as played, wave.open(io.BytesIO(data)) as before:
            assert played.readframes(1 << 20) == before.readframes(1 << 20)
    else:
        with av.open(io.BytesIO(new)) as file:
            assert len(list(file.decode(video=0))) == 4


@pytest.mark.parametrize("packets", [2, 3])
def test_a_chunk_in_front_of_the_sound_is_emptied_so_that_nothing_moves(packets: int) -> None:
    data, old = SOUNDS["wav"][1], (packet(CAPTURE, "A node") or b"") + b" " * packets  # of an odd and an even length
    chunk = b"_PMX" + struct.pack("<I", len(old)) + old + b"\0" * (len(old) & 1)
    whole = b"RIFF" + struct.pack("<I", len(data) - 8 + len(chunk)) + data[8:12] + chunk + data[12:]
    new = mark(whole, "audio/wav")
    assert read_mark(new, "audio/wav") == (TERM, "A node")
    assert [kind for kind, _ in riff(new)] == [b"JUNK", *(kind for kind, _ in riff(data)), b"_PMX"]
    assert riff(new)[0][1] == bytes(len(old))
    assert new.index(b"data") == whole.index(b"data")


@pytest.mark.parametrize(
    "tag",
    [
        b"ID3\x02\0\0\0\0\0\0",
        b"ID3\x04\0\x80\0\0\0\0",
        b"ID3\x03\0\x40\0\0\0\x0a" + bytes(10),
        b"ID3\x04\0\0\0\0\0\x0bTIT2\0\0\x7f\x7f\0\0a",
        b"ID3\x04\0\0\0\0\0\x0a" + bytes(9) + b"a",
        b"ID3\x04\0\0\x7f\x7f\x7f\x7f",
    ],
)
def test_a_tag_that_cannot_be_added_to_stays(tag: bytes) -> None:
    data = tag + SOUNDS["mp3-bare"][1]
    assert mark(data, "audio/mpeg") is data
    assert read_mark(data, "audio/mpeg") == (None, None)


def test_the_padding_of_a_tag_is_no_frame() -> None:
    data = b"ID3\x04\0\0\0\0\x01\0" + b"TIT2\0\0\0\2\0\0\3a" + bytes(116) + SOUNDS["mp3-bare"][1]
    tags, _ = samples(mark(data, "audio/mpeg"), "mp3")
    assert tags["title"] == "a" and TERM in tags["id3v2_priv.XMP"]


@pytest.mark.parametrize("name", ALL)
def test_another_term_takes_the_place_of_the_first(name: str) -> None:
    media_type, data = ALL[name]
    first = mark(data, media_type)
    second = mark(first, media_type, CAPTURE)
    assert read_mark(second, media_type) == (CAPTURE, "ryla_gen 1")
    assert TERM.encode() not in second
    if name in PICTURES:
        assert xmp_of(second).count(b"DigitalSourceType>") == 2
    elif name not in VIDEOS:
        assert second.count(b"<?xpacket begin") == 1
    else:
        assert [kind for kind, body in boxes(second) if kind == b"uuid"] == [b"uuid"]


def test_other_texts_and_chunks_of_a_png_stay() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", "{}")
    texts.add_itxt("ryla", "Füchse")
    buffer = io.BytesIO()
    portrait().save(buffer, "PNG", pnginfo=texts, dpi=(72, 72))
    data = buffer.getvalue()
    new = mark(data, "image/png")
    kept = [new[at:end] for kind, at, end in png_chunks(new) if not new.startswith(b"XML:com.adobe.xmp", at + 8)]
    assert kept == [data[at:end] for _, at, end in png_chunks(data)]
    assert Image.open(io.BytesIO(new)).text["ryla"] == "Füchse"  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_exif_stays(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a fox"
    buffer = io.BytesIO()
    portrait().save(buffer, kind, exif=exif)
    new = mark(buffer.getvalue(), f"image/{kind.lower()}")
    assert Image.open(io.BytesIO(new)).getexif()[0x010E] == "a fox"
    if kind == "WEBP":
        flags = next(new[at + 8] for name, at, _ in webp_chunks(new) if name == b"VP8X")
        assert flags & 0x0C == 0x0C, "it announces EXIF and XMP"


@pytest.mark.parametrize(
    ("attribute", "element"),
    [
        ("", ""),
        (f' {IPTC} Iptc4xmpExt:DigitalSourceType="{CAPTURE}"', ""),
        (f" {IPTC}", f"<Iptc4xmpExt:DigitalSourceType>{CAPTURE}</Iptc4xmpExt:DigitalSourceType>"),
        (f" {IPTC}", f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{CAPTURE}"/>'),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_packet_that_a_graph_wrote_is_kept_and_only_the_term_is_ours(kind: str, attribute: str, element: str) -> None:
    old = FOREIGN.format(attribute=attribute, element=element).encode()
    assert read_packet(old) == (CAPTURE if attribute else None, "A node")
    buffer = io.BytesIO()
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", old.decode(), zip=True)
        portrait().save(buffer, kind, pnginfo=texts)
    else:
        portrait().save(buffer, kind, xmp=old)
    new = mark(buffer.getvalue(), f"image/{kind.lower()}")
    text = xmp_of(new)
    assert "Füchse &amp; Co".encode() in text
    assert CAPTURE.encode() not in text
    assert read_mark(new, f"image/{kind.lower()}") == (TERM, "A node")
    assert new.count(b"<?xpacket begin") == 1


@pytest.mark.parametrize("old", [b"", b"\xff\xfe\x00", b"no packet", "rdf:RDF".encode("utf-16"), b"<rdf:RDF>" + bytes(1 << 21)])
def test_a_packet_that_cannot_be_added_to_stays_and_so_does_its_file(old: bytes) -> None:
    assert packet(TERM, "x", old) is None


@pytest.mark.parametrize("piece", ["<rdf:RDF", "<rdf:RDF ", '<Iptc4xmpExt:DigitalSourceType rdf:resource="" '])
def test_a_hostile_packet_of_a_megabyte_takes_seconds_and_not_minutes(piece: str) -> None:
    data = b"rdf:RDF" + piece.encode() * (1_000_000 // len(piece))
    began = time.monotonic()
    assert read_packet(data) == (None, None)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("kind", ["png", "webp", "mp4"])
def test_a_file_of_a_million_empty_parts_comes_back_as_it_came_and_takes_no_memory(kind: str) -> None:
    many = {
        "png": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sI", 0, b"aaaa", zlib.crc32(b"aaaa")) * 1_000_000,
        "webp": b"RIFF" + struct.pack("<I", 8_000_004) + b"WEBP" + b"aaaa\0\0\0\0" * 1_000_000,
        "mp4": struct.pack(">I4s", 8, b"moov") + struct.pack(">I4s", 8, b"free") * 1_000_000,
    }[kind]
    media_type = "video/mp4" if kind == "mp4" else f"image/{kind}"
    tracemalloc.start()
    try:
        assert mark(many, media_type) is many
        assert read_mark(many, media_type) == (None, None)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_short_comes_back_as_it_came(name: str, share: float) -> None:
    media_type, data = FILES[name]
    cut = data[: int(len(data) * share)]
    assert mark(cut, media_type) is cut


def test_a_png_with_a_wrong_bit_comes_back_as_it_came() -> None:
    data = bytearray(PICTURES["png"][1])
    data[data.index(b"IDAT") + 40] ^= 1
    assert mark(bytes(data), "image/png") == bytes(data)


def test_a_packet_that_a_jpeg_cannot_hold_leaves_it_as_it_is() -> None:
    buffer = io.BytesIO()
    portrait().save(buffer, "JPEG", xmp=FOREIGN.format(attribute="", element="x" * 64_950).encode())
    assert mark(buffer.getvalue(), "image/jpeg") == buffer.getvalue()


@pytest.mark.parametrize("media_type", ["video/webm", "video/x-matroska", "image/tiff", "audio/flac", "text/plain", ""])
def test_other_kinds_are_not_touched(media_type: str) -> None:
    assert mark(b"some bytes", media_type) == b"some bytes"
    assert read_mark(b"some bytes", media_type) == (None, None)


def test_a_box_in_front_of_the_video_is_emptied_so_that_nothing_moves() -> None:
    head, body = VIDEOS["mp4"][1][:32], VIDEOS["mp4"][1][32:]
    old = packet(CAPTURE, "A node") or b""
    data = head + struct.pack(">I", 24 + len(old)) + b"uuid" + XMP_BOX + old + body
    new = mark(data, "video/mp4")
    assert [place for place in range(len(data)) if new[place] != data[place]] == [36, 37, 38, 39]
    assert read_mark(new, "video/mp4") == (TERM, "A node")
    assert [kind for kind, _ in boxes(new)][1] == b"free"


def test_the_index_of_a_fragmented_video_stays_last() -> None:
    data = video(movflags="frag_keyframe+empty_moov")
    assert [kind for kind, _ in boxes(data)][-1] == b"mfra"
    new = mark(data, "video/mp4")
    assert [kind for kind, _ in boxes(new)][-2:] == [b"uuid", b"mfra"]
    with av.open(io.BytesIO(new)) as file:
        assert len(list(file.decode(video=0))) == 4


@given(
    st.sampled_from(sorted(ALL)),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=8),
    st.binary(max_size=40),
)
def test_bytes_that_mean_nothing_are_no_error(name: str, changes: list[tuple[int, int]], tail: bytes) -> None:
    media_type, data = ALL[name]
    broken = bytearray(data)
    for place, value in changes:
        broken[place % len(broken)] = value
    for wrong in (bytes(broken) + tail, tail, data[:12] + tail):
        new = mark(wrong, media_type)
        assert new == wrong or read_mark(new, media_type)[0] == TERM
        read_mark(wrong, media_type)


def test_a_compressed_packet_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    body = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(1 << 25), 9)
    chunk = struct.pack(">I", len(body)) + b"iTXt" + body + struct.pack(">I", zlib.crc32(b"iTXt" + body))
    data = PICTURES["png"][1]
    at = data.index(b"IDAT") - 4
    assert mark(data[:at] + chunk + data[at:], "image/png") == data[:at] + chunk + data[at:]
