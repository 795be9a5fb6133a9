"""Define the result of a finished job: outputs, seed, timings, cost, graph, warnings. Saves files; must not run anything."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import media, notebook
from ..errors import InvalidInputError, ServerUnhealthyError, WorkflowError
from ..workflows.base import Notice
from .figures import COLD_PARTS as COLD_PARTS
from .figures import ColdStart as ColdStart
from .figures import Cost as Cost
from .figures import Timings as Timings
from .notes import METADATA_KEY as METADATA_KEY
from .notes import file_texts as file_texts
from .notes import load as load
from .notes import metadata as metadata

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..workflows.base import Workflow

TEMPLATE_FIELDS = ("workflow", "seed", "index", "job", "name")
"""Words that may stand in braces in a file name."""
_ALSO = {".jpeg": ".jpg", ".tif": ".tiff", ".htm": ".html", ".opus": ".ogg", ".oga": ".ogg"}
"""Other suffixes of the same kinds of files."""
_FIELD = re.compile("{(" + "|".join(TEMPLATE_FIELDS) + ")}")


@dataclass(frozen=True, slots=True)
class Output:
    """One file or text a job made."""

    kind: Literal["image", "video", "audio", "text", "file"]
    media_type: str
    """Such as image/png or video/mp4."""
    name: str
    data: bytes = field(default=b"", repr=False)
    """The encoded file; of a text its UTF-8 bytes, which need not be given."""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    """Pixels."""
    frames: int | None = None
    fps: float | None = None
    text: str | None = None
    """What a text output says; None of every other kind."""
    node: str | None = None
    """Id of the node that made it; None where the server does not say."""
    url: str | None = None
    """Where it was uploaded (``s3://bucket/…``); None where its bytes are here. A signed address stands without its signature."""
    sha256: str | None = None
    """Of an uploaded file."""
    size: int | None = None
    """Bytes of an uploaded file."""

    def __post_init__(self) -> None:
        if self.kind == "text" and self.text is not None and not self.data:
            object.__setattr__(self, "data", self.text.encode("utf-8", "replace"))

    @property
    def suffix(self) -> str:
        """File suffix that belongs to what it is, with its dot."""
        return media.SUFFIXES.get(self.media_type) or Path(self.name).suffix or ".bin"

    def image(self) -> Image:
        """Return the picture as a PIL image.

        Raises:
            InvalidInputError: this output is no picture, or a broken one.

        """
        if self.kind != "image":
            raise InvalidInputError(f"{self.name} is a {self.kind}, not an image.", "Use .data for its bytes, or .save(path).")
        self.require_here()
        from PIL import Image

        try:
            picture = Image.open(io.BytesIO(self.data))
            picture.load()
        except Exception as error:  # decoders raise anything on a broken file
            text = f"{self.name} cannot be decoded: {str(error).strip() or type(error).__name__}."
            raise InvalidInputError(text, "Its original bytes: .data, or .save(path).") from None
        return picture

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the file, and return its path; never over another one unless ``overwrite``.

        The suffix of another kind of picture or video gives way to the right one: ``x.jpg`` of a PNG becomes ``x.png``.

        Raises:
            OutputExistsError: a file of that name exists.
            StorageFailedError: the file could not be written; nothing half-written stays.

        """
        self.require_here()
        target = Path(path).expanduser()
        target = target / self.name if os.path.isdir(target) else self._with_true_suffix(target)  # noqa: PTH112 - is_dir raises on long names
        media.save_atomically(target, self.data, overwrite=overwrite)
        return target

    @property
    def bytes_made(self) -> int:
        """Size of the file in bytes, wherever it lies."""
        return len(self.data) if self.size is None else self.size

    def require_here(self) -> None:
        """Refuse to open or save what was uploaded.

        Raises:
            InvalidInputError: its bytes are where it was uploaded.

        """
        if self.url is not None:
            text = f"{self.name} was uploaded to {self.url}; its bytes are not here."
            raise InvalidInputError(text, "Read it there, or run without output_to.", {"url": self.url, "sha256": self.sha256})

    def _with_true_suffix(self, target: Path) -> Path:
        """Return the path with a suffix that fits the data; keep a suffix that belongs to no known media type."""
        right, suffix = self.suffix, target.suffix.lower()
        if not suffix:
            return target.with_name(target.name + right)
        known = {*media.SUFFIXES.values(), *_ALSO}
        fits = _ALSO.get(suffix, suffix) == _ALSO.get(right, right)
        return target.with_suffix(right) if suffix in known and not fits else target

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        if self.url is not None:
            return f"<code>{escape(self.url)}</code> ({self.bytes_made:,} bytes)"
        if self.kind == "text":
            return notebook.words(self.text or "")
        if self.kind == "audio":
            return notebook.sound(self.media_type, self.data, self.name)
        if self.kind == "file":
            return f"<code>{escape(self.name)}</code> ({len(self.data):,} bytes)"
        if self.kind == "video":
            return notebook.player(self.media_type, self.data, self.name)
        source = f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"
        return f'<img style="max-width:100%" alt="{escape(self.name)}" src="{source}">'

    def _ipython_display_(self) -> None:
        notebook.show([self._file("")])

    def _file(self, label: str) -> notebook.File:
        if self.url is not None:
            return notebook.File("text", "text/plain", self.name, label, b"", f"{self.url} ({self.bytes_made:,} bytes)")
        return notebook.File(self.kind, self.media_type, self.name, label, self.data, self.text)


@dataclass(frozen=True)
class Generation:
    """The finished result of one job."""

    workflow: Workflow
    """The request, with the seed that was used: run it again and the picture comes again."""
    outputs: tuple[Output, ...]
    seed: int
    job: str
    backend: str
    timings: Timings = Timings()  # noqa: RUF009 - frozen
    cost: Cost = Cost()  # noqa: RUF009 - as above
    warnings: tuple[Notice, ...] = ()
    graph: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The graph that ran, in ComfyUI's API format."""
    server: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Versions and GPU of the server."""
    face_similarity: float | None = None
    """Cosine of the ArcFace embeddings of the reference's face and the result's, -1 to 1 (the mean of several pictures); None
    where it was not measured."""

    @property
    def output(self) -> Output:
        """The first file."""
        return self.outputs[0]

    @property
    def images(self) -> list[Image]:
        """All pictures, as PIL images."""
        return [item.image() for item in self.outputs if item.kind == "image"]

    @property
    def image(self) -> Image:
        """The first picture, as a PIL image.

        Raises:
            InvalidInputError: the job made no picture.

        """
        return self._first("image").image()

    @property
    def video(self) -> Output:
        """The first video: ``.data`` holds its bytes, ``.save(path)`` writes it.

        Raises:
            InvalidInputError: the job made no video.

        """
        return self._first("video")

    @property
    def audio(self) -> Output:
        """The first sound: ``.data`` holds its bytes, ``.save(path)`` writes it.

        Raises:
            InvalidInputError: the job made no sound.

        """
        return self._first("audio")

    @property
    def text(self) -> str:
        """The first text, such as a caption.

        Raises:
            InvalidInputError: the job made no text.

        """
        return self._first("text").text or ""

    def _first(self, kind: str) -> Output:
        found = next((item for item in self.outputs if item.kind == kind), None)
        if found is None:
            kinds = ", ".join(sorted({item.kind for item in self.outputs}))
            raise InvalidInputError(f"This {self.workflow.name} result has no {kind}, only: {kinds}.", "All files: .outputs")
        return found

    def save(self, path: str | PathLike[str] = ".", *, overwrite: bool = False) -> list[Path]:
        """Write every output and return the files; what was uploaded is not here, and is left out.

        Args:
            path: a file name (several outputs get ``-0``, ``-1`` …), an existing folder or one that ends with ``/``,
                or a template such as ``{workflow}-{seed}-{index}.png``. A suffix of another kind gives way to the right one.
            overwrite: whether existing files may be replaced.

        Raises:
            InvalidInputError: all of them were uploaded, or several would get the same name.
            OutputExistsError: a file exists; nothing was written.
            StorageFailedError: a file could not be written; what this call had written is removed again.

        """
        held = [(index, item) for index, item in enumerate(self.outputs) if item.url is None]
        if not held:
            self.output.require_here()
        targets = [self._target(str(path), index, item) for index, item in held]
        if len(set(targets)) < len(targets):
            raise InvalidInputError(f"{path} gives several of the {len(targets)} files the same name.", "Put {index} into it.")
        for target in targets:
            media.check_target(target, overwrite=overwrite)
        written: list[Path] = []
        try:
            for target, item in zip(targets, (item for _, item in held), strict=True):
                media.save_atomically(target, item.data, overwrite=overwrite)
                written.append(target)
        except BaseException:
            if not overwrite:
                for target in written:
                    target.unlink(missing_ok=True)
            raise
        return written

    def _target(self, path: str, index: int, item: Output) -> Path:
        text = _fill(path, self, index, item) if "{" in path else path
        target = Path(text).expanduser()
        if text.endswith(("/", "\\")) or os.path.isdir(target):  # noqa: PTH112 - as above
            return target / item.name
        if len(self.outputs) > 1 and text == path:  # a template makes the files' names different itself
            target = target.with_name(f"{target.stem}-{index}{target.suffix}")
        return item._with_true_suffix(target)

    def _repr_html_(self) -> str:
        notes = "".join(f"<div>⚠ {escape(item.message)}</div>" for item in self.warnings)
        return "".join(item._repr_html_() for item in self.outputs) + f"<div><small>{escape(self._caption())}</small></div>{notes}"

    def _ipython_display_(self) -> None:
        files = [item._file(f"{place} of {len(self.outputs)}") for place, item in enumerate(self.outputs, 1)]
        notebook.show(files, caption=self._caption(), notes=[item.message for item in self.warnings])

    def _caption(self) -> str:
        cost = f" · ${self.cost.total_usd:.4f}" if self.cost.total_usd else ""
        return f"{self.workflow.name} · seed {self.seed} · {self.timings.total:.1f} s{cost} · {self.backend}"

    def _repr_png_(self) -> bytes | None:
        first = self.outputs[0]
        return first.data if first.media_type == "image/png" and first.url is None else None

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What is stored inside the files: workflow, fields (pictures as hashes) and seed."""
        return metadata(self.workflow, self.seed, self.job)


def _fill(template: str, generation: Generation, index: int, item: Output) -> str:
    name = Path(item.name).stem
    return fill_name(template, workflow=generation.workflow.name, seed=generation.seed, index=index, job=generation.job, name=name)


def fill_name(template: str, **words: object) -> str:
    """Fill in a template of file names.

    Args:
        template: with any of :data:`TEMPLATE_FIELDS` in braces.
        words: what stands in their place, or will: a template that is checked before the result is there is given some of them.

    Raises:
        InvalidInputError: it holds other braces.

    """
    filled = _FIELD.sub(lambda found: str(words[found[1]]), template)
    # Not str.format: it would reach attributes, and pad to any length.
    if "{" in filled or "}" in filled:
        known = ", ".join(f"{{{word}}}" for word in TEMPLATE_FIELDS)
        raise InvalidInputError(f"The file name {template!r} cannot be filled in.", f"It can use {known}.")
    return filled


def replacement_of(item: Output) -> str:
    """Describe what a server sent instead of a file: nothing, or a web page; empty when this is the file."""
    if not item.data and item.kind != "text" and item.url is None:
        return "an empty file"
    page = item.media_type == "text/html" and len(Path(item.name).suffixes) != 1
    return "an HTML page" if page else ""


def require_outputs(outputs: tuple[Output, ...], workflow: str) -> None:
    """Refuse a result without files: a graph that ends well and saves nothing is a failure, and so is one whose files did not come.

    Raises:
        WorkflowError: there are no outputs.
        ServerUnhealthyError: each is empty, or a page of something that stands in front of the server.

    """
    if not outputs:
        raise WorkflowError(f"The {workflow} graph ended well but saved nothing.", "End it with a SaveImage or SaveVideo node.")
    replaced = [replacement_of(item) for item in outputs]
    if all(replaced):
        text = f"The server answered with {replaced[0]} instead of {outputs[0].name.removesuffix('.html')}."
        hint = (
            "Empty files: check whether the disk of the server is full. Pages: check what is in front of it (a proxy, a sign-in)."
        )
        raise ServerUnhealthyError(text, hint, {"media_type": outputs[0].media_type, "bytes": len(outputs[0].data)})
