"""Emulate nodes that save and show pictures."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..base import Context, NodeResult, node
from ..conditioning import stable_key
from ..latents import Array
from ..mark import to_pixels
from ..server.files import next_names

PNG_COMPRESSION = 1
"""90 ms for 1024² against 143 at ComfyUI's level 4, for files 3 % larger (measured with Pillow)."""


def png_text(context: Context) -> PngInfo:
    """Build the text chunks of a saved picture: the graph, what the caller added, and that it is emulated."""
    text = PngInfo()
    text.add_text("prompt", json.dumps(context.prompt))
    for key, value in context.extra_pnginfo.items():
        text.add_text(key, json.dumps(value))
    text.add_text("ryla:emulated", "true")
    return text


@node("SaveImage")
def save_image(context: Context, images: Array, filename_prefix: str = "ComfyUI", **_: Any) -> NodeResult:
    """Save pictures as PNG files in the output folder."""
    folder, name, subfolder, number = next_names(context.folders.output, filename_prefix, images.shape[2], images.shape[1])
    text = png_text(context)
    saved = []
    for index, image in enumerate(images):
        file_name = f"{name.replace('%batch_num%', str(index))}_{number + index:05}_.png"
        Image.fromarray(to_pixels(image)).save(folder / file_name, pnginfo=text, compress_level=PNG_COMPRESSION)
        saved.append({"filename": file_name, "subfolder": subfolder, "type": "output"})
    return NodeResult((images,), {"images": saved})


@node("SaveImageAdvanced")
def save_image_advanced(context: Context, images: Array, filename_prefix: str = "ComfyUI", **_: Any) -> NodeResult:
    """Save PNG files, whichever format is asked for: an EXR would hold more than what is painted here."""
    return save_image(context, images, filename_prefix)


@node("SaveAnimatedPNG")
def save_animated_png(
    context: Context, images: Array, filename_prefix: str, fps: float, compress_level: int = PNG_COMPRESSION, **_: Any
) -> NodeResult:
    """Save all pictures as the frames of one PNG."""
    folder, name, subfolder, number = next_names(context.folders.output, filename_prefix, images.shape[2], images.shape[1])
    file_name = f"{name}_{number:05}_.png"
    frames = [Image.fromarray(to_pixels(image)) for image in images]
    frames[0].save(
        folder / file_name, pnginfo=png_text(context), compress_level=compress_level, save_all=True,
        duration=int(1000.0 / fps), append_images=frames[1:],
    )  # fmt: skip
    return NodeResult(
        (images,), {"images": [{"filename": file_name, "subfolder": subfolder, "type": "output"}], "animated": [True]}
    )


@node("SaveText")
def save_text(context: Context, text: str, filename_prefix: str = "ComfyUI", format: str = "txt", **_: Any) -> NodeResult:  # noqa: A002
    """Save a text file."""
    folder, name, subfolder, number = next_names(context.folders.output, filename_prefix, 0, 0)
    file_name = f"{name}_{number:05}_.{format if format in ('md', 'json') else 'txt'}"
    (folder / file_name).write_text(text, encoding="utf-8")
    return NodeResult((text,), {"text": [text], "files": [{"filename": file_name, "subfolder": subfolder, "type": "output"}]})


def _save_previews(context: Context, images: Array, part: str = "") -> list[dict[str, str]]:
    """Write PNG files in the temporary folder and return the references to them."""
    # ComfyUI draws five random letters per node; ours come from graph and node, so that the same request says the same.
    letters = stable_key(json.dumps(context.prompt, sort_keys=True) + context.node_id + part)
    suffix = "".join(chr(ord("a") + letters // 26**i % 26) for i in range(5))
    folder, name, subfolder, number = next_names(context.folders.temp, f"ComfyUI_temp_{suffix}", images.shape[2], images.shape[1])
    saved = []
    for index, image in enumerate(images):
        file_name = f"{name}_{number + index:05}_.png"
        Image.fromarray(to_pixels(image)).save(folder / file_name, pnginfo=png_text(context), compress_level=PNG_COMPRESSION)
        saved.append({"filename": file_name, "subfolder": subfolder, "type": "temp"})
    return saved


@node("PreviewImage")
def preview_image(context: Context, images: Array, **_: Any) -> NodeResult:
    """Preview pictures."""
    return NodeResult((images,), {"images": _save_previews(context, images)})


@node("MaskPreview")
def mask_preview(context: Context, mask: Array, **_: Any) -> NodeResult:
    """Preview masks as grey pictures."""
    planes = np.repeat(mask.reshape(-1, *mask.shape[-2:])[..., None], 3, axis=-1)
    return NodeResult((mask,), {"images": _save_previews(context, planes)})


@node("ImageCompare")
def image_compare(context: Context, image_a: Array | None = None, image_b: Array | None = None, **_: Any) -> NodeResult:
    """Preview two pictures side by side."""
    named = {"a_images": image_a, "b_images": image_b}
    return NodeResult(ui={key: _save_previews(context, images, key) for key, images in named.items() if images is not None})


@node("SaveImageWebsocket")
def save_image_websocket(context: Context, images: Array) -> NodeResult:
    """Send pictures straight to the caller; write no file."""
    for index, image in enumerate(images):
        picture = Image.fromarray(to_pixels(np.array(image)))
        context.progress(index, len(images))
        context.send_image(picture)
    return NodeResult((images,))
