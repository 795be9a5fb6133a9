"""Find everything a server lacks for a graph at once: node classes with their packs, weights with where they come from.

Pure: reads the server's own node schemas (``/object_info``), whose lists name the files it has. Must not ask a server or install.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ModelNotFoundError, NotEmulatedError, PlainData, RylaGenError, WorkflowInvalidError
from ..locks.base import NodePack
from ..locks.families import packs_for
from ..models.node_schemas import GRAPH_VERSION, VERSIONS, node_schemas
from ..models.weights_table import Weights, all_weights, weights_for
from ..names import MODELS_VOLUME
from ..support.numbers import format_bytes
from ..support.shell_words import path_word
from .errors import folder_of, missing_file
from .schema import Schemas, file_inputs, input_specs

LISTED = 12
"""Names in a message before "and so many more"; ``details`` has them all."""


@dataclass(frozen=True, slots=True)
class MissingFile:
    """A weights file that a node names and the server does not list."""

    node_id: str
    class_type: str
    input: str
    folder: str
    """Folder below ComfyUI's ``models``; empty when it is not known."""
    name: str
    available: tuple[str, ...]
    """What the server lists in its place."""
    row: Weights | None
    """Where it comes from; None for a file that the table does not know."""

    @property
    def text(self) -> str:
        """The file with its size and where it comes from."""
        size = format_bytes(self.row.bytes) if self.row and self.row.bytes is not None else "size unknown"
        about = [size, self.row.repo, *(["gated"] if self.row.gated else [])] if self.row else []
        return f"{self.folder or '?'}/{self.name}" + (f" ({', '.join(about)})" if about else "")

    def to_data(self) -> PlainData:
        """Return the missing file as plain data."""
        told: PlainData = {"file": self.name, "folder": self.folder, "node_id": self.node_id}
        told |= {"class_type": self.class_type, "input": self.input}
        about = {"repo": self.row.repo, "revision": self.row.revision, "bytes": self.row.bytes} if self.row else {}
        return told | {"repo": None, "revision": None, "bytes": None} | about


