"""Examine a LoRA to be pushed, from this machine or the Hugging Face hub, before a byte of it is sent.

Reads headers and hashes; knows no store.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ...errors import InvalidInputError, LoraIncompatibleError, StorageFailedError
from ..safetensors import SUFFIX, Header, parse_header, read_header
from .base import Show, Transfer, nearest_id
from .keys import BASES, NAMES, base_of, is_lora, variant_of
from .loading import group_names, image_keys, not_loaded
from .trigger_words import clean_notes, clean_words, trigger_words

if TYPE_CHECKING:
    from ..weights_table import Weights

HUB = "hf://"
BLOCK = 1 << 20
"""Bytes hashed at once."""
HUB_TRIES = 3
"""Passing faults in a row before a look at the hub is given up."""
NAMELESS = ("lora", "pytorch_lora_weights", "adapter_model", "model", "diffusion_pytorch_model")
"""File names that trainers give every LoRA: the repository's says more."""
LISTED_KINDS, LONGEST_KIND = 3, 100
"""Kinds of layers that a note names at most, and the characters of each."""
_HUB_NAME = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)/(?P<file>[^@]+)(?:@(?P<revision>.+))?")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A LoRA that was examined and may be stored."""

    path: Path
    sha256: str
    bytes: int
    base: str
    trigger_words: tuple[str, ...]
    source: str
    variant: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PushOptions:
    """The caller's statements about the LoRA, which override or complete what the file tells."""

    base: str | None = None
    trigger_words: tuple[str, ...] = ()


def is_hub(source: str) -> bool:
    """Whether a source is on the hub."""
    return source.startswith(HUB)


def default_id(source: str) -> str:
    """Make an id of a source's name; empty when nothing of it can be one."""
    row = hub_row(source) if is_hub(source) else None
    name = PurePosixPath(row.file if row else source.replace("\\", "/")).name.removesuffix(SUFFIX)
    return nearest_id(row.repo.partition("/")[2] if row and name.lower() in NAMELESS else name)


def hub_row(source: str) -> Weights:
    """Read ``hf://owner/name/path/to/file.safetensors@revision``; without a revision it is the newest.

    Raises:
        InvalidInputError: it is no such address.
    """
    from ..weights_table import Weights

    match = _HUB_NAME.fullmatch(source)
    if match is None or not match["file"].endswith(SUFFIX) or ".." in match["file"].split("/"):
        hint = "Write hf://OWNER/REPOSITORY/FILE.safetensors, followed by @REVISION for a specific commit."
        raise InvalidInputError(f"{source!r} does not name a .safetensors file on the hub.", hint, {"source": source})
    # The name on this disk is the address's own, so that an interrupted download is found again, and no other one mistaken for it.
    name = f"{hashlib.sha256(source.encode()).hexdigest()[:16]}{SUFFIX}"
    facts = {"bytes": None, "approx_size": None, "sha256": None, "sha256_source": None, "gated": False, "licence": None}
    return Weights("loras", name, match["repo"], match["revision"], match["file"], nodes=(), source=source, note=None, **facts)  # type: ignore[arg-type]


def hub_hash(source: str, token: str | None) -> str | None:
    """Request a file's sha256 from the hub; None where it has none.

    Raises:
        RylaGenError: the file is not there, is gated, or the hub does not answer.
    """
    from ..downloads.retry import CancelToken, patiently
    from ..downloads.sources import Sources

    sources, row = Sources(token, os.environ.get("HF_ENDPOINT")), hub_row(source)
    return patiently(lambda: sources.probe(row, None).sha256, lambda: 0, HUB_TRIES, CancelToken())


