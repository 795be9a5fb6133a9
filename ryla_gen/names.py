"""Define the names that both sides of the remote call must agree on: app, classes, volumes, queue, dict, secret."""

from __future__ import annotations

APP = "ryla-comfyui"
"""The Modal app that holds every class."""
CLASS_OF_FAMILY = {
    "flux": "Flux",
    "faces": "Faces",
    "video": "Video",
    "upscale": "Upscale",
    "custom": "Custom",
}
"""One Modal class per model family, so that a container keeps one family's weights in VRAM."""
GRAPH_FAMILY, GRAPH_CLASS = "graph", "Graph"
"""Family of every locked graph, and its class: each graph has an app of its own."""
MODELS_VOLUME = "ryla-models"
"""Volume with the weights and the LoRAs."""
EVENTS_QUEUE = "ryla-events"
"""Queue with one partition of events per job."""
CLAIMS_DICT = "ryla-claims"
"""Dict in which a job is claimed before it runs, so that it runs once."""
HUGGINGFACE_SECRET = "huggingface"  # noqa: S105 - the name of a secret, not a secret
"""Optional secret with HF_TOKEN, for gated weights."""
CIVITAI_SECRET = "civitai"  # noqa: S105 - as above
"""Optional secret with CIVITAI_TOKEN, for files that Civitai gives to accounts only."""
