"""Define what every workflow is: a frozen request with documented fields that knows its graph and the weights it needs.

Knows no server, no backend and no file of the caller: media fields hold references until ``resolved()`` reads them.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from importlib import import_module
from inspect import get_annotations
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ..locks.families import family_lock
from ..locks.image_lock import ImageLock
from ..models.weights_table import Weights, weights_for
from ..support.shell_words import path_word
from . import abilities
from .facts import Duration, Example, OutputKind, Work, sampling_work
from .fields import Elsewhere, MediaKind, explain, held_media, media_kinds, summary, transparent_places, with_media
from .parts import StrictNumbers
from .presets import merged

if TYPE_CHECKING:
    from ..graphs.graph import Graph
    from ..locks.graph_lock import GraphLock
    from ..media import References

DRAWN_SEED_LIMIT = 2**32
"""Drawn seeds stay below this: safe for JavaScript, SQLite and every node."""

IMAGE_TIME_LIMIT = 120.0
"""Seconds an image may take, from the moment its graph starts; RYLA's own limit."""

Seed = Annotated[int | None, Field(ge=0, le=2**64 - 1)]
"""ComfyUI's samplers take 64-bit seeds."""


@dataclass(frozen=True, slots=True)
class Files:
    """The names that files have on the server; only the engine knows them when the graph is built."""

    prefix: str = "ryla"
    """Prefix of output files, such as ``ryla/<job>/flux_dev``."""
    media: Mapping[str, str] = field(default_factory=dict)
    """Uploaded name of each media field."""
    loras: Mapping[str, str] = field(default_factory=dict)
    """Stored file of each LoRA id."""

    @classmethod
    def preview(cls) -> Files:
        """Name files for a graph that is not run: to look at, to check, to list its nodes."""
        return cls()

    def of(self, name: str, suffix: str = ".png") -> str:
        """Name of the uploaded file of one media field."""
        return self.media.get(name, f"{name}{suffix}")

    def lora(self, lora_id: str) -> str:
        """Name of the stored file of one LoRA; a plain ``<id>.safetensors`` when no other is known."""
        return self.loras.get(lora_id, f"{lora_id}.safetensors")


class _AskedFiles(Files):
    """Preview names, and a record of what a ``build`` asked for."""

    names: dict[str, str]
    """Media field (``field[key]`` in a mapping) of each name that was handed out."""
    lora_ids: set[str]
    """LoRAs that were asked for."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "names", {})  # its base is frozen
        object.__setattr__(self, "lora_ids", set())

    def of(self, name: str, suffix: str = ".png") -> str:
        handed = super().of(name, suffix)
        self.names[handed] = name
        return handed

    def lora(self, lora_id: str) -> str:
        self.lora_ids.add(lora_id)
        return super().lora(lora_id)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the caller should know about a request that runs all the same."""

    code: str
    message: str


