"""Make the files of this folder: run it with a former version of the package, in an empty folder, as README.md says."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ryla_gen import Client, InstantID, contract, load
from ryla_gen.errors import FaceNotFoundError
from ryla_gen.history import History
from ryla_gen.names import CLASS_OF_FAMILY
from ryla_gen.settings import home_folder
from ryla_gen.settings.base import KEYS
from ryla_gen.version import __version__
from ryla_gen.workflows.registry import BUILT_IN, workflow_class

SMALL = {"prompt": "a red boat", "width": 256, "height": 256, "steps": 2, "seed": 7}
FACE = {**SMALL, "prompt": "an astronaut", "reference_image": "face.png", "output_format": "webp"}
GRAPH = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "flux1-dev-fp8.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a boat", "clip": ["1", 1]}},
    "3": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 256, "height": 256, "batch_size": 1}},
    "4": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "positive": ["2", 0],
            "negative": ["2", 0],
            "latent_image": ["3", 0],
            "seed": 3,
            "steps": 2,
            "cfg": 1.0,
            "sampler_name": "euler",
            "scheduler": "simple",
            "denoise": 1.0,
        },
    },
    "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "boat"}},
}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "flux.webp": ("flux", {**SMALL, "steps": 1, "output_format": "webp", "sampler": "dpmpp_2m", "scheduler": "beta"}),
    "flux_dev.webp": ("flux_dev", {**SMALL, "output_format": "webp", "negative_prompt": "rain", "cfg": 1.5, "guidance": 2.5}),
    "flux_lora.jpg": (
        "flux_lora",
        {**SMALL, "output_format": "jpeg", "trigger_word": "mira", "loras": [{"id": "mira", "strength": 0.8}]},
    ),
    "instantid.webp": ("instantid", {**FACE, "instantid_strength": 0.7, "batch_size": 1}),
    "flux_instantid.webp": ("flux_instantid", {**FACE, "instantid_steps": 2, "refine_denoise": 0.5}),
    "flux_pulid.webp": ("flux_pulid", {**FACE, "identity_strength": 0.9}),
    "wan2.mp4": ("wan2", {**SMALL, "prompt": "waves on a beach", "length": 5, "fps": 8.0, "speed": "quality"}),
    "wan2.webp": ("wan2", {**SMALL, "prompt": "waves on a beach", "length": 1, "format": "webp"}),
    "seedvr2.png": ("seedvr2", {"image": "wall.png", "resolution": 256, "seed": 7}),
    "workflow.webp": ("workflow", {"graph": GRAPH, "prompt": "a red boat", "seed": 5, "output_format": "webp"}),
}
"""File → the workflow that makes it, and the fields that are asked for."""


def main(wanted: list[str]) -> None:
    draw_face()
    make_lora()
    command("lora", "push", "mira.safetensors", "--id", "mira", "--backend", "emulator")
    noted = {}
    with Client(backend="emulator") as client:
        for file in wanted or REQUESTS:
            name, fields = REQUESTS[file]
            generation = client.run(workflow_class(name)(**fields), tags=["old"])
            generation.save(file)
            noted[file] = note(file, generation)
        if not wanted:
            with suppress(FaceNotFoundError):
                client.run(InstantID(**{**FACE, "reference_image": "wall.png"}))
    Path("requests.json").write_text(json.dumps(noted, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if not wanted:
        make_batch()
        make_character()
        record_unfinished()
        write_config()
        write_fields()


def note(file: str, generation: Any) -> dict[str, Any]:
    """What a caller of this version sends, and which request it reads from its own file."""
    name, fields = REQUESTS[file]
    pictures = {key: fields[key] for key in ("reference_image", "image") if key in fields}
    read = load(file, **pictures).to_plain()
    method = [CLASS_OF_FAMILY[generation.workflow.family], name]
    request, answer = contract.request(generation.workflow, generation.job), contract.reply(generation)
    for output in answer["generation"]["outputs"]:
        output["data"] = output["data"][:8]  # the file is there in whole
    del answer["generation"]["graph"]
    return {"workflow": name, "fields": read, "method": method, "request": as_json(request), "reply": as_json(answer)}


def as_json(value: Any) -> Any:
    """JSON has no bytes: they are written as {"$bytes": base64}."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list | tuple) else value


