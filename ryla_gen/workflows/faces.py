"""Keep a face: InstantID on SDXL, InstantID refined by FLUX.1 dev, and PuLID inside FLUX.1 dev.

InstantID is SDXL-only: on Flux its shapes do not fit, so ``FluxInstantID`` runs two models in one graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, field_validator

from ..graphs.graph import Graph, Link, Node
from .base import IMAGE_TIME_LIMIT, Files, SampledWorkflow, largest
from .choices import PROVIDER_NAME, FaceProvider, OutputFormat, Sampler, Scheduler
from .facts import Duration, Example, Work, number
from .fields import CheckpointName, ImageInput, model_file
from .flux import DEV, DEV_MEASURED, FluxDevWorkflow
from .pictures import redrawn_share
from .sdxl import SDXL_MEASURED

REALVIS = "RealVisXL_V5.0_fp16.safetensors"
INSTANTID_NEGATIVE = "deformed, glitch, noisy, watermark, text"
FACES_MEASURED = f"{SDXL_MEASURED}; what the face model and its ControlNet add was not measured"
"""Source of the expected durations of the pictures that InstantID makes with SDXL."""
FACE_FILE = "`face.png` is a picture of one person, face to the camera."


class _InstantIDStage(SampledWorkflow):
    """The SDXL picture with the face of the reference."""

    negative_prompt: str = Field(default=INSTANTID_NEGATIVE, max_length=20_000)
    """What to avoid. The default is shortened from InstantID's example graph."""
    reference_image: ImageInput = Field(repr=False)
    """Picture of the face to keep: one person, face to the camera, some room around the head."""
    instantid_strength: float = Field(default=0.8, ge=0, le=1)
    """How strongly the identity acts, 0 to 1. 0.8 is the node's own default."""
    controlnet_strength: float = Field(default=0.8, ge=0, le=1)
    """How strongly the position of the facial features acts, 0 to 1. 0.8 is the node's own default."""
    face_provider: FaceProvider = Field(default="CPU")
    """Where the face is looked for; CPU works everywhere and takes about a second."""
    batch_size: int = Field(default=1, ge=1, le=16)
    """Pictures from one run, 1 to 16, each with its own noise."""
    output_format: OutputFormat = Field(default="png")
    """File type of the pictures: png (lossless), jpeg or webp."""

    def _sdxl(self, graph: Graph, files: Files, stage: dict[str, object]) -> Node:
        """Add the SDXL picture, decoded, after cubiq's example InstantID_basic."""
        model = graph.add("CheckpointLoaderSimple", ckpt_name=stage["checkpoint"])
        adapter = graph.add("InstantIDModelLoader", instantid_file="ip-adapter.bin")
        analysis = graph.add("InstantIDFaceAnalysis", provider=PROVIDER_NAME[self.face_provider])
        control = graph.add("ControlNetLoader", control_net_name="instantid/diffusion_pytorch_model.safetensors")
        face = graph.add("LoadImage", image=files.of("reference_image"))
        positive = graph.add("CLIPTextEncode", text=self.prompt, clip=model[1])
        negative = graph.add("CLIPTextEncode", text=self.negative_prompt, clip=model[1])
        latent = graph.add("EmptyLatentImage", width=self.width, height=self.height, batch_size=self.batch_size)
        bound = graph.add(
            "ApplyInstantIDAdvanced",
            instantid=adapter,
            insightface=analysis,
            control_net=control,
            image=face,
            model=model,
            positive=positive,
            negative=negative,
            ip_weight=self.instantid_strength,
            cn_strength=self.controlnet_strength,
            start_at=0.0,
            end_at=1.0,
            noise=0.0,
            combine_embeds="average",
        )
        sampled = graph.add(
            "KSampler",
            model=bound,
            positive=bound[1],
            negative=bound[2],
            latent_image=latent,
            seed=self.seed or 0,
            steps=stage["steps"],
            cfg=stage["cfg"],
            sampler_name=stage["sampler"],
            scheduler=stage["scheduler"],
            denoise=1.0,
        )
        return graph.add("VAEDecode", samples=sampled, vae=model[2])


