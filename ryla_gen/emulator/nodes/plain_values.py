"""Make the values that stand-ins return: an input converted to the wanted type, or a plain value. Decides nothing.

``stand_ins`` decides which input an output is made from; this module makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ...comfy.schema import MODEL_SUFFIXES
from ...support.numbers import is_number
from .. import latents
from ..base import NodeResult
from ..conditioning import Conditioning, Prompt
from ..model import Clip, Model, model_for, vae_for
from ..sampling import flow
from ..sampling.run import Guider, Noise
from ..server.stand_ins import FOLLOWING, inputs_by_output, types_in
from ..sounds import seconds_of, sound_of
from ..video import VideoFrames

PLAIN_SIDE = 512
"""Pixels a side of a plain picture whose size nothing says."""
OVAL = 0.75
"""How much of a picture's sides a plain mask takes."""
MOST_SIDE, MOST_FRAMES = 4096, 1024
"""Largest plain picture and longest plain video; whatever a graph asks for beyond is cut off."""


@dataclass(frozen=True, eq=False)
class Thing:
    """A value of a type that nothing here computes with, such as a mesh or a depth map, and what it was made of."""

    kind: str
    made_of: tuple[Any, ...] = ()


def stand_in(schema: Mapping[str, Any], types: Mapping[str, str], inputs: Mapping[str, Any]) -> NodeResult:
    """Make the outputs of a class without an emulation.

    Args:
        schema: the class's.
        types: type of each input that the graph gives (:meth:`.stand_ins.Types.of_inputs`).
        inputs: their values under the same (dotted) names.

    """
    outputs = [str(kind) for kind in schema.get("output") or ()]
    made = []
    for slot, (kind, sources) in enumerate(zip(outputs, inputs_by_output(schema, types), strict=True)):
        values = [inputs[name] for name in sources if inputs.get(name) is not None]
        maker = _MAKERS.get(kind)
        if maker is not None:
            made.append(maker(values, types, inputs, outputs[:slot].count(kind)))
        elif kind in FOLLOWING:
            made.append(values[0] if values else None)
        else:
            made.append(values[0] if values and _is(values[0], kind) else Thing(kind, tuple(values)))
    return NodeResult(tuple(made))


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, Thing) and bool(types_in(value.kind) & types_in(kind))


def found_in(value: Any, test: Callable[[Any], bool]) -> Any:
    """Find the first value within a thing, or within what it was made of, that passes a test; None without one."""
    todo = [value]
    while todo:
        item = todo.pop(0)
        if test(item):
            return item
        if isinstance(item, Thing):
            todo += item.made_of
    return None


def _is_media(value: Any) -> bool:
    return isinstance(value, np.ndarray | VideoFrames) or (isinstance(value, dict) and ("samples" in value or "waveform" in value))


def pictures(value: Any) -> Any:
    """Return the frames [N, H, W, C] of any value that holds some; None for others."""
    if isinstance(value, VideoFrames):
        return value.frames
    if isinstance(value, dict) and "samples" in value:
        return decode(value)
    if isinstance(value, np.ndarray) and value.ndim == 3:
        return np.repeat(value[..., None], 3, axis=-1)
    return value if isinstance(value, np.ndarray) and value.ndim == 4 else None


def decode(latent: Mapping[str, Any]) -> Any:
    """Decode the frames of a latent, whichever VAE made it."""
    samples = np.asarray(latent["samples"], np.float32)
    if samples.shape[1] != latents.CHANNELS:
        samples = np.zeros((samples.shape[0], latents.CHANNELS, *samples.shape[2:]), np.float32)
    if samples.ndim == 5:
        return np.stack([frame for video in samples for frame in latents.decode_video(video)])
    return np.stack([latents.decode(item) for item in samples])


def _first_number(inputs: Mapping[str, Any], names: tuple[str, ...], default: float) -> float:
    for name in names:
        value = inputs.get(name)
        if is_number(value):
            return float(value)
    return default


def _size(inputs: Mapping[str, Any]) -> tuple[int, int, int, int | None]:
    """Read width, height, batch and, where a class makes videos, the number of frames, as far as inputs give them."""
    side = _first_number(inputs, ("resolution",), PLAIN_SIDE)
    width = _first_number(inputs, ("width", "target_width"), side)
    height = _first_number(inputs, ("height", "target_height"), side)
    batch = int(np.clip(_first_number(inputs, ("batch_size",), 1), 1, 64))
    frames = _first_number(inputs, ("length", "video_frames", "num_frames", "frames"), 0)
    pair = (int(np.clip(width, 8, MOST_SIDE)), int(np.clip(height, 8, MOST_SIDE)))
    return *pair, batch, int(np.clip(frames, 1, MOST_FRAMES)) if frames else None


def _image(values: list[Any], types: Mapping[str, str], inputs: Mapping[str, Any], place: int) -> Any:
    found = pictures(found_in(values[0], _is_media)) if values else None
    if found is not None:
        return found
    width, height, batch, frames = _size(inputs)
    return np.broadcast_to(np.float32(0.5), (frames or batch, height, width, 3))


def _mask(values: list[Any], types: Mapping[str, str], inputs: Mapping[str, Any], place: int) -> Any:
    """Pass a mask on, or make a white oval in the middle: like a detector that selects some of a picture."""
    source = found_in(values[0], _is_media) if values else None
    if isinstance(source, np.ndarray) and source.ndim == 3:
        return source
    shape = pictures(source).shape[:3] if pictures(source) is not None else (1, *_size(inputs)[1::-1])
    y, x = (np.linspace(-1.0, 1.0, side, dtype=np.float32) for side in shape[1:])
    return np.broadcast_to((np.hypot(y[:, None], x[None, :]) < OVAL).astype(np.float32), shape)