class Workflow(StrictNumbers):
    """Base of all workflows. Subclass it, name it, give it fields and a ``build``."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
        ser_json_bytes="base64",
        protected_namespaces=(),
        defer_build=True,  # a class is built when it is first used: most programs use one or two of them
    )

    name: ClassVar[str]
    """Name in the contract, the CLI and the client: lower case with underscores."""
    family: ClassVar[str]
    """Model family: flux, faces, video, upscale or custom. It decides which container runs it."""
    lock: ClassVar[GraphLock | None] = None
    """What pins it, for a graph that has an image and a Modal app of its own; None: its family's lock does."""
    own_graph: ClassVar[bool] = False
    """Whether its graph is the caller's own: it has its own seeds, and only the server knows which of its files are there."""
    lora_base: ClassVar[str | None] = None
    """Base model that its LoRAs have to be for, whatever checkpoint is chosen; None: the graph's model decides."""
    output_kind: ClassVar[OutputKind | None] = None
    """What every run of it makes; None: the request or the graph decides."""
    durations: ClassVar[Mapping[str, Duration]] = MappingProxyType({})
    """Seconds of a run, by variant; the empty one is for every variant without an entry of its own."""
    example: ClassVar[Example | None] = None
    """One small call of it."""
    added: ClassVar[frozenset[str]] = frozenset()
    """Fields that came to a workflow after its first version. Where they hold their defaults they are neither sent nor noted, so
    that apps and files of before and after read each other; a class has those of its bases too."""
    smallest: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Fields of the cheapest request that loads the same weights: with these a new container warms up."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Take each field from the nearest class that declares it; pydantic takes the first base's, even if only inherited."""
        super().__pydantic_init_subclass__(**kwargs)
        for name in cls.__pydantic_fields__:
            bases = (base for base in cls.__mro__[1:] if issubclass(base, BaseModel) and name in get_annotations(base))
            if name not in get_annotations(cls) and (owner := next(bases, None)) is not None:
                cls.__pydantic_fields__[name] = copy(owner.__pydantic_fields__[name])

    if not TYPE_CHECKING:  # editors and checkers see the signature that pydantic derives from the fields

        def __init__(self, /, **data: Any) -> None:
            try:
                super().__init__(**data)
            except ValidationError as error:
                raise explain(type(self), error, _elsewhere(type(self))) from None

        # Without this mark pydantic would call __init__ from model_validate and lose the context.
        __init__.__pydantic_base_init__ = True

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen, so sharing it is safe
        """Return the ComfyUI graph of this request."""
        raise NotImplementedError(f"{type(self).__name__} must define build()")

    def required_weights(self) -> tuple[Weights, ...]:
        """Return the weights files that this request's graph loads."""
        return weights_for(self.build().to_api())

    def required_nodes(self) -> frozenset[str]:
        """Return the node classes that this request's graph uses."""
        return self.build().class_types()

    def stored_loras(self) -> dict[str, str | None]:
        """Return the ids of the stored LoRAs that the graph asks for, each with the base model it has to be for, where known."""
        files = _AskedFiles()
        graph = self.build(files).to_api()
        named = {value for node in graph.values() for value in node["inputs"].values() if isinstance(value, str)}
        ids = sorted(lora_id for lora_id in files.lora_ids if self.own_graph or files.preview().lora(lora_id) in named)
        bases = {lora_id: abilities.lora_base(graph, node_id) for node_id, _, lora_id in abilities.lora_places(graph)}
        found = {lora_id: bases.get(lora_id) or self.lora_base for lora_id in ids}
        # The graph's answer may name the model's size too (``wan 14B``); another base than the class's is the checkpoint's alone.
        own = self.lora_base
        return {lora_id: base if own is None or (base or "").split(" ")[0] == own else own for lora_id, base in found.items()}

    def face_pictures(self) -> dict[str, bytes | None]:
        """Return the pictures that have to show a face and whose node does not look for one itself, by their field.

        The value is None for a picture that is not a part of the request (it lies on the server), or has not been read yet.
        """
        files = _AskedFiles()
        found: dict[str, bytes | None] = {}
        for name in abilities.face_files(self.build(files).to_api()):
            place = files.names.get(name, name)
            held = dict(held_media(place.partition("[")[0], getattr(self, place.partition("[")[0], None))).get(place)
            found[place] = held if isinstance(held, bytes) and held else None
        return found

    @classmethod
    def image_lock(cls) -> ImageLock:
        """Return what its image is made of."""
        return family_lock(cls.family)

    @classmethod
    def lock_digest(cls) -> str:
        """Return by what its lock is told from another; empty where it has none, or none that was read from a file."""
        return ""

    def checks_files(self) -> bool:
        """Return whether a server must list every file that the graph names, before it is asked to run it."""
        return not self.own_graph

    @classmethod
    def deploy_command(cls) -> str:
        """Return the command that deploys the Modal app which serves it."""
        return f"ryla-gen deploy {path_word(cls.lock_file())}" if cls.lock is not None else "ryla-gen deploy"

    @classmethod
    def lock_file(cls) -> str:
        """Return the file of its lock, as commands name it; empty for a workflow without one."""
        return f"{cls.lock.name}.lock" if cls.lock is not None else ""

    def time_limit(self) -> float:
        """Return the seconds the graph may run, from its start on the GPU."""
        return IMAGE_TIME_LIMIT

    @classmethod
    def work(cls, inputs: Mapping[str, Any]) -> Work:
        """Measure a request by its fields, as ``described()`` gives them and the journal keeps them."""
        return sampling_work(inputs)

    def makes_several(self) -> bool:
        """Return whether a run makes several files, as far as the request tells."""
        return (getattr(self, "batch_size", None) or 1) > 1

    def notices(self) -> tuple[Notice, ...]:
        """Return what the caller should know although the request runs, that a picture's hidden colours are used among it."""
        transparent = transparent_places(self)
        if not transparent:
            return ()
        files = _AskedFiles()
        hidden = {files.names.get(name) for name in abilities.hidden_colour_files(self.build(files).to_api())}
        text = "{} has a transparent part; its hidden colours are used. Paint that part in the colours you want."
        return tuple(Notice("hidden_colours_used", text.format(place)) for place in transparent if place in hidden)

    @classmethod
    def media_fields(cls) -> dict[str, MediaKind]:
        """Return the names of the fields that hold pictures or videos, with their kind."""
        return media_kinds(cls)

    @classmethod
    def takes_seed(cls) -> bool:
        """Return whether a field holds the seed of a run; a graph of the caller's own has its seeds inside."""
        return "seed" in cls.model_fields and not cls.own_graph

    def seeded(self) -> Self:
        """Return this request with a seed: its own, or a fresh one below 2³²."""
        return self.with_seed(secrets.randbelow(DRAWN_SEED_LIMIT))

    def with_seed(self, seed: int | None) -> Self:
        """Return this request with the seed of a run of it, unless it names one itself or takes none."""
        lacks = self.takes_seed() and getattr(self, "seed", None) is None
        return self.changed(seed=seed) if lacks and seed is not None else self

    def changed(self, **fields: Any) -> Self:
        """Return a copy with other values, validated again. A preset such as ``speed`` brings its own steps and size again."""
        return type(self).from_plain(merged(type(self), self.to_plain(), fields), trusted=True)

    async def resolved(self, references: References | None = None) -> Self:
        """Return this request with every picture and video read into bytes.

        Args:
            references: whether paths and addresses are read, and addresses of private networks; None is what is usual.

        Raises:
            InvalidInputError: a file is missing, broken, too large, not a picture, or a reference that is not read.

        """
        from .. import media

        found: dict[str, Any] = {}
        for name, kind in self.media_fields().items():
            source = getattr(self, name)
            places = {
                place: await media.read(value, kind, name=place, references=references or media.USUAL)
                for place, value in held_media(name, source)
            }
            found |= {name: with_media(source, places, name)} if source is not None else {}
        return self.changed(**found) if found else self

    def to_plain(self) -> dict[str, Any]:
        """Return the fields as plain data; media as they are held."""
        return self.model_dump(mode="python")

    def to_sent(self) -> dict[str, Any]:
        """Return the fields as they are sent and noted: less those of ``added`` that hold their defaults."""
        added = frozenset[str]().union(*(vars(base).get("added", ()) for base in type(self).__mro__))
        fields = type(self).model_fields
        return {key: value for key, value in self.to_plain().items() if key not in added or value != fields[key].default}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], *, trusted: bool = False) -> Self:
        """Build a request from plain data.

        With ``trusted=False``, as on a server, media fields accept bytes and data URLs only.

        Raises:
            InvalidInputError: a field does not fit, or is unknown.

        """
        try:
            return cls.model_validate(dict(data), context={"trusted": trusted})
        except ValidationError as error:
            raise explain(cls, error, _elsewhere(cls)) from None

    def described(self) -> dict[str, Any]:
        """Return the fields for the journal and for metadata: a picture becomes its hash and size."""
        return {key: summary(value) for key, value in self.to_sent().items()}