def command(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "ryla_gen_cli", *arguments], check=True)


def draw_face() -> None:
    image = Image.new("RGB", (128, 128), "#b04030")
    draw = ImageDraw.Draw(image)
    draw.ellipse((32, 19, 96, 109), fill="#e8c0a0")
    for x in (51, 77):
        draw.ellipse((x - 5, 51, x + 5, 59), fill="#202020")
    image.save("face.png", optimize=True)
    Image.new("RGB", (64, 64), "#808080").save("wall.png", optimize=True)


def make_lora() -> None:
    """One pair of matrices of rank 1, in the names of kohya's trainer."""
    name, at, tensors = "lora_unet_double_blocks_0_img_attn_qkv", 0, {}
    for part, shape in ((".lora_down.weight", [1, 8]), (".lora_up.weight", [8, 1])):
        tensors[name + part] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + 16]}
        at += 16
    header = json.dumps(tensors).encode()
    Path("mira.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\x00\x3c" * 16)


def make_batch() -> None:
    rows: list[dict[str, Any]] = [
        {"workflow": "flux_lora", **SMALL, "lora_id": "mira", "output": "lora.webp"},
        {"workflow": "wan2", **SMALL, "length": 1, "output": "waves.webp", "format": "webp"},
    ]
    Path("list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command("batch", "list.jsonl", "-o", "batch", "--backend", "emulator")


CHARACTER = ("--count", "2", "--width", "256", "--height", "256", "--steps", "2", "--seed", "5", "--backend", "emulator")


def make_character() -> None:
    command("character", "base", "a young woman", *CHARACTER)
    for file in home_folder().glob("characters/*/base-*.png"):  # fewer colours, since these files are kept for ever
        with Image.open(file) as found:
            found.quantize(8).save(file, optimize=True)


def record_unfinished() -> None:
    """Jobs whose process ended before they did, in the words with which the client writes a job down."""
    history = History(home_folder() / "history.sqlite3")
    inputs = {**SMALL, "lora_id": "mira"}
    for number, (backend, handle) in enumerate((("modal", "modal:fc-01OLD"), ("comfyui", None), ("emulator", None))):
        job = f"00000000-0000-4000-8000-00000000000{number}"
        history.record(job, backend=backend, workflow="flux_lora", inputs=inputs, seed=7, tags=["old"], handle=handle)
        if handle:
            history.update(job, state="running")
    history.close()


def write_config() -> None:
    """Every key that this version knew, with a value of its own."""
    values = {"backend": "emulator", "modal.region": "us-east,eu-west", "output_dir": "out", "comfyui.lora_folder": "loras"}
    values |= {"comfyui.tls_ca": "ca.pem", "characters.face_workflow": "instantid", "references": "bytes", "preview": "off"}
    values |= {"emulator.comfyui": "0.3.71"}
    for key in KEYS.values():
        value = "L40S,A100" if key.name.endswith(".gpu") else values.get(key.name) or example(key)
        command("config", "set", key.name, value)


def write_fields() -> None:
    """Every field of every workflow: its type, its bounds and choices, and its default."""
    fields = {name: cls.model_json_schema() for name, cls in ((name, workflow_class(name)) for name in BUILT_IN)}
    text = json.dumps({name: without_words(schema) for name, schema in fields.items()}, ensure_ascii=False, separators=(",", ":"))
    Path("fields.json").write_text(text + "\n", encoding="utf-8")


def without_words(schema: Any) -> Any:
    """A schema without the sentences for people."""
    if isinstance(schema, dict):
        return {key: without_words(item) for key, item in schema.items() if key not in ("description", "title")}
    return [without_words(item) for item in schema] if isinstance(schema, list) else schema


def example(key: Any) -> str:
    for value in ("a-word", "https://example.com", "3", "true"):
        try:
            key.from_text(value, "example")
        except Exception:  # noqa: S112 - the next form
            continue
        return value
    raise SystemExit(f"{key.name} takes none of the examples")


if __name__ == "__main__":
    main(sys.argv[1:])
    print("made with", __version__)
