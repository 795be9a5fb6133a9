"""Find the files that a graph loads, and what its drawing says of them. Asks nobody.

ComfyUI's page writes into a drawing where a loader's files come from (``properties.models``), and makers write it into notes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...comfy.schema import MODEL_SUFFIXES, NO_FILES, Schemas, file_inputs, input_specs
from ...locks.lock_checks import FOLDER, is_https, is_model_name
from ...locks.model_rows import plain_address
from ...models.weights_table import Weights, all_weights

FOLDERS_FILE = Path(__file__).parents[2] / "models" / "model_folders.json"
"""Folder behind every input of ComfyUI's own classes that names a file, as ComfyUI 0.28.2 fills its lists."""
OLD_FOLDERS = {"clip": "text_encoders", "unet": "diffusion_models"}
"""Folders that ComfyUI renamed; it looks into both."""
EMBEDDINGS = "embeddings"
_EMBEDDING = re.compile(r"embedding:([^\s,():\\\[\]{}|]+)")
"""How a prompt names a file of that folder; ComfyUI leaves out what is not there, without an error."""
_LINK = re.compile(r"https://[^\s)\]>\"'<]+")
_NOTES = ("Note", "MarkdownNote")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a node of the graph loads."""

    node: str
    class_type: str
    input: str
    folder: str
    """Below ComfyUI's ``models``; empty where the node's class does not tell."""
    file: str
    """As the node names it."""

    @property
    def label(self) -> str:
        """Folder and name, as far as the folder is known."""
        return f"{self.folder}/{self.file}" if self.folder else self.file


@dataclass(frozen=True, slots=True)
class DrawnModel:
    """A file that the drawing says the address of."""

    file: str
    folder: str
    url: str
    sha256: str | None
    source: str


@cache
def _folders() -> dict[str, dict[str, str]]:
    return dict(json.loads(FOLDERS_FILE.read_text(encoding="utf-8")))


def named_files(graph: Mapping[str, Any], schemas: Schemas) -> list[NamedFile]:
    """List the files that the nodes of a graph load, each once, in the graph's order."""
    found: dict[tuple[str, str], NamedFile] = {}
    for node_id, node in graph.items():
        kind = str(node["class_type"])
        for name, value in node["inputs"].items():
            if isinstance(value, str) and _names_file(kind, name, value, schemas):
                item = NamedFile(node_id, kind, name, _folders().get(kind, {}).get(name, ""), value)
                found.setdefault((item.folder, item.file), item)
            elif isinstance(value, str):
                for file in map(_embedding_file, _EMBEDDING.findall(value)):
                    found.setdefault((EMBEDDINGS, file), NamedFile(node_id, kind, name, EMBEDDINGS, file))
    return list(found.values())


def _embedding_file(word: str) -> str:
    """Return the file that a prompt means: ComfyUI looks for a name without an ending among those with one."""
    return word if word.lower().endswith(MODEL_SUFFIXES) else f"{word}.safetensors"


def _names_file(kind: str, name: str, value: str, schemas: Schemas) -> bool:
    """Whether a node's value is one of the server's files: by its list, and where the class is unknown by the value's end."""
    schema = schemas.get(kind)
    if schema is None:
        return value.lower().endswith(MODEL_SUFFIXES)
    spec = input_specs(schema).get(name)
    if spec is None:  # an input that a choice brings with it
        return name in _folders().get(kind, {}) or value.lower().endswith(MODEL_SUFFIXES)
    if spec.uploads or spec.options is None or value in NO_FILES:
        return False
    if name in _folders().get(kind, {}) and not spec.options:
        return True
    return name in file_inputs(schema) and value.lower().endswith(MODEL_SUFFIXES)


def implied_files(graph: Mapping[str, Any]) -> Iterator[Weights]:
    """Yield the files of our table that node classes load without naming them."""
    classes = {str(node["class_type"]) for node in graph.values()}
    yield from (row for row in all_weights() if classes.intersection(row.nodes))


def drawn_models(drawing: Mapping[str, Any]) -> list[DrawnModel]:
    """List the files whose addresses a drawing states, in its nodes, its subgraphs or for the whole, each once."""
    found: dict[DrawnModel, None] = {}
    for row in (*_rows(drawing), *(row for node in drawn_nodes(drawing) for row in _rows(node.get("properties")))):
        model = _drawn_model(row)
        if model is not None:
            found[model] = None
    return list(found)


def drawn_nodes(drawing: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield every node of a drawing, those inside its subgraphs among them."""
    definitions = drawing.get("definitions")
    sheets = [drawing, *_maps(definitions.get("subgraphs") if isinstance(definitions, Mapping) else None)]
    for sheet in sheets:
        yield from _maps(sheet.get("nodes"))


def _maps(value: Any) -> list[Mapping[str, Any]]:
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, Mapping)]


def _rows(place: Any) -> list[Mapping[str, Any]]:
    return _maps(place.get("models")) if isinstance(place, Mapping) else []


def _drawn_model(row: Mapping[str, Any]) -> DrawnModel | None:
    """Read one entry; None for one that is not whole, or that no lock may hold."""
    file, url, folder = (str(row.get(name) or "").strip() for name in ("name", "url", "directory"))
    folder = OLD_FOLDERS.get(folder, folder)
    if not (is_model_name(file) and is_https(url) and FOLDER.fullmatch(folder)):
        return None
    sha256 = str(row.get("hash") or "").lower() if str(row.get("hash_type") or "").lower() == "sha256" else ""
    known = sha256 if re.fullmatch(r"[0-9a-f]{64}", sha256) else None
    return DrawnModel(file, folder, plain_address(url), known, "the drawing")


def noted_addresses(drawing: Mapping[str, Any]) -> dict[str, list[str]]:
    """Find the addresses of files that a drawing's notes name: file → addresses that end with it."""
    found: dict[str, dict[str, None]] = {}
    for node in drawn_nodes(drawing):
        if node.get("type") not in _NOTES:
            continue
        values = node.get("widgets_values")
        texts = values.values() if isinstance(values, Mapping) else values if isinstance(values, list) else ()
        for text in texts:
            for link in _LINK.findall(text) if isinstance(text, str) else ():
                url = plain_address(link.rstrip(".,;`*"))
                file = url.partition("?")[0].rpartition("/")[2]
                if is_https(url) and file.lower().endswith(MODEL_SUFFIXES):
                    found.setdefault(file, {})[url] = None
    return {file: list(urls) for file, urls in found.items()}
