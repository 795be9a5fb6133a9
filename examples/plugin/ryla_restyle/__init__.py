"""The workflow restyle: your picture, redrawn by FLUX.1 dev as far from it as you like."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from ryla_gen import Workflow
from ryla_gen.graphs.graph import Graph
from ryla_gen.workflows.base import Files, Seed
from ryla_gen.workflows.fields import ImageInput


class Restyle(Workflow):
    """A picture of yours in another style. FLUX.1 dev: its licence is non-commercial."""

    name: ClassVar[str] = "restyle"
    family: ClassVar[str] = "custom"

    prompt: str = Field(min_length=1, max_length=20_000)
    """What the picture shows, and the style: "a lighthouse, oil painting"."""
    image: ImageInput = Field(repr=False)
    """The picture to begin with; scaled to `megapixels`, its shape kept."""
    change: float = Field(default=0.6, gt=0, le=1)
    """How much is made anew: at 0.3 the colours, at 0.6 the style, at 1 everything."""
    megapixels: float = Field(default=1.0, ge=0.06, le=2)
    """Size of the result; one megapixel is 1024²."""
    steps: int = Field(default=20, ge=1, le=100)
    """Sampling steps. All of them go into the part that is made anew."""
    seed: Seed = Field(default=None)
    """Seed of the noise. Random by default."""

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return picture → latent → sampler at a denoise below 1 → picture."""
        graph = Graph()
        model = graph.add("CheckpointLoaderSimple", ckpt_name="flux1-dev-fp8.safetensors")
        picture = graph.add("LoadImage", image=files.of("image"))
        sized = graph.add(
            "ImageScaleToTotalPixels", image=picture, upscale_method="lanczos", megapixels=self.megapixels, resolution_steps=1
        )
        text = graph.add("CLIPTextEncode", text=self.prompt, clip=model[1])
        latent = graph.add(
            "KSampler",
            model=model,
            positive=graph.add("FluxGuidance", conditioning=text, guidance=3.5),
            negative=text,  # not looked at: cfg is 1
            latent_image=graph.add("VAEEncode", pixels=sized, vae=model[2]),
            denoise=self.change,
            steps=self.steps,
            seed=self.seed or 0,
            cfg=1.0,
            sampler_name="euler",
            scheduler="simple",
        )
        graph.add("SaveImage", images=graph.add("VAEDecode", samples=latent, vae=model[2]), filename_prefix=files.prefix)
        return graph