def _elsewhere(cls: type[Workflow]) -> Elsewhere:
    """Return what names the other workflows with a field: the registry, by its name, since its classes build on this module."""
    return lambda field: import_module(".registry", __package__).with_field(field, cls)


class PromptedWorkflow(Workflow):
    """Base of the workflows that sample a picture or a video from a prompt, of a size that something else may decide."""

    output_kind: ClassVar[OutputKind | None] = "image"
    smallest: ClassVar[Mapping[str, Any]] = MappingProxyType({"steps": 1, "width": 512, "height": 512, "seed": 0})

    prompt: str = Field(min_length=1, max_length=20_000)
    """What to show. At most 20,000 characters; the text encoders read the first 77 (CLIP) or 512 (T5) tokens closely."""
    negative_prompt: str = Field(default="", max_length=20_000)
    """What to avoid. Without effect at cfg 1, where ComfyUI skips the negative branch."""
    steps: int = Field(default=20, ge=1, le=100)
    """Sampling steps, 1 to 100. More steps change less and cost more."""
    cfg: float = Field(default=1.0, ge=0, le=30)
    """Classifier-free guidance scale, 0 to 30. 1 runs the model once a step, anything else twice."""
    seed: Seed = Field(default=None)
    """Seed of the noise, 0 to 2⁶⁴−1. The same request with the same seed gives the same picture. Random by default."""

    def _latent(self, graph: Graph, vae: Any, files: Files) -> Any:
        """Add what is sampled from, and return it: the model's empty latent, unless a base puts a picture there."""
        return self._empty(graph)

    def _empty(self, graph: Graph) -> Any:
        """Add the empty latent of the model, and return it."""
        raise NotImplementedError(f"{type(self).__name__} must define _empty()")

    def _denoise(self) -> float:
        """Return how much of the latent is drawn anew: all of it, unless a base says otherwise."""
        return 1.0

    @field_validator("prompt", mode="after")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise PydanticCustomError("blank", "The prompt is empty")
        return value

    def notices(self) -> tuple[Notice, ...]:
        """Return a notice when the negative prompt has no effect, unless it is the workflow's own."""
        chosen = self.negative_prompt != type(self).model_fields["negative_prompt"].default
        if chosen and self.negative_prompt.strip() and not self._reads_negative():
            text = "The negative prompt has no effect at cfg 1: ComfyUI skips the negative branch. Set cfg above 1 to use it."
            return (*super().notices(), Notice("negative_prompt_ignored", text))
        return super().notices()

    def _reads_negative(self) -> bool:
        return self.cfg != 1.0