def hub_checked(source: str, token: str | None, base: str | None) -> None:
    """Check a file's header on the hub, before the whole file is downloaded.

    Args:
        source: its address.
        token: for the hub.
        base: what the caller says of its base model.

    Raises:
        InvalidInputError, LoraIncompatibleError: it is not a LoRA, or is of no use here.
        RylaGenError: the file is not there, is gated, or the hub does not answer.
    """
    from ..downloads.retry import CancelToken, patiently
    from ..downloads.sources import Sources

    sources, row = Sources(token, os.environ.get("HF_ENDPOINT")), hub_row(source)
    name = PurePosixPath(row.file).name

    def look() -> Header | None:
        origin = sources.probe(row, None)
        if origin.size is None:
            return None
        with sources.open(row, origin, 0) as response:
            return parse_header(_Stream(response.iter_bytes()), origin.size, name)

    header = patiently(look, lambda: 0, HUB_TRIES, CancelToken())
    if header is not None:
        _usable(header, base, name)


class _Stream:
    """A file made of bytes that arrive in pieces; the connection is closed when enough was read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """Read at most this many bytes; none at the end."""
        while not self._rest and (piece := next(self._pieces, None)) is not None:
            self._rest = piece
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


@contextmanager
def on_disk(source: str, folder: Path, token: str | None, show: Show) -> Iterator[Path]:
    """Provide a source on this disk: a local file where it is, a hub file downloaded, and removed again after success.

    Args:
        source: a path, or an address on the hub.
        folder: where downloads go; one that was interrupted goes on there.
        token: for the hub.
        show: called with how far a download is.

    Raises:
        RylaGenError: it is not there, or could not be downloaded whole.
    """
    if not is_hub(source):
        yield local_file(source)
        return
    from .. import downloads

    row = hub_row(source)
    report = downloads.sync(
        [row],
        folder,
        token=token,
        endpoint=os.environ.get("HF_ENDPOINT"),
        cache=hub_cache(),
        progress=lambda now: show(Transfer("downloading", now.bytes, now.total or None)),
    )
    report.raise_for_failures()
    path = report.files[0].path
    yield path
    path.unlink(missing_ok=True)


def hub_cache() -> Path | None:
    """Return the hub cache of this machine, if it has one: what is there is not downloaded again."""
    home = Path(os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser())
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    return cache if cache.is_dir() else None


def local_file(source: str) -> Path:
    """Find a file on this machine.

    Raises:
        InvalidInputError: there is none of that name, or it is not a safetensors file by its name.
    """
    path = Path(source).expanduser()
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises on a name that is too long
        what = "is a folder" if os.path.isdir(path) else "does not exist"  # noqa: PTH112
        raise InvalidInputError(f"{source!r} {what}.", "Give the path of a .safetensors file, or hf://OWNER/REPOSITORY/FILE.")
    if path.suffix.lower() != SUFFIX:
        text = f"{path.name} is not a .safetensors file. Other formats can contain programs and are never accepted."
        raise InvalidInputError(text, "Convert it on a machine you trust, or ask its author for the .safetensors file.")
    return path


def inspect_source(path: Path, source: str, wishes: PushOptions, moved: Callable[[int], None]) -> Incoming:
    """Check a file's header, tell its base model, and hash it.

    Args:
        path: the file.
        source: where it came from.
        wishes: what the caller says of it.
        moved: called with the number of bytes hashed.

    Raises:
        InvalidInputError: it is not a safetensors file, not a LoRA, or its base model is not known.
        LoraIncompatibleError: it is for a base model that no workflow uses, or for another one than the caller says.
    """
    header = read_header(path)
    if not is_lora(header):
        text = f"{path.name} is a safetensors file, but none of its {len(header.tensors)} tensors belongs to a LoRA."
        raise InvalidInputError(
            text, "A whole checkpoint goes into models/checkpoints; only LoRAs are pushed.", {"file": str(path)}
        )
    base = decide_base(base_of(header), wishes.base, path.name)
    words = clean_words(wishes.trigger_words) or trigger_words(header.metadata)
    name = source if is_hub(source) else path.name
    about = (variant_of(header, base), notes_on(header, base, name))
    return Incoming(path, sha256_of(path, moved), header.bytes, base, words, name, *about)


def notes_on(header: Header, base: str, name: str) -> tuple[str, ...]:
    """Say in sentences what ComfyUI will not load of a LoRA, and what its file's name tells."""
    keys, total = list(header.tensors), len(header.tensors)
    gone, images = not_loaded(keys, base), image_keys(keys, base)
    notes = []
    if len(gone) == total:
        text = f"ComfyUI loads none of its {total} tensors, so it will have no effect there: {_listed(gone)}"
        notes.append(f"{text}. Convert it to names that ComfyUI reads.")
    elif gone:
        notes.append(f"ComfyUI will not load {len(gone)} of its {total} tensors: {_listed(gone)}.")
    if images:
        where = "Wan 2.1's image-to-video models, which alone attend to a picture"
        notes.append(f"{len(images)} of its {total} tensors are loaded only into {where}: {_listed(images)}.")
    noise = _noise(name) if base == "wan" else None
    if noise is not None:
        notes.append(f"By its file's name it was trained for Wan 2.2's {noise}-noise model; its tensors do not tell.")
    return clean_notes(notes)