@dataclass(frozen=True, slots=True)
class Missing:
    """Everything one server lacks for one workflow; false when it lacks nothing."""

    workflow: str
    nodes: tuple[str, ...] = ()
    """Node classes that it does not have."""
    files: tuple[MissingFile, ...] = ()
    """Weights that its lists do not name."""
    unseen: tuple[Weights, ...] = ()
    """Weights that the graph needs and that no list of the server would show: whether they are there cannot be told from here."""
    all_options: bool = False
    """Whether some of these weights are not among those of the workflow's defaults, which the commands bring without more words."""

    def __bool__(self) -> bool:
        return bool(self.nodes or self.files)

    @property
    def packs(self) -> tuple[NodePack, ...]:
        """The node packs that contain the missing classes."""
        return packs_for(frozenset(self.nodes))

    @property
    def bytes(self) -> int | None:
        """Bytes to download at least: of the missing files with a known size; None when files are missing and no size is known."""
        known = [item.row.bytes for item in self.files if item.row is not None and item.row.bytes is not None]
        return sum(known) if known or not self.files else None

    @property
    def message(self) -> str:
        """What is missing, in a sentence or two."""
        said = []
        if self.nodes:
            said.append(f"The server has no {'node class' if len(self.nodes) == 1 else 'node classes'} {_list_text(self.nodes)}.")
        if self.files:
            plural = "s" if len(self.files) > 1 else ""
            said.append(f"The server has no weights file{plural} {_list_text([item.text for item in self.files])}.")
        if self.nodes and self.unseen:
            names = _list_text([row.label for row in self.unseen])
            said.append(f"It cannot be checked from here whether it has {names}.")
        return " ".join(said)

    @property
    def hint(self) -> str:
        """The commands that install it, on the server's own machine."""
        name, every = self.workflow.replace("_", "-"), " --all-options" if self.all_options else ""
        steps = [_pack_command(pack) for pack in self.packs]
        provided = {found for pack in self.packs for found in pack.nodes}
        others = [item for item in self.nodes if item not in provided]
        core = [item for item in others if item in node_schemas()]
        if core:
            steps.append(f"update ComfyUI to {_release_with(core)} or later, which has {_list_text(core)}")
        if strange := [item for item in others if item not in core]:
            steps.append(f"install the node pack that provides {_list_text(strange)} (ComfyUI-Manager finds it)")
        if any(item.row is not None for item in self.files) or (self.nodes and self.unseen):
            steps.append(f"ryla-gen weights sync {name}{every} --local COMFYUI/models")
        steps += [f"put {item.name} into models/{item.folder or '…'}" for item in self.files if item.row is None]
        if self.nodes:
            steps.append("restart ComfyUI")
        own = f" Or install everything there: ryla-gen local install {name}{every}" if self.packs or self.bytes else ""
        return f"On the server's machine: {'; '.join(steps)}.{own}"

    def hint_at(self, backend: str) -> str:
        """Say what helps where it ran: the server's own machine, Modal's app and volume, or the emulator of this process."""
        if backend not in ("modal", "emulator"):
            return self.hint
        known = any(item.row is not None for item in self.files)
        own = [item for item in self.files if item.row is None]
        if backend == "emulator":
            return "The emulator has the files that the built-in workflows name."
        name, every = self.workflow.replace("_", "-"), " --all-options" if self.all_options else ""
        steps = [f"Download them to the volume: ryla-gen weights sync {name}{every}."] if known else []
        if own:  # of several one is shown: the message names all of them
            file, place = own[0].name, f"{own[0].folder or 'FOLDER'}/{own[0].name}"
            steps.append(f"Put it on the volume: modal volume put {MODELS_VOLUME} {path_word(file)} {path_word(place)}")
        if self.nodes:
            packs = "ComfyUI's nodes and those of its own workflows"
            steps.append(f"The app has {packs}. With other packs a graph is deployed by its lock: ryla-gen graph lock FILE.json")
        return " ".join(steps)

    def to_data(self) -> PlainData:
        """Return all requirements as plain data."""
        packs = [{"name": pack.name, "repo": pack.repo, "commit": pack.commit} for pack in self.packs]
        unseen = [{"file": row.name, "folder": row.folder, "repo": row.repo, "bytes": row.bytes} for row in self.unseen]
        files = [item.to_data() for item in self.files]
        return {"nodes": list(self.nodes), "packs": packs, "files": files, "unseen": unseen, "bytes": self.bytes}

    def error(self, backend: str = "comfyui") -> RylaGenError:
        """Return one error that names everything that is missing, with what helps on the backend that ran."""
        hint = self.hint_at(backend)
        if self.nodes:
            first = {"node_id": "", "class_type": self.nodes[0], "error_type": "missing_node_type"}
            return WorkflowInvalidError(self.message, hint, {**first, **self.to_data()})
        first_file = self.files[0]
        details = {**first_file.to_data(), "error_type": "value_not_in_list"}
        if len(self.files) == 1:
            one = missing_file(details, first_file.name, first_file.folder, first_file.available, lora=False)
            near = f" {one.hint[one.hint.index('Closest') :]}" if "Closest" in one.hint else ""
            return ModelNotFoundError(self.message, hint + near, {**one.details, **self.to_data()})
        return ModelNotFoundError(self.message, hint, {**details, "available": [], **self.to_data()})

    def error_of_emulator(self, lock: str) -> RylaGenError:
        """Return the error of an emulator in this process, onto which nothing can be installed.

        Args:
            lock: file of the lock that is run; empty for another graph.
        """
        if not self.nodes:
            return self.error("emulator")
        text = f"The emulator has no node {'class' if len(self.nodes) == 1 else 'classes'} {_list_text(self.nodes)}."
        if not lock:
            hint = "It has ComfyUI's nodes and those of the built-in workflows. Run it on a ComfyUI that has the pack: --url URL"
            return WorkflowInvalidError(text, hint, self.error().details)
        hint = (
            f"It runs no code of node packs. On a GPU of Modal: ryla-gen deploy {path_word(lock)}. "
            f"On a ComfyUI of your own: ryla-gen local install --lock {path_word(lock)}, then --url http://127.0.0.1:8188"
        )
        told = [{"node_id": "", "class_type": name, "reason": "it belongs to a node pack"} for name in self.nodes]
        return NotEmulatedError(text, hint, {"nodes": told})


