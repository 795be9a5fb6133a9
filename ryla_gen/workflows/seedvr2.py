"""Define the SeedVR2 workflow, which enlarges a picture or a video. Source of the graphs: the node pack's own example workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ..graphs.graph import Graph, Node
from .base import IMAGE_TIME_LIMIT, Files, Workflow
from .choices import OutputFormat
from .facts import Duration, Example, Work, number
from .fields import ImageInput, VideoInput, four_n_plus_one

DIT = {"3b": "seedvr2_ema_3b_fp8_e4m3fn.safetensors", "7b": "seedvr2_ema_7b_fp16.safetensors"}
DEFAULT_RESOLUTION = 1080
"""Shortest edge when neither resolution nor scale is given: the node's own default."""
MAX_RESOLUTION = 4320
"""Shortest edge of 8K video; beyond it no single GPU has been seen to work."""
VIDEO_TIME_LIMIT = 1800.0
"""Seconds a video may take. Not measured: a bound against a runaway bill."""
ColorCorrection = Literal["lab", "wavelet", "wavelet_adaptive", "hsv", "adain", "none"]


class SeedVR2(Workflow):
    """SeedVR2 upscaling of one picture or one video. Apache-2.0, free for commercial use."""

    name: ClassVar[str] = "seedvr2"
    family: ClassVar[str] = "upscale"
    durations: ClassVar[Mapping[str, Duration]] = {
        "image": Duration(3.0, 15.0, 60.0, "no time was published for this GPU", known=False),
        "video": Duration(30.0, 300.0, 1800.0, "no time was published, and the video is not looked at", known=False),
    }
    smallest: ClassVar[Mapping[str, Any]] = {"resolution": 512, "seed": 0}
    example: ClassVar[Example | None] = Example(
        {"image": "small.png", "scale": 2, "seed": 7},
        "large.png",
        after="A video goes in as `video=`, keeps its sound, and comes out as mp4.",
    )

    image: ImageInput | None = Field(default=None, repr=False)
    """Picture to enlarge. Either this or ``video``."""
    video: VideoInput | None = Field(default=None, repr=False)
    """Video to enlarge, sound kept. Either this or ``image``."""
    resolution: int | None = Field(default=None, ge=256, le=MAX_RESOLUTION, multiple_of=2)
    """Shortest edge of the result in pixels, even, 256 to 4320. 1080 when neither this nor ``scale`` is given."""
    scale: float | None = Field(default=None, gt=0, le=8)
    """Factor by which the shortest edge grows, up to 8. Either this or ``resolution``."""
    model: Literal["3b", "7b"] = Field(default="3b")
    """Size of the model. 3b (fp8) is the example's; 7b (fp16) is better and slower."""
    batch_size: int = Field(default=33, ge=1, le=257)
    """Frames of a video worked on together, 4n+1, 1 to 257. 33 is the example's. A picture is always alone."""
    color_correction: ColorCorrection = Field(default="lab")
    """How colours are matched to the input. lab is the node's own default."""
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1)
    """Seed of the noise, 0 to 2³²−1 (the node's own range). Random by default."""
    output_format: OutputFormat = Field(default="png")
    """File type of an enlarged picture: png (lossless), jpeg or webp. A video is always mp4."""

    _frames = field_validator("batch_size")(four_n_plus_one)

    @model_validator(mode="after")
    def _choices(self) -> Self:
        if (self.image is None) == (self.video is None):
            raise PydanticCustomError("one_input", "Give either image or video")
        if self.resolution is not None and self.scale is not None:
            raise PydanticCustomError("one_size", "Give either resolution or scale")
        return self

    def time_limit(self) -> float:
        """Return 120 s for a picture, 1,800 s for a video."""
        return IMAGE_TIME_LIMIT if self.image is not None else VIDEO_TIME_LIMIT

    @classmethod
    def work(cls, inputs: Mapping[str, Any]) -> Work:
        """Measure a request by its shortest edge; a scale says nothing while the input is not read."""
        kind = "image" if inputs.get("image") is not None else "video"
        edge = number(inputs, "resolution", DEFAULT_RESOLUTION)
        return Work((kind, str(inputs.get("model"))), edge * edge)

    def makes_several(self) -> bool:
        """Return False: its batch is the frames of one video that it looks at together."""
        return False

    def shortest_edge(self) -> int:
        """Return the shortest edge of the result in pixels; for ``scale`` the input must have been read.

        Raises:
            InvalidInputError: the scaled edge is outside 256 to 4320.

        """
        if self.scale is None:
            return self.resolution or DEFAULT_RESOLUTION
        source = self.image if self.image is not None else self.video
        if not isinstance(source, bytes) or not source:
            return DEFAULT_RESOLUTION  # the input was not read yet, or it stayed with another process
        from .. import media

        info = media.probe_image(source) if self.image is not None else media.probe_video(source)
        edge = round(min(info.width, info.height) * self.scale / 2) * 2
        return self.changed(scale=None, resolution=edge).resolution or edge

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return loader → upscaler → picture, or the same over the frames of a video."""
        graph = Graph()
        video = self.image is None
        dit = graph.add(
            "SeedVR2LoadDiTModel",
            model=DIT[self.model],
            device="cuda:0",
            blocks_to_swap=0,
            swap_io_components=False,
            offload_device="none",
            cache_model=False,
            attention_mode="sdpa",
        )
        vae = self._vae(graph, tiled=video)
        if not video:
            frames = self._upscale(graph, {"image": graph.add("LoadImage", image=files.of("image"))}, dit, vae, batch=1)
            graph.add("SaveImage", images=frames, filename_prefix=files.prefix)
            return graph
        parts = graph.add("GetVideoComponents", video=graph.add("LoadVideo", file=files.of("video", ".mp4")))
        frames = self._upscale(graph, {"image": parts}, dit, vae, batch=self.batch_size)
        result = graph.add("CreateVideo", images=frames, audio=parts[1], fps=parts[2])
        graph.add("SaveVideo", video=result, filename_prefix=files.prefix, format="mp4", codec="h264")
        return graph

    def _vae(self, graph: Graph, *, tiled: bool) -> Node:
        """Add the VAE. Tiles keep a video's memory bounded; sizes are the example's."""
        return graph.add(
            "SeedVR2LoadVAEModel",
            model="ema_vae_fp16.safetensors",
            device="cuda:0",
            encode_tiled=tiled,
            encode_tile_size=1024,
            encode_tile_overlap=128,
            decode_tiled=tiled,
            decode_tile_size=768 if tiled else 1024,
            decode_tile_overlap=128,
            tile_debug="false",
            offload_device="none",
            cache_model=False,
        )

    def _upscale(self, graph: Graph, source: dict[str, Node], dit: Node, vae: Node, *, batch: int) -> Node:
        together = batch > 1
        return graph.add(
            "SeedVR2VideoUpscaler",
            **source,
            dit=dit,
            vae=vae,
            seed=self.seed or 0,
            resolution=self.shortest_edge(),
            max_resolution=0,
            batch_size=batch,
            uniform_batch_size=together,
            temporal_overlap=3 if together else 0,
            prepend_frames=0,
            color_correction=self.color_correction,
            input_noise_scale=0.0,
            latent_noise_scale=0.0,
            offload_device="cpu",
            enable_debug=False,
        )
