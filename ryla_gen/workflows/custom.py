"""Run the caller's own ComfyUI graph, checked for what would harm a server, with prompt, seed and images inserted."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ..errors import InvalidInputError
from ..graphs.api_format import CONVERT_HELP, EXPORT_HELP, SEED_INPUTS, checked_nodes, positive_texts, unwrap
from ..graphs.graph import Graph, is_link
from ..graphs.graph_file import read_json
from ..graphs.inputs import with_values
from ..support.shell_words import path_word
from .abilities import lora_places
from .base import IMAGE_TIME_LIMIT, Files, Seed, Workflow
from .choices import OutputFormat
from .facts import Example, Work, graph_work
from .fields import ImageInput, model_file


class CustomWorkflow(Workflow):
    """Any ComfyUI graph in the API format."""

    name: ClassVar[str] = "workflow"
    family: ClassVar[str] = "custom"
    own_graph: ClassVar[bool] = True
    example: ClassVar[Example | None] = Example(
        {"graph": "my_graph_api.json", "prompt": "a fox", "seed": 7},
        "fox.png",
        before="`my_graph_api.json` comes from ComfyUI's menu: Workflow, Export (API).",
        after="From an exported graph to a typed workflow of your own: [Your own graphs](../your-own-graphs.md) and "
        "[Adding a workflow](../adding-a-workflow.md).",
    )

    graph: dict[str, Any] = Field(repr=False)
    """The graph in ComfyUI's API format: node id → class_type and inputs."""
    prompt: str | None = Field(default=None, max_length=20_000)
    """Text for the CLIPTextEncode nodes that reach a sampler's positive input. The graph's own when absent."""
    seed: Seed = Field(default=None)
    """Seed for every sampler of the graph, 0 to 2⁶⁴−1. The graph's own when absent."""
    images: dict[str, ImageInput] = Field(default_factory=dict, repr=False)
    """Pictures for the graph's LoadImage nodes: the file name the graph mentions (or the node's id) → picture."""
    limit: float = Field(default=IMAGE_TIME_LIMIT, gt=0, le=86_400)
    """Seconds the graph may run, above 0 and up to 86400 (a day). 120 is RYLA's own limit for an image."""
    output_format: OutputFormat = Field(default="png")
    """File type of the pictures: png as ComfyUI wrote them, or re-encoded as jpeg or webp."""

    @classmethod
    def from_file(cls, path: str | PathLike[str], **fields: Any) -> Self:
        """Read the graph from a JSON file.

        Raises:
            InvalidInputError: there is no such file, or it holds no graph in the API format.

        """
        graph = read_json(path)
        if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
            command = f"ryla-gen graph convert {path_word(path)} -o graph_api.json"
            text = f"{path} is in ComfyUI's UI format, which servers cannot run."
            raise InvalidInputError(text, f"Convert it: {command}. Or: {EXPORT_HELP}")
        return cls(graph=graph, **fields)

    def with_values(self, values: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]] | None = None) -> Self:
        """Return this request with other values in its graph.

        Args:
            values: ``{"3.seed": 42}``: a node's id (or title or class, where only one node has it), a dot, an input.
            schemas: a server's node schemas, which tell types and ranges; the packaged ones when absent.

        Raises:
            InvalidInputError: no such place, a link there, or a value that does not fit.

        """
        return self.changed(graph=with_values(self.graph, values, schemas))

    @field_validator("graph", mode="before")
    @classmethod
    def _api_format(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise PydanticCustomError("not_a_graph", "Must be a dictionary of nodes, not {kind}", {"kind": type(value).__name__})
        value = unwrap(value)
        if isinstance(value.get("nodes"), list):
            raise PydanticCustomError("ui_format", f"This is ComfyUI's UI format, which servers cannot run. {CONVERT_HELP}")
        return checked_nodes(value)

    @model_validator(mode="after")
    def _places(self) -> Self:
        for node_id, node in self.graph.items():
            if "load" in node["class_type"].lower():
                _check_files(node_id, node, self.images)
        if self.prompt is not None and not list(positive_texts(self.graph)):
            raise PydanticCustomError("no_prompt_node", "No CLIPTextEncode node of the graph reaches a sampler's positive input")
        for key in self.images:
            if not list(_image_places(self.graph, key)):
                known = sorted({str(node["inputs"].get("image")) for node in self.graph.values() if "image" in node["inputs"]})
                known = [name.encode("utf-8", "replace").decode() for name in known]  # pydantic takes no lone surrogates
                text = "images: no LoadImage node has the name or file {key}; the graph loads {known}"
                raise PydanticCustomError("no_image_node", text, {"key": repr(key), "known": ", ".join(known) or "no picture"})
        return self

    @classmethod
    def work(cls, inputs: Mapping[str, Any]) -> Work:
        """Measure a request by its graph, as far as it can be read: the journal may hold another version's."""
        return graph_work(inputs.get("graph"))

    def time_limit(self) -> float:
        """Return the caller's ``limit``."""
        return self.limit

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return the graph with prompt, seed and uploaded pictures in place, its files saved under the request's own folder."""
        api = copy.deepcopy(self.graph)
        if self.prompt is not None:
            for node_id, name in positive_texts(api):
                api[node_id]["inputs"][name] = self.prompt
        for key in self.images:
            for node_id, name in list(_image_places(api, key)):
                api[node_id]["inputs"][name] = files.of(f"images[{key}]")
        for node_id, name, lora_id in list(lora_places(api)):
            stored = files.lora(lora_id)
            if lora_id in files.loras:  # any other file is the server's own, called as the graph calls it
                api[node_id]["inputs"][name] = stored
        folder = files.prefix.rpartition("/")[0]
        for node in api.values():
            _personalise(node["inputs"], self.seed, folder)
        return Graph.from_api(api)


def _image_places(api: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    for node_id, node in api.items():
        value = node["inputs"].get("image")
        if isinstance(value, str) and key in (node_id, value):
            yield node_id, "image"


def _personalise(inputs: dict[str, Any], seed: int | None, folder: str) -> None:
    for name in SEED_INPUTS:
        if seed is not None and name in inputs and not is_link(inputs[name]):
            inputs[name] = seed
    prefix = inputs.get("filename_prefix")
    if isinstance(prefix, str) and folder:
        # Only the last part: a prefix may name folders, or climb out of them.
        inputs["filename_prefix"] = f"{folder}/{prefix.replace(chr(92), '/').rpartition('/')[2].strip('.') or 'output'}"


def _check_files(node_id: str, node: Mapping[str, Any], images: Mapping[str, Any]) -> None:
    """Refuse graphs whose LoadImage names absolute or ../ paths, which ComfyUI opens, unless the caller's picture replaces them."""
    for name, text in node["inputs"].items():
        if name == "image" and (node_id in images or text in images):
            continue
        if isinstance(text, str) and ("/" in text or "\\" in text or ".." in text or text.startswith("~")):
            try:
                model_file(text)
            except PydanticCustomError:
                message = "Node {node} ({kind}) loads {name}={text}, which is outside the server's own folder{way_out}"
                facts = {"node": node_id, "kind": node["class_type"], "name": name, "text": repr(text[:100])}
                facts["way_out"] = f"; name another one: --set {shlex.quote(f'{node_id}.{name}')}=NAME"
                if name == "image":
                    facts["way_out"] = f"; give a picture in its place: --image {shlex.quote(node_id)}=FILE"
                encodable = {key: fact.encode("utf-8", "replace").decode() for key, fact in facts.items()}
                raise PydanticCustomError("unsafe_file", message, encodable) from None