def missing_for(
    workflow: str,
    graph: Mapping[str, Any],
    schemas: Schemas,
    *,
    files: bool = True,
    default_files: Collection[str] | None = None,
) -> Missing:
    """Find what a server lacks for a graph.

    Args:
        workflow: its name, for the commands.
        graph: API format.
        schemas: the server's ``/object_info``.
        files: whether to look for weights too. Of a graph of one's own only the server knows which lists are binding.
        default_files: labels of the weights that the workflow's defaults need; None where the graph is that of its defaults.

    """
    classes = dict.fromkeys(str(node.get("class_type")) for node in graph.values())
    nodes = tuple(name for name in classes if name not in schemas)
    found = tuple(_files(graph, schemas)) if files else ()
    known = {(item.folder, item.name) for item in found}
    seen = {name for node in graph.values() for name in _named_files(node, schemas)}
    unseen = tuple(row for row in weights_for(graph) if row.name not in seen and (row.folder, row.name) not in known)
    rows = (*(item.row for item in found if item.row is not None), *(unseen if nodes else ()))
    beyond = default_files is not None and any(row.label not in default_files for row in rows)
    return Missing(workflow, nodes, found, unseen if files else (), all_options=files and beyond)


def _files(graph: Mapping[str, Any], schemas: Schemas) -> Iterator[MissingFile]:
    """Yield each file that is named but not listed, once; of LoRAs only those of the table: the caller chose the others."""
    rows = {(row.folder, row.name): row for row in all_weights()}
    done: set[tuple[str, str]] = set()
    for node_id, node in graph.items():
        kind = str(node.get("class_type"))
        for name in _lists(kind, schemas):
            value = (node.get("inputs") or {}).get(name)
            options = input_specs(schemas[kind])[name].options or ()
            if not isinstance(value, str) or value in options:
                continue
            row = next((rows[key] for key in rows if key[1] == value and key[0] == folder_of(kind, name)), None)
            row = row or next((item for item in all_weights() if item.name == value), None)
            folder = row.folder if row is not None else folder_of(kind, name)
            if (folder, value) in done or (row is None and "lora" in name.lower()):
                continue
            done.add((folder, value))
            yield MissingFile(str(node_id), kind, name, folder, value, tuple(map(str, options)), row)


def _named_files(node: Mapping[str, Any], schemas: Schemas) -> Iterator[str]:
    """Yield the files that a node names in inputs whose list the server shows."""
    kind = str(node.get("class_type"))
    for name in _lists(kind, schemas):
        value = (node.get("inputs") or {}).get(name)
        if isinstance(value, str):
            yield value


def _lists(kind: str, schemas: Schemas) -> tuple[str, ...]:
    """List the inputs of a node class that choose among the server's files, judged by those files or by the input's name.

    By the name too: a server without any VAE lists ``["pixel_space"]``, which is no file.
    """
    if kind not in schemas:
        return ()
    chosen = [name for name, spec in input_specs(schemas[kind]).items() if spec.options is not None and folder_of(kind, name)]
    return tuple(dict.fromkeys([*file_inputs(schemas[kind]), *chosen]))


def _release_with(classes: list[str]) -> str:
    """The oldest release whose schemas are known and that has all these classes."""
    return next((name for name in reversed(VERSIONS) if set(classes) <= set(node_schemas(name))), GRAPH_VERSION)


def _pack_command(pack: NodePack) -> str:
    place = f"COMFYUI/custom_nodes/{pack.name}"
    return f"git clone {pack.repo} {place} && git -C {place} checkout {pack.commit}, with the Python packages that it lists"


def _list_text(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
