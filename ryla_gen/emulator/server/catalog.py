"""List which model and input files the emulated server has, and build the ``/object_info`` that follows from them.

Looks at the disk on every question, as ComfyUI does: a new file is seen without a restart. Knows no HTTP and runs nothing.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from ...comfy.schema import MODEL_SUFFIXES, InputSpec, file_inputs, input_specs
from ...models.node_schemas import GRAPH_VERSION, node_schemas
from ...models.weights_table import all_weights
from ..base import Folders

EXAMPLE_LORAS = ("character.safetensors", "example-style.safetensors")
"""LoRAs that are always there, so that a LoRA request works before anybody has one."""

FOLDER_ALIASES = {"clip": "text_encoders", "unet": "diffusion_models", "seedvr2": "SEEDVR2"}
"""Older or differently written folder names, and the name this catalog keeps their files under."""

FOLDER_OF_INPUT = {
    "ckpt_name": "checkpoints",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
    "lora_name": "loras",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "instantid_file": "instantid",
    "pulid_file": "pulid",
    "controlnet_name": "infinite_you",
    "image_proj_model_name": "infinite_you",
}
"""The models folder behind an input, by the input's name, which core and packs keep apart."""

FOLDER_OF_NODE = {
    "CLIPVisionLoader": "clip_vision",
    "ModelPatchLoader": "model_patches",
    "UpscaleModelLoader": "upscale_models",
    "SeedVR2LoadDiTModel": "SEEDVR2",
    "SeedVR2LoadVAEModel": "SEEDVR2",
}
"""The folder behind a node's file input where the input's name does not tell."""

_ONLY: dict[str, Callable[[str], bool]] = {
    "SeedVR2LoadDiTModel": lambda name: "vae" not in name,
    "SeedVR2LoadVAEModel": lambda name: "vae" in name,
    "InfuseNetLoader": lambda name: name.endswith(".safetensors"),
    "IDEmbeddingModelLoader": lambda name: name.endswith(".bin"),
}
"""Nodes that offer a part of their folder."""

_ALWAYS = {"VAELoader": ("pixel_space",)}
"""Options that are no files."""

_ANNOTATIONS = {" [input]": "input", " [output]": "output", " [temp]": "temp"}


def builtin_models() -> dict[str, list[str]]:
    """List the files of the weights table by folder, and the example LoRAs."""
    folders: dict[str, list[str]] = {}
    for row in all_weights():
        folders.setdefault(row.folder, []).append(row.name)
    folders.setdefault("loras", []).extend(EXAMPLE_LORAS)
    return folders


def uploaded_file(folders: Folders, name: str) -> Path | None:
    """Find the file that a ``LoadImage``-like input names; None when there is none or it lies outside its folder."""
    root = folders.input
    for ending, kind in _ANNOTATIONS.items():
        if name.endswith(ending):
            name, root = name.removesuffix(ending), getattr(folders, kind)
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root.resolve()) and path.is_file() else None
    except (OSError, ValueError):  # names that no file system takes: too long, or with a NUL
        return None