def _listed(keys: Iterable[str]) -> str:
    """List a few kinds of layers."""
    kinds = [kind[:LONGEST_KIND] for kind in group_names(keys)]
    more = f" and {len(kinds) - LISTED_KINDS} more" if len(kinds) > LISTED_KINDS else ""
    return ", ".join(kinds[:LISTED_KINDS]) + more


def _noise(name: str) -> str | None:
    """Return which of Wan 2.2's two models a file's name tells; None when it tells neither or both."""
    words = re.findall(r"[a-z]+", re.sub("(?i)noise", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).lower())
    told = [word for word in ("high", "low") if word in words]
    return told[0] if len(told) == 1 else None


def _usable(header: Header, said: str | None, name: str) -> str:
    """Refuse what is no LoRA, or of no use here; else its base model."""
    if not is_lora(header):
        text = f"{name} is a safetensors file, but none of its {len(header.tensors)} tensors belongs to a LoRA."
        hint = "A whole checkpoint goes into models/checkpoints; only LoRAs are pushed."
        raise InvalidInputError(text, hint, {"file": name})
    return decide_base(base_of(header), said, name)


def decide_base(told: str | None, said: str | None, name: str) -> str:
    """Decide the base model: the file's own counts; the caller's only where the file names none.

    Raises:
        InvalidInputError: neither names one.
        LoraIncompatibleError: the base model is of no use here, or both tell different ones.
    """
    if said is not None and said not in BASES:
        raise InvalidInputError(f"There is no base model {said!r}.", f"Base models: {', '.join(BASES)}")
    if told is None and said is None:
        text = f"The names in {name} do not say which base model it was made for."
        raise InvalidInputError(text, f"If you know it, give it: --base {'|'.join(BASES)}", {"file": name})
    details = {"file": name, "base": told, "wanted": said}
    if told is not None and told not in BASES:
        hint = f"Use a LoRA for {', '.join(NAMES[base] for base in BASES)}."
        raise LoraIncompatibleError(f"{name} was made for {NAMES[told]}, which no workflow here uses.", hint, details)
    if told is not None and said not in (None, told):
        text = f"The tensors of {name} are those of a LoRA for {NAMES[told]}, not for {NAMES[str(said)]}."
        raise LoraIncompatibleError(text, f"Leave out --base, or use --base {told}.", details)
    return str(told or said)


def sha256_of(path: Path, moved: Callable[[int], None]) -> str:
    """Hash a file in pieces.

    Raises:
        StorageFailedError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                moved(len(block))
    except OSError as error:
        raise StorageFailedError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from None
    return digest.hexdigest()


def words_of(words: Iterable[str] | str) -> tuple[str, ...]:
    """Return several trigger words, or one, as a tuple."""
    return (words,) if isinstance(words, str) else tuple(words)
