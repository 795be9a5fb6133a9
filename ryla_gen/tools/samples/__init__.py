"""Hand out small files to try everything with: pictures, a mask, LoRAs, graphs, a list. Every copy has the same bytes.

Must not run anything. The pictures were painted by the emulator (``docs_tools/sample_pictures.py``), so the face is of no person.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import StorageFailedError
from .loras import LORAS, lora_file

FILES = Path(__file__).with_name("files")

State = Literal["written", "there", "kept"]
"""``written`` now; ``there`` already, the same; ``kept``: another file has that name, and was left alone."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One file to try something with."""

    name: str
    purpose: str
    """What it is for, in one phrase."""
    command: str
    """A command that uses it, and works where the samples lie."""

    def read(self) -> bytes:
        """Return the file's content."""
        return lora_file(self.name) if self.name in LORAS else (FILES / self.name).read_bytes()


@dataclass(frozen=True, slots=True)
class WrittenSample:
    """What became of one sample."""

    sample: Sample
    path: Path
    state: State


SAMPLES = (
    Sample(
        "face.png",
        "a face, drawn and of no person: for workflows that keep a face",
        'ryla-gen run instantid "an astronaut" --reference-image face.png -o astronaut.png',
    ),
    Sample(
        "photo.png",
        "a picture to change",
        'ryla-gen run qwen-image-edit "make it night" --image photo.png --speed lightning -o night.png',
    ),
    Sample(
        "mask.png",
        "what of photo.png is redrawn: white, the lower part",
        'ryla-gen run flux-fill "a red scarf" --image photo.png --mask mask.png -o scarf.png',
    ),
    Sample("small.png", "a picture to enlarge", "ryla-gen run seedvr2 --image small.png --scale 2 -o large.png"),
    Sample(
        "mira.safetensors",
        "a LoRA for FLUX.1 that was trained on nothing: on a GPU it changes nothing",
        "ryla-gen lora push mira.safetensors --trigger-word mira",
    ),
    Sample("mira-z.safetensors", "the same for Z-Image", "ryla-gen lora push mira-z.safetensors"),
    Sample("mira-qwen.safetensors", "the same for Qwen-Image", "ryla-gen lora push mira-qwen.safetensors"),
    Sample("mira-wan.safetensors", "the same for Wan 2.1 1.3B", "ryla-gen lora push mira-wan.safetensors"),
    Sample(
        "lighthouse.json",
        "a graph as ComfyUI saves it",
        "ryla-gen graph convert lighthouse.json -o lighthouse_api.json",
    ),
    Sample(
        "my_graph_api.json",
        "a graph as ComfyUI exports it for its API",
        'ryla-gen graph run my_graph_api.json --prompt "a boat" -o boat.png',
    ),
    Sample("prompts.jsonl", "a list of two requests", "ryla-gen batch prompts.jsonl -o out/"),
)


def write_samples(folder: str | Path = ".") -> list[WrittenSample]:
    """Write every sample into a folder, which is made if needed; a file that is there is never written over.

    Raises:
        StorageFailedError: the folder cannot be written.

    """
    place = Path(folder).expanduser()
    try:
        place.mkdir(parents=True, exist_ok=True)
        return [WrittenSample(sample, place / sample.name, _write(place / sample.name, sample.read())) for sample in SAMPLES]
    except OSError as error:
        text = f"The samples cannot be written to {place}: {error.strerror}."
        raise StorageFailedError(text, "Name another folder: ryla-gen samples -o FOLDER", {"file": str(place)}) from None


def _write(path: Path, data: bytes) -> State:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return "there" if path.is_file() and path.read_bytes() == data else "kept"
    return "written"