class Catalog:
    """The files of one emulated server."""

    def __init__(
        self,
        builtin: Mapping[str, Sequence[str]],
        folders: Folders,
        more: Mapping[str, dict[str, Any]] | None = None,
        comfyui: str = GRAPH_VERSION,
    ) -> None:
        """Build a catalog. ``builtin``: models folder to file names; ``more``: node classes beyond those of ``comfyui``."""
        self.folders = folders
        self.schemas = {**node_schemas(comfyui), **(more or {})}
        self._without_files = _classes_without_files(comfyui) - set(more or ())
        self.builtin: dict[str, list[str]] = {}
        for folder, names in builtin.items():
            self.builtin.setdefault(FOLDER_ALIASES.get(folder, folder), []).extend(names)

    def model_folders(self) -> list[str]:
        """List the names of all models folders."""
        known = {*self.builtin, *FOLDER_OF_INPUT.values(), *FOLDER_OF_NODE.values()}
        on_disk = {path.name for path in self.folders.models.glob("*") if path.is_dir()}
        return sorted(known | {FOLDER_ALIASES.get(name, name) for name in on_disk})

    def models(self, folder: str) -> list[str]:
        """List the files in one models folder, with ``/`` between sub-folders."""
        folder = FOLDER_ALIASES.get(folder, folder)
        names = set(self.builtin.get(folder, ()))
        for place in {folder, *(alias for alias, name in FOLDER_ALIASES.items() if name == folder)}:
            root = self.folders.models / place
            names.update(path.relative_to(root).as_posix() for path in root.rglob("*") if path.name.endswith(MODEL_SUFFIXES))
        return sorted(names, key=str.lower)

    def object_info(self, classes: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Return schemas as the server reports them now: all, or those of ``classes`` that exist."""
        wanted = self.schemas if classes is None else [name for name in dict.fromkeys(classes) if name in self.schemas]
        listed: dict[str, list[str]] = {}
        return {name: self._fill_options(name, self.schemas[name], listed) for name in wanted}

    def schemas_for(
        self, graph: Mapping[str, Any], schemas: dict[str, dict[str, Any]]
    ) -> tuple[dict[str, dict[str, Any]], list[str]]:
        """Add every weights file that a graph names to the schemas of its classes; return them, and the names that were not there.

        Only what is called like a weights file counts: another value that is not in a list is a mistake.
        """
        missing: dict[str, dict[str, list[str]]] = {}
        for node in graph.values():
            for name, file in _unknown_files(node, schemas):
                missing.setdefault(node["class_type"], {}).setdefault(name, []).append(file)
        for kind, inputs in missing.items():
            specs = input_specs(schemas[kind])
            lists = {name: [*map(str, specs[name].options or ()), *files] for name, files in inputs.items()}
            schemas[kind] = schemas[kind] | {"input": _with_options(schemas[kind]["input"], lists)}
        return schemas, list(dict.fromkeys(file for inputs in missing.values() for files in inputs.values() for file in files))

    def check_upload(self, class_type: str, input_name: str, value: Any) -> str | None:
        """Check the name of an uploaded file: return what is wrong with it, or None when the file is there."""
        if isinstance(value, str) and value and uploaded_file(self.folders, value):
            return None
        what = {"file": "video", "audio": "audio"}.get(input_name, "image")
        return f"Invalid {what} file: {value}"

    def _fill_options(self, name: str, schema: dict[str, Any], listed: dict[str, list[str]]) -> dict[str, Any]:
        changes: dict[str, list[str]] = {}
        for spec, folder in () if name in self._without_files else _file_lists(name, schema):
            if folder is None:
                changes[spec.name] = self._uploads(name, spec)
            else:
                names = listed.get(folder) or listed.setdefault(folder, self.models(folder))
                fits = _ONLY.get(name)
                changes[spec.name] = [file for file in names if fits is None or fits(file)] + list(_ALWAYS.get(name, ()))
        described = {"name": name, "display_name": name, "description": "", "category": schema.get("python_module", "")}
        return described | schema | ({"input": _with_options(schema["input"], changes)} if changes else {})

    def _uploads(self, class_type: str, spec: InputSpec) -> list[str]:
        root = self.folders.output if spec.config.get("image_folder") == "output" else self.folders.input
        kinds = {"file": ("video",), "audio": ("audio", "video")}.get(spec.name, ("image",))
        names = sorted(path.name for path in root.glob("*") if path.is_file())
        if class_type == "LoadImageMask":  # lists every file of its folder, as ComfyUI's does
            return names
        if spec.name == "latent":
            return [name for name in names if PurePosixPath(name).suffix == ".latent"]
        return [name for name in names if (mimetypes.guess_type(name)[0] or "").startswith(kinds)]


def _file_lists(name: str, schema: Mapping[str, Any]) -> Iterator[tuple[InputSpec, str | None]]:
    """Yield the inputs of a class that list files of the server: each with its models folder, None where files are uploaded."""
    models = file_inputs(schema)
    for spec in input_specs(schema).values():
        # In LoadLatent the name is that of a list of files; elsewhere it is a link's.
        if spec.uploads or (spec.name == "latent" and spec.options is not None):
            yield spec, None
        elif spec.name in models and (folder := FOLDER_OF_NODE.get(name) or FOLDER_OF_INPUT.get(spec.name)):
            yield spec, folder


@cache  # of the many classes few list files, and finding them takes most of the time of an answer
def _classes_without_files(comfyui: str) -> frozenset[str]:
    return frozenset(name for name, schema in node_schemas(comfyui).items() if not any(_file_lists(name, schema)))


def _unknown_files(node: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the inputs of a node that name a weights file which its list does not have, with the names."""
    kind, inputs = node.get("class_type"), node.get("inputs")
    if not isinstance(kind, str) or kind not in schemas or not isinstance(inputs, Mapping):
        return
    specs = input_specs(schemas[kind])
    for name in file_inputs(schemas[kind]):
        value = inputs.get(name)
        if isinstance(value, str) and value.endswith(MODEL_SUFFIXES) and value not in (specs[name].options or ()):
            yield name, value


def _with_options(sections: Mapping[str, Any], changes: Mapping[str, list[str]]) -> dict[str, Any]:
    return {
        section: {name: _entry(entry, changes[name]) if name in changes else entry for name, entry in entries.items()}
        if isinstance(entries, Mapping) and section != "hidden"
        else entries
        for section, entries in sections.items()
    }


def _entry(entry: Sequence[Any], options: list[str]) -> list[Any]:
    if isinstance(entry[0], list):
        return [options, *entry[1:]]
    return [entry[0], {**entry[1], "options": options}]