class InstantID(_InstantIDStage):
    """SDXL with InstantID: the face of a reference picture in a new scene. The face models are for research only."""

    name: ClassVar[str] = "instantid"
    family: ClassVar[str] = "faces"
    durations: ClassVar[Mapping[str, Duration]] = {"": Duration(5.0, 12.0, 40.0, FACES_MEASURED, known=False)}
    example: ClassVar[Example | None] = Example(
        {"prompt": "an astronaut", "reference_image": "face.png", "width": 512, "height": 512, "steps": 8, "seed": 7},
        "astronaut.png",
        before=FACE_FILE,
        after="A face swap or a whole sheet of angles from one picture: [Characters](../characters.md).",
    )

    width: int = Field(default=1016, ge=256, le=2048, multiple_of=8)
    """Width in pixels, 256 to 2048, a multiple of 8. 1016 keeps the training pictures' watermarks away (InstantID's node pack)."""
    height: int = Field(default=1016, ge=256, le=2048, multiple_of=8)
    """Height in pixels, 256 to 2048, a multiple of 8. 1016 as for the width."""
    steps: int = Field(default=30, ge=1, le=100)
    """Sampling steps, 1 to 100. 30 is the example graph's."""
    cfg: float = Field(default=4.5, ge=0, le=30)
    """Classifier-free guidance scale, 0 to 30. 4.5 is the example graph's."""
    sampler: Sampler = Field(default="ddpm")
    """Sampler. ddpm is the example graph's."""
    scheduler: Scheduler = Field(default="karras")
    """Noise schedule. karras is the example graph's."""
    checkpoint: CheckpointName = Field(default=REALVIS)
    """SDXL checkpoint file on the server; the default is RealVisXL 5.0."""

    _safe_checkpoint = field_validator("checkpoint")(model_file)
    # SDXL was trained at about one megapixel; twice that repeats heads.
    _fits = largest(2.4, 8)

    def time_limit(self) -> float:
        """Return 120 s for the default size and steps, and in proportion for more work."""
        return IMAGE_TIME_LIMIT * max(1.0, self.steps * self.width * self.height * self.batch_size / (30 * 1016 * 1016))

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return the InstantID graph."""
        graph = Graph()
        stage = {
            "checkpoint": self.checkpoint,
            "steps": self.steps,
            "cfg": self.cfg,
            "sampler": self.sampler,
            "scheduler": self.scheduler,
        }
        graph.add("SaveImage", images=self._sdxl(graph, files, stage), filename_prefix=files.prefix)
        return graph


class FluxInstantID(_InstantIDStage):
    """An InstantID picture refined by FLUX.1 dev in the same graph. Non-commercial, by both models' licences."""

    name: ClassVar[str] = "flux_instantid"
    family: ClassVar[str] = "faces"
    durations: ClassVar[Mapping[str, Duration]] = {
        "": Duration(20.0, 45.0, 120.0, f"the sum of instantid and flux_dev: {FACES_MEASURED}", known=False),
    }
    smallest: ClassVar[Mapping[str, Any]] = {**SampledWorkflow.smallest, "instantid_steps": 1}
    example: ClassVar[Example | None] = Example(
        {"prompt": "an astronaut", "reference_image": "face.png", "width": 512, "height": 512, "instantid_steps": 8, "seed": 7},
        "refined.png",
        before=FACE_FILE,
        after="InstantID works on SDXL only. This graph makes the SDXL picture first and lets FLUX.1 dev redraw it a little: the "
        "higher `refine_denoise`, the more Flux and the less likeness.",
    )

    width: int = Field(default=1024, ge=256, le=2048, multiple_of=16)
    """Width in pixels of both stages, 256 to 2048, a multiple of 16. 1024 is ComfyUI's Flux template's."""
    height: int = Field(default=1024, ge=256, le=2048, multiple_of=16)
    """Height in pixels of both stages, 256 to 2048, a multiple of 16. 1024 as for the width."""
    steps: int = Field(default=20, ge=1, le=100)
    """Sampling steps of the Flux stage, 1 to 100. 20 is ComfyUI's Flux template's."""
    cfg: float = Field(default=1.0, ge=0, le=30)
    """Classifier-free guidance scale of the Flux stage, 0 to 30. 1 is ComfyUI's Flux template's: ``guidance`` guides."""
    sampler: Sampler = Field(default="euler")
    """Sampler of the Flux stage. Default of ComfyUI's Flux templates."""
    scheduler: Scheduler = Field(default="simple")
    """Noise schedule of the Flux stage. Default of ComfyUI's Flux templates."""
    guidance: float = Field(default=3.5, ge=0, le=30)
    """Distilled guidance of FLUX.1 dev, 0 to 30. 3.5 is ComfyUI's Flux template's."""
    refine_denoise: float = Field(default=0.35, ge=0, le=1)
    """How much Flux redraws: 0 (nothing), or 0.01 to 1 (the face too). 0.35 is this package's choice, unmeasured on a GPU."""
    instantid_steps: int = Field(default=30, ge=1, le=100)
    """Sampling steps of the SDXL stage, 1 to 100. 30 is InstantID's example graph's."""
    instantid_cfg: float = Field(default=4.5, ge=0, le=30)
    """Classifier-free guidance scale of the SDXL stage, 0 to 30. 4.5 is InstantID's example graph's."""
    checkpoint: CheckpointName = Field(default=REALVIS)
    """SDXL checkpoint file on the server; the default is RealVisXL 5.0."""
    flux_checkpoint: CheckpointName = Field(default=DEV)
    """FLUX.1 dev checkpoint file on the server; the default is the fp8 one of Comfy-Org."""

    _safe_checkpoint = field_validator("checkpoint", "flux_checkpoint")(model_file)
    _some = field_validator("refine_denoise")(redrawn_share)
    _fits = largest(2.4, 16)

    def time_limit(self) -> float:
        """Return 240 s (two pictures) for the default size and steps, and in proportion for more work."""
        work = (self.steps + self.instantid_steps) * self.width * self.height * self.batch_size
        return 2 * IMAGE_TIME_LIMIT * max(1.0, work / (50 * 1024 * 1024))

    @classmethod
    def work(cls, inputs: Mapping[str, Any]) -> Work:
        """Measure a request by the steps of both stages together."""
        steps = number(inputs, "steps", 1) + number(inputs, "instantid_steps", 0)
        return super().work({**inputs, "steps": steps})

    def _reads_negative(self) -> bool:
        return self.instantid_cfg != 1.0 or super()._reads_negative()  # the SDXL stage has its own

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return the InstantID graph, its picture encoded again and redrawn by Flux."""
        graph = Graph()
        stage = {
            "checkpoint": self.checkpoint,
            "steps": self.instantid_steps,
            "cfg": self.instantid_cfg,
            "sampler": "ddpm",
            "scheduler": "karras",
        }
        picture = self._sdxl(graph, files, stage)
        model = graph.add("CheckpointLoaderSimple", ckpt_name=self.flux_checkpoint)
        text = graph.add("CLIPTextEncode", text=self.prompt, clip=model[1])
        negative = graph.add("CLIPTextEncode", text=self.negative_prompt if self.cfg != 1.0 else "", clip=model[1])
        refined = graph.add(
            "KSampler",
            model=model,
            positive=graph.add("FluxGuidance", conditioning=text, guidance=self.guidance),
            negative=negative,
            latent_image=graph.add("VAEEncode", pixels=picture, vae=model[2]),
            seed=self.seed or 0,
            steps=self.steps,
            cfg=self.cfg,
            sampler_name=self.sampler,
            scheduler=self.scheduler,
            denoise=self.refine_denoise,
        )
        graph.add("SaveImage", images=graph.add("VAEDecode", samples=refined, vae=model[2]), filename_prefix=files.prefix)
        return graph


class FluxPulid(FluxDevWorkflow):
    """FLUX.1 dev with PuLID: the face of a reference picture inside Flux itself. Non-commercial."""

    name: ClassVar[str] = "flux_pulid"
    family: ClassVar[str] = "faces"
    durations: ClassVar[Mapping[str, Duration]] = {
        "": Duration(18.0, 40.0, 90.0, f"{DEV_MEASURED}; what PuLID adds was not measured", known=False),
    }
    example: ClassVar[Example | None] = Example(
        {"prompt": "an astronaut", "reference_image": "face.png", "width": 512, "height": 512, "steps": 8, "seed": 7},
        "pulid.png",
        before=FACE_FILE,
        after="PuLID's node only warns when it finds no face. On Modal the worker looks first, and answers `face_not_found`.",
    )

    reference_image: ImageInput = Field(repr=False)
    """Picture of the face to keep: one person, face to the camera, some room around the head."""
    identity_strength: float = Field(default=1.0, ge=0, le=1)
    """How strongly the identity acts, 0 to 1. 1.0 is the node's own default."""
    face_provider: FaceProvider = Field(default="CPU")
    """Where the face is looked for; CPU works everywhere."""

    def _chain(self, graph: Graph, checkpoint: Node, files: Files) -> tuple[Node | Link, Node | Link]:
        bound = graph.add(
            "ApplyPulidFlux",
            model=checkpoint,
            pulid_flux=graph.add("PulidFluxModelLoader", pulid_file="pulid_flux_v0.9.1.safetensors"),
            eva_clip=graph.add("PulidFluxEvaClipLoader"),
            face_analysis=graph.add("PulidFluxInsightFaceLoader", provider=PROVIDER_NAME[self.face_provider]),
            image=graph.add("LoadImage", image=files.of("reference_image")),
            weight=self.identity_strength,
            start_at=0.0,
            end_at=1.0,
        )
        return bound, checkpoint[1]
