"""Define the names that both sides of the remote call must agree on: app, classes, hooks, volumes, queue, dict, secret."""

from __future__ import annotations

APP = "ryla-comfyui"
"""The Modal app that holds every class."""
LOCK_APP_PREFIX = "ryla-"
"""What the name of a lock's app begins with; its own name follows."""
CLASS_OF_FAMILY = {
    "z_image": "ZImage",
    "qwen": "Qwen",
    "flux": "Flux",
    "flux2": "Flux2",
    "sdxl": "Sdxl",
    "faces": "Faces",
    "video": "Video",
    "upscale": "Upscale",
    "custom": "Custom",
}
"""One Modal class per model family, so that a container keeps one family's weights in VRAM."""
GRAPH_FAMILY, GRAPH_CLASS = "graph", "Graph"
"""Family of every locked graph, and its class: each graph has an app of its own."""
HOOK_GROUP = "ryla_gen.on_output"
"""Entry-point group under which other packages offer hooks, which let outputs pass, replace or refuse them."""
MODELS_VOLUME = "ryla-models"
"""Volume with the weights and the LoRAs."""
EVENTS_QUEUE = "ryla-events"
"""Queue with one partition of events per job."""
CLAIMS_DICT = "ryla-claims"
"""Dict in which a job is claimed before it runs, so that it runs once."""
WEIGHTS_DICT = "ryla-weights"
"""Dict that says which downloads to the volume of models run, so that nothing they count on is removed."""
HUGGINGFACE_SECRET = "huggingface"  # noqa: S105 - the name of a secret, not a secret
"""Optional secret with HF_TOKEN, for gated weights."""
CHARACTERS_FOLDER = "characters"
"""Folder in the home folder with one folder for each character job."""
BATCH_MANIFEST = "batch.jsonl"
"""File in a batch's folder that remembers what was sent and done: one JSON object a line."""
BATCH_LOCK = ".batch.lock"
"""File in a batch's folder that is held while the batch runs."""
GALLERY_PAGE = "gallery.html"
"""Name of a gallery's page, where none is chosen."""
GALLERY_MARK = b'<meta name="generator" content="ryla-gen gallery'
"""At the beginning of every gallery's page of ours."""
CIVITAI_SECRET = "civitai"  # noqa: S105 - as above
"""Optional secret with CIVITAI_TOKEN, for files that Civitai gives to accounts only."""
WEBHOOK_SECRET = "ryla-webhook"  # noqa: S105 - as above
"""Optional secret with RYLA_GEN_WEBHOOK_SECRET, with which containers sign the events that they tell."""
WEBHOOK_DELIVERED = "webhook_delivered"
"""In a reply: the container has told the webhook of the end. Under ``server`` of a result, and ``details`` of an error."""