def _latent(values: list[Any], types: Mapping[str, str], inputs: Mapping[str, Any], place: int) -> Any:
    source = found_in(values[0], _is_media) if values else None
    if isinstance(source, dict):
        return source if "samples" in source else {"samples": empty_sound(), "seconds": seconds_of(source)}
    frames = pictures(source)
    if frames is not None:
        height, width = (max(8, side // 8 * 8) for side in frames.shape[1:3])
        if min(frames.shape[1:3]) >= 8:
            return {"samples": np.stack([latents.encode(frame[:height, :width, :3]) for frame in frames])}
    return empty_latent(inputs)


def empty_sound(batch: int = 1) -> Any:
    """Return the latent of any sound: a small field of numbers. How long it plays stands beside it, as ``seconds``."""
    return np.zeros((batch, latents.CHANNELS, 8, 16), np.float32)


def empty_latent(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return an empty latent of the size that inputs name; with a time axis where they name a length."""
    width, height, batch, length = _size(inputs)
    frames = () if length is None else ((length - 1) // 4 + 1,)
    return {"samples": np.zeros((batch, latents.CHANNELS, *frames, max(1, height // 8), max(1, width // 8)), np.float32)}


def _video(values: list[Any], types: Mapping[str, str], inputs: Mapping[str, Any], place: int) -> Any:
    source = found_in(values[0], _is_media) if values else None
    if isinstance(source, VideoFrames):
        return source
    return VideoFrames(
        _image(values, types, inputs, place), Fraction(_first_number(inputs, ("fps", "frame_rate"), 24)).limit_denominator(1000)
    )


def _audio(values: list[Any], types: Mapping[str, str], inputs: Mapping[str, Any], place: int) -> Any:
    source = found_in(values[0], _is_media) if values else None
    return sound_of(source)


def _conditioning(values: list[Any], types: Mapping[str, str], inputs: Mapping[str, Any], place: int) -> Conditioning:
    """Pass a prompt on, or make one of the class's own texts: the first output from those that are not negative."""
    if values:
        return tuple(values[0])
    texts = {name: str(inputs[name]) for name, kind in types.items() if kind == "STRING" and inputs.get(name)}
    own = [text for name, text in texts.items() if ("negative" in name.lower()) == (place > 0)]
    clip = next((value for value in inputs.values() if isinstance(value, Clip)), None)
    return (Prompt(((" ".join(own), 1.0),), None, clip.looks if clip else (), zeroed=place > 0 and not own),)


def _file(inputs: Mapping[str, Any]) -> str:
    return next((value for value in inputs.values() if isinstance(value, str) and value.endswith(MODEL_SUFFIXES)), "")


def _first(kind: type, inputs: Mapping[str, Any]) -> Any:
    return next((value for value in inputs.values() if isinstance(value, kind)), None)


def _guider(values: list[Any], types: Mapping[str, str], inputs: Mapping[str, Any], place: int) -> Any:
    prompts = {name: inputs[name] for name, kind in types.items() if kind == "CONDITIONING" and inputs.get(name) is not None}
    negative = next((value for name, value in prompts.items() if "negative" in name), None)
    positive = next((value for value in prompts.values() if value is not negative), (Prompt(),))
    return Guider(_first(Model, inputs) or model_for(""), positive, negative, _first_number(inputs, ("cfg", "cfg_conds"), 1.0))


def _sigmas(values: list[Any], types: Mapping[str, str], inputs: Mapping[str, Any], place: int) -> Any:
    if values:
        return values[0]
    model = _first(Model, inputs)
    return flow.schedule(model.sampling if model else flow.SD3, "simple", max(1, int(_first_number(inputs, ("steps",), 20))))


def _pass_on(plain: Callable[[Mapping[str, Any]], Any]) -> Callable[..., Any]:
    """Return a maker of a type that is passed on as it is, or plain."""

    def make(values: list[Any], types: Mapping[str, str], inputs: Mapping[str, Any], place: int) -> Any:
        return values[0] if values else plain(inputs)

    return make


_MAKERS: dict[str, Callable[..., Any]] = {
    "IMAGE": _image,
    "MASK": _mask,
    "LATENT": _latent,
    "VIDEO": _video,
    "AUDIO": _audio,
    "CONDITIONING": _conditioning,
    "GUIDER": _guider,
    "SIGMAS": _sigmas,
    "SAMPLER": _pass_on(lambda _: {"name": "euler"}),
    "NOISE": _pass_on(lambda inputs: Noise(int(_first_number(inputs, ("noise_seed", "seed"), 0)))),
    "MODEL": _pass_on(lambda inputs: model_for(_file(inputs), whole="ckpt_name" in inputs)),
    "CLIP": _pass_on(lambda inputs: Clip(_file(inputs))),
    "VAE": _pass_on(lambda inputs: vae_for(_file(inputs))),
    "UPSCALE_MODEL": _pass_on(lambda inputs: {"name": _file(inputs), "factor": 4}),
    "INT": _pass_on(lambda _: 0),
    "FLOAT": _pass_on(lambda _: 1.0),
    "BOOLEAN": _pass_on(lambda _: False),
    "STRING": _pass_on(lambda _: ""),
    "COMBO": _pass_on(lambda _: ""),
}