class SampledWorkflow(PromptedWorkflow):
    """Base of the workflows that sample a picture or a video of a given size from a prompt."""

    width: int = Field(default=1024, ge=256, le=2048, multiple_of=16)
    """Width in pixels, 256 to 2048, a multiple of 16."""
    height: int = Field(default=1024, ge=256, le=2048, multiple_of=16)
    """Height in pixels, 256 to 2048, a multiple of 16."""


def largest(megapixels: float, multiple: int) -> Any:
    """Return a validator that bounds width × height and offers the nearest size of the same shape."""

    def check(self: Any) -> Any:
        pixels = (self.width or 0) * (self.height or 0)  # None: the size of a picture that was not read yet
        if pixels > megapixels * 1e6:
            shrink = (megapixels * 1e6 / pixels) ** 0.5
            fits = tuple(int(side * shrink) // multiple * multiple for side in (self.width, self.height))
            raise PydanticCustomError(
                "too_many_pixels",
                "{width}×{height} is {given} megapixels; this model takes at most {limit}",
                {
                    "width": self.width,
                    "height": self.height,
                    "given": round(pixels / 1e6, 2),
                    "limit": megapixels,
                    "nearest": f"width={fits[0]}, height={fits[1]}",
                },
            )
        return self

    return model_validator(mode="after")(check)
