"""Typed requests in, images and videos out, on whichever GPU you have.

>>> from ryla_gen import Client
>>> generation = Client().z_image(prompt="a lighthouse at dusk, red roof")
>>> generation.save("lighthouse.png")

Everything is loaded when it is first used: importing this package costs nothing. The lines between ``begin generated`` and
``end generated`` come from the places below and the registry of workflows: ``python -m docs_tools``.
"""

from __future__ import annotations

from importlib import import_module

from .support import aliases as _aliases
from .version import __version__

_aliases.install(__name__)

TYPE_CHECKING = False  # type checkers treat it as true; importing it from typing would cost a third of our import time
if TYPE_CHECKING:
    from typing import Any

    # begin generated: imports
    from . import errors
    from .characters import AsyncCharacters, Characters
    from .client import AsyncClient, AsyncJob, Client, Job
    from .costs.work import Estimate
    from .errors import RylaGenError
    from .events import Event, Finished, Preview, Progress, Queued, Started
    from .results import Cost, Generation, Output, Timings, load
    from .results.grid import Grid, grid
    from .settings import Settings
    from .workflows.base import Workflow
    from .workflows.custom import CustomWorkflow
    from .workflows.faces import FluxInstantID, FluxPulid, InstantID
    from .workflows.flux import Flux, FluxDev, FluxLora
    from .workflows.flux2 import Flux2Klein
    from .workflows.flux_edits import FluxFill, FluxKontext
    from .workflows.loras import Lora
    from .workflows.qwen import QwenImage, QwenImageEdit
    from .workflows.sdxl import SDXL
    from .workflows.seedvr2 import SeedVR2
    from .workflows.wan2 import Wan2
    from .workflows.wan22 import Wan22
    from .workflows.z_image import ZImage
    # end generated: imports

_PLACES = {
    "characters": ("AsyncCharacters", "Characters"),
    "client": ("AsyncClient", "AsyncJob", "Client", "Job"),
    "errors": ("RylaGenError",),
    "costs.work": ("Estimate",),
    "events": ("Event", "Finished", "Preview", "Progress", "Queued", "Started"),
    "results.grid": ("Grid", "grid"),
    "results": ("Cost", "Generation", "Output", "Timings", "load"),
    "settings": ("Settings",),
    "workflows.base": ("Workflow",),
    "workflows.loras": ("Lora",),
}
# begin generated: workflows
_WORKFLOWS = {
    "workflows.custom": ("CustomWorkflow",),
    "workflows.faces": ("FluxInstantID", "FluxPulid", "InstantID"),
    "workflows.flux": ("Flux", "FluxDev", "FluxLora"),
    "workflows.flux2": ("Flux2Klein",),
    "workflows.flux_edits": ("FluxFill", "FluxKontext"),
    "workflows.qwen": ("QwenImage", "QwenImageEdit"),
    "workflows.sdxl": ("SDXL",),
    "workflows.seedvr2": ("SeedVR2",),
    "workflows.wan2": ("Wan2",),
    "workflows.wan22": ("Wan22",),
    "workflows.z_image": ("ZImage",),
}
# end generated: workflows
_MODULE_OF = {name: module for places in (_PLACES, _WORKFLOWS) for module, names in places.items() for name in names}

# begin generated: names
__all__ = [
    "SDXL",
    "AsyncCharacters",
    "AsyncClient",
    "AsyncJob",
    "Characters",
    "Client",
    "Cost",
    "CustomWorkflow",
    "Estimate",
    "Event",
    "Finished",
    "Flux",
    "Flux2Klein",
    "FluxDev",
    "FluxFill",
    "FluxInstantID",
    "FluxKontext",
    "FluxLora",
    "FluxPulid",
    "Generation",
    "Grid",
    "InstantID",
    "Job",
    "Lora",
    "Output",
    "Preview",
    "Progress",
    "Queued",
    "QwenImage",
    "QwenImageEdit",
    "RylaGenError",
    "SeedVR2",
    "Settings",
    "Started",
    "Timings",
    "Wan2",
    "Wan22",
    "Workflow",
    "ZImage",
    "__version__",
    "errors",
    "grid",
    "load",
]
# end generated: names


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module(".errors", __name__)
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
