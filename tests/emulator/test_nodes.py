"""Emulated nodes: the reference graphs to their ends, files, videos, masks, and what is refused."""

from __future__ import annotations

import inspect
import json
import math
import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from running import Graph, Runner, flux, folders_in, pictures, reference

from ryla_gen.emulator import video
from ryla_gen.emulator.base import Folders
from ryla_gen.emulator.latents import decode, encode
from ryla_gen.emulator.mark import to_pixels
from ryla_gen.emulator.model import model_for, vae_for
from ryla_gen.emulator.nodes import NODES
from ryla_gen.emulator.nodes.upscale import target_size
from ryla_gen.emulator.server.files import inside, next_names
from ryla_gen.models.node_schemas import node_schemas

HERE = Path(__file__).parent
GRAPHS = {
    path.stem: path for path in [*(HERE.parent / "data" / "graphs").glob("*.json"), *(HERE / "data" / "graphs").glob("*.json")]
}
SCHEMAS = node_schemas()


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = folders_in(tmp_path)
    reference(made.input / "reference.png")
    for name in ("input.png", "one.png", "images[1].png", "mask.png", "last.png"):
        reference(made.input / name, (180, 90, 40))
    frames = [np.roll(np.asarray(Image.open(made.input / "input.png")), 3 * i, axis=1) for i in range(5)]
    tone = np.sin(np.arange(16000, dtype=np.float32) / 9)[None, None]
    video.write(made.input / "input.mp4", frames, (120, 120), Fraction(16), "h264", {}, {"waveform": tone, "sample_rate": 16000})
    return made


def shrunk(graph: Graph) -> Graph:
    """The graph at a size that takes no time."""
    small = {"width": 96, "height": 64, "steps": 4, "length": 9, "resolution": 160}
    for node in graph.values():
        node["inputs"] |= {key: value for key, value in small.items() if isinstance(node["inputs"].get(key), int)}
    return graph


def step(graph: Graph, class_type: str, folders: Folders, **inputs: Any) -> Any:
    """The first output of one more node of a graph."""
    return Runner({**graph, "extra": {"class_type": class_type, "inputs": inputs}}, folders).value("extra", 0)


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_every_reference_graph_runs_to_its_end(name: str, folders: Folders) -> None:
    files = Runner(shrunk(json.loads(GRAPHS[name].read_text())), folders).run().files()
    assert files
    for path in files:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)] if path.suffix != ".webp" else []
        if path.suffix == ".webp":
            with Image.open(path) as picture:
                assert picture.n_frames == 9
        assert all(frame.std() > 3 for frame in frames)


@pytest.mark.parametrize("name", sorted(set(NODES) & set(SCHEMAS)))
def test_every_node_takes_exactly_the_inputs_of_its_schema(name: str) -> None:
    required, optional = (SCHEMAS[name]["input"].get(section, {}) for section in ("required", "optional"))
    parameters = inspect.signature(NODES[name].run).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    assert [key for key in (*required, *optional) if key not in parameters and not anything] == []
    needed = [key for key, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    assert set(needed) - {"context"} <= set(required)


def test_saved_pictures_count_up_and_carry_graph_and_mark(folders: Folders) -> None:
    graph = flux(batch_size=2)
    graph["8"]["inputs"]["filename_prefix"] = "some/where/shot_%width%"
    runner = Runner(graph, folders).run()
    Runner(graph, folders).run()
    names = sorted(path.name for path in (folders.output / "some" / "where").iterdir())
    assert names == [f"shot_96_0000{n}_.png" for n in (1, 2, 3, 4)]
    assert runner.ui["8"]["images"][1] == {"filename": names[1], "subfolder": "some/where", "type": "output"}
    with Image.open(runner.files()[0]) as picture:
        assert json.loads(picture.text["prompt"]) == graph
        assert json.loads(picture.text["workflow"]) == {"by": "test"}
        assert picture.text["ryla:emulated"] == "true"


@pytest.mark.parametrize("prefix", ["../out", "/tmp/out", "a/../../out", "..\\out"])
def test_a_prefix_that_leaves_the_output_folder_is_refused(prefix: str, folders: Folders) -> None:
    with pytest.raises(ValueError, match="outside the output folder is not allowed"):
        next_names(folders.output, prefix, 8, 8)
    assert list(folders.output.iterdir()) == []


def test_a_link_inside_the_output_folder_does_not_lead_out_of_it(folders: Folders, tmp_path: Path) -> None:
    (folders.output / "away").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="outside the output folder"):
        next_names(folders.output, "away/x", 8, 8)


@pytest.mark.parametrize("side", [8, 16, 64, 256, 1024])
def test_the_mark_is_visible_and_small(side: int) -> None:
    plain = np.full((side, side, 3), 0.5, np.float32)
    pixels = to_pixels(plain)
    changed = (pixels != 127).any(-1)
    assert changed.any()
    assert changed.mean() < 0.12
    assert not changed[: side // 2].any()
    assert (plain == 0.5).all()


def test_a_preview_goes_to_the_temporary_folder(folders: Folders) -> None:
    graph = flux()
    graph["8"] = {"class_type": "PreviewImage", "inputs": {"images": ["6", 0]}}
    (entry,) = Runner(graph, folders).run().ui["8"]["images"]
    assert entry["type"] == "temp"
    assert entry["filename"].startswith("ComfyUI_temp_")
    assert (folders.temp / entry["filename"]).is_file()


def test_websocket_pictures_are_sent_and_leave_no_file(folders: Folders) -> None:
    graph = flux(batch_size=2)
    graph["8"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["6", 0]}}
    assert [picture.size for picture in Runner(graph, folders).run().sent] == [(96, 96)] * 2
    assert list(folders.output.iterdir()) == []


def test_a_sampler_reports_every_step_with_a_small_preview(folders: Folders) -> None:
    runner = Runner(flux(size=1536, steps=2), folders)
    runner.value("5")
    assert runner.steps == [(1, 2), (2, 2)]
    assert max(runner.previews[-1]().size) <= 512


def test_the_custom_sampler_is_the_plain_one_in_parts(folders: Folders) -> None:
    graph = flux(seed=9, scheduler="beta")
    plain = pictures(graph, folders)
    graph |= {
        "20": {"class_type": "RandomNoise", "inputs": {"noise_seed": 9}},
        "21": {"class_type": "BasicGuider", "inputs": {"model": ["1", 0], "conditioning": ["3", 0]}},
        "22": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "23": {"class_type": "BasicScheduler", "inputs": {"model": ["1", 0], "scheduler": "beta", "steps": 8, "denoise": 1.0}},
    }
    links = {"noise": ["20", 0], "guider": ["21", 0], "sampler": ["22", 0], "sigmas": ["23", 0], "latent_image": ["4", 0]}
    graph["5"] = {"class_type": "SamplerCustomAdvanced", "inputs": links}
    assert np.array_equal(plain, pictures(graph, folders))


def test_two_advanced_samplers_share_one_walk(folders: Folders) -> None:
    graph = flux(seed=9)
    whole = pictures(graph, folders)
    shared = {
        key: graph["5"]["inputs"][key] for key in ("model", "positive", "negative", "steps", "cfg", "sampler_name", "scheduler")
    }
    first = {"add_noise": "enable", "noise_seed": 9, "start_at_step": 0, "end_at_step": 4, "return_with_leftover_noise": "enable"}
    second = {**first, "add_noise": "disable", "start_at_step": 4, "end_at_step": 99, "return_with_leftover_noise": "disable"}
    graph["9"] = {"class_type": "KSamplerAdvanced", "inputs": {**shared, **first, "latent_image": ["4", 0]}}
    graph["5"] = {"class_type": "KSamplerAdvanced", "inputs": {**shared, **second, "latent_image": ["9", 0]}}
    assert np.abs(pictures(graph, folders) - whole).mean() < 0.002


@pytest.mark.parametrize(("name", "space", "kind", "shift"), [
    ("flux1-dev-kontext_fp8_scaled.safetensors", "flux", "flux", 1.15),
    ("flux1-fill-dev.safetensors", "flux", "flux", 1.15),
    ("flux-2-klein-base-4b-fp8.safetensors", "flux2", "flux", 2.02),
    ("flux2_dev_fp8mixed.safetensors", "flux2", "flux", 2.02),
    ("qwen_image_edit_2511_fp8mixed.safetensors", "any", "flux", 1.15),
    ("z_image_turbo_bf16.safetensors", "any", "flow", 3.0),
    ("wan2.2_ti2v_5B_fp16.safetensors", "wan22", "flow", 8.0),
    ("wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors", "wan", "flow", 8.0),
    ("wan2.1_i2v_480p_14B_fp16.safetensors", "wan", "flow", 8.0),
    ("sd_xl_base_1.0.safetensors", "sdxl", "eps", 1.0),
    ("lotus-depth-d-v1-1.safetensors", "sdxl", "eps", 1.0),
])  # fmt: skip
def test_a_files_name_says_its_family(name: str, space: str, kind: str, shift: float) -> None:
    model = model_for(name)
    assert (model.space, model.sampling.kind, model.sampling.shift) == (space, kind, shift)


@pytest.mark.parametrize(("name", "space"), [
    ("ae.safetensors", "flux"), ("flux2-vae.safetensors", "flux2"), ("wan_2.1_vae.safetensors", "wan"),
    ("wan2.2_vae.safetensors", "wan22"), ("qwen_image_vae.safetensors", "any"), ("sdxl_vae.safetensors", "sdxl"),
])  # fmt: skip
def test_a_vaes_name_says_its_family(name: str, space: str) -> None:
    assert vae_for(name).space == space


def test_latents_of_one_family_do_not_fit_another(folders: Folders) -> None:
    graph = flux()
    graph["9"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}}
    sampler = {**graph["5"]["inputs"], "model": ["9", 0]}
    graph["10"] = {"class_type": "KSampler", "inputs": sampler}
    with pytest.raises(RuntimeError, match=r"expected input\[1, 4, 12, 12\] to have 16 channels, but got 4 channels instead"):
        step(graph, "KSampler", folders, **{**graph["5"]["inputs"], "latent_image": ["10", 0]})
    with pytest.raises(RuntimeError, match="16 channels, but got 4"):
        step(graph, "VAEDecode", folders, samples=["10", 0], vae=["1", 2])
    assert step(graph, "VAEDecode", folders, samples=["10", 0], vae=["9", 2]).shape == (1, 96, 96, 3)


@pytest.mark.parametrize("kind", ["EmptyLatentImage", "EmptySD3LatentImage"])
def test_any_empty_latent_fits_and_sizes_off_the_step_shrink(kind: str, folders: Folders) -> None:
    graph = flux(size=100)
    graph["4"]["class_type"] = kind
    assert pictures(graph, folders).shape == (1, 96, 96, 3)


def test_an_inpainting_mask_keeps_the_rest(folders: Folders) -> None:
    graph = flux(denoise=1.0)
    graph |= {
        "20": {"class_type": "LoadImage", "inputs": {"image": "input.png"}},
        "21": {"class_type": "VAEEncode", "inputs": {"pixels": ["20", 0], "vae": ["1", 2]}},
        "22": {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 120, "height": 120}},
        "23": {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["21", 0], "mask": ["22", 0]}},
    }
    graph["5"]["inputs"]["latent_image"] = ["23", 0]
    source = np.asarray(Image.open(folders.input / "input.png"), np.float32) / 255
    assert np.abs(pictures(graph, folders)[0] - source).mean() < 0.01
    graph["22"]["inputs"]["value"] = 1.0
    assert np.abs(pictures(graph, folders)[0] - source).mean() > 0.05


def test_the_vae_returns_what_it_was_given_almost() -> None:
    y, x = np.mgrid[0:128, 0:96].astype(np.float32) / 96
    image = np.stack([0.5 + 0.4 * np.sin(5 * x), 0.5 + 0.4 * np.cos(4 * y), 0.3 + 0.5 * x * y], axis=-1).astype(np.float32)
    latent = encode(image)
    assert latent.shape == (16, 16, 12)
    assert np.abs(decode(latent) - image).max() < 0.02


def test_a_photo_is_turned_as_its_exif_says_and_its_transparency_is_the_mask(folders: Folders) -> None:
    tall = Image.new("RGB", (20, 10), (255, 0, 0))
    exif = tall.getexif()
    exif[0x0112] = 6
    tall.save(folders.input / "turned.jpg", exif=exif)
    assert step({}, "LoadImage", folders, image="turned.jpg").shape == (1, 20, 10, 3)
    clear = Image.new("RGBA", (8, 8), (0, 255, 0, 64))
    clear.save(folders.input / "clear.png")
    runner = Runner({"1": {"class_type": "LoadImage", "inputs": {"image": "clear.png"}}}, folders)
    assert runner.value("1", 1) == pytest.approx(np.full((1, 8, 8), 1 - 64 / 255))


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../x.png", "C:\\x.png"])
def test_files_outside_the_input_folder_are_not_opened(name: str, folders: Folders) -> None:
    with pytest.raises(ValueError, match="outside its folder"):
        step({}, "LoadImage", folders, image=name)
    with pytest.raises(ValueError, match="outside its folder"):
        inside(folders.models, name)


def test_a_missing_picture_is_named(folders: Folders) -> None:
    with pytest.raises(FileNotFoundError, match=r"'no\.png'"):
        step({}, "LoadImage", folders, image="no.png")


def test_a_loaders_fingerprint_is_its_files_content(folders: Folders) -> None:
    fingerprint = NODES["LoadImage"].fingerprint
    assert fingerprint is not None
    before = fingerprint(folders, image="input.png")
    assert before == fingerprint(folders, image="input.png") != fingerprint(folders, image="reference.png")
    Image.new("RGB", (9, 9)).save(folders.input / "input.png")
    assert fingerprint(folders, image="input.png") != before


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def test_video_frames_move_smoothly_and_the_file_says_what_it_is(folders: Folders) -> None:
    graph = json.loads(GRAPHS["wan2_1_3b_mp4"].read_text())
    for node in graph.values():
        node["inputs"] |= {k: v for k, v in {"width": 208, "height": 128, "length": 17, "steps": 6}.items() if k in node["inputs"]}
    path = Runner(graph, folders).run().files()[0]
    frames = frames_of(path)
    assert len(frames) == 17
    moves = [float(np.abs(a - b).mean()) for a, b in pairwise(frames)]
    assert min(moves) > 0.05
    assert max(moves) < 4
    assert np.abs(frames[0] - frames[-1]).mean() > max(moves)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 16
        assert json.loads(container.metadata["comment"]) == json.loads(container.metadata["prompt"]) == graph
        assert container.metadata["ryla:emulated"] == "true"


def test_a_length_off_four_n_plus_one_loses_frames(folders: Folders) -> None:
    latent = step({}, "EmptyHunyuanLatentVideo", folders, width=64, height=64, length=32, batch_size=1)
    assert latent["samples"].shape == (1, 16, 8, 8, 8)
    graph = {"1": {"class_type": "VAELoader", "inputs": {"vae_name": "wan_2.1_vae.safetensors"}}}
    graph["2"] = {"class_type": "EmptyHunyuanLatentVideo", "inputs": {"width": 64, "height": 64, "length": 32, "batch_size": 1}}
    assert len(step(graph, "VAEDecode", folders, samples=["2", 0], vae=["1", 0])) == 29


def test_a_video_read_and_saved_again_keeps_frames_rate_and_sound(folders: Folders) -> None:
    graph: Graph = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": "input.mp4"}},
        "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
        "3": {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "audio": ["2", 1], "fps": ["2", 2]}},
        "4": {
            "class_type": "SaveVideo",
            "inputs": {"video": ["3", 0], "filename_prefix": "again", "format": "mp4", "codec": "h264"},
        },
    }
    path = Runner(graph, folders).run().files()[0]
    before, after = frames_of(folders.input / "input.mp4"), frames_of(path)
    assert len(before) == len(after)
    assert np.abs(before[2] - after[2]).mean() < 4
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 16
        assert container.streams.audio[0].rate == 16000


@pytest.mark.parametrize("codec", ["vp9", "av1"])
def test_webm_is_written(codec: str, folders: Folders) -> None:
    graph: Graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 3, "color": 0x3366CC}}}
    inputs = {"images": ["1", 0], "filename_prefix": "w", "codec": codec, "fps": 24.0, "crf": 32.0}
    path = Runner({**graph, "2": {"class_type": "SaveWEBM", "inputs": inputs}}, folders).run().files()[0]
    frame = frames_of(path)[1]
    assert frame[10, 10] == pytest.approx([0x33, 0x66, 0xCC], abs=12)
    if hasattr(os, "sched_getscheduler"):  # as root the AV1 encoder makes this thread real-time, which starves all others
        assert {os.sched_getscheduler(thread) for thread in (0, os.getpid())} == {os.SCHED_OTHER}


def seedvr2(folders: Folders, **changes: Any) -> np.ndarray:
    graph = json.loads(GRAPHS["seedvr2_image"].read_text())
    graph["10"]["inputs"] |= changes
    return np.asarray(Runner(graph, folders).value("10", 0))


@pytest.mark.parametrize(("size", "resolution", "limit", "wanted"), [
    ((120, 120), 333, 0, (332, 332)), ((640, 480), 1080, 0, (1440, 1080)), ((480, 640), 1080, 1200, (900, 1200)),
])  # fmt: skip
def test_upscaling_hits_the_requested_edge(size: tuple[int, int], resolution: int, limit: int, wanted: tuple[int, int]) -> None:
    assert target_size(*size, resolution, limit) == wanted


def test_upscaling_keeps_content_and_its_grain_follows_the_seed(folders: Folders) -> None:
    source = np.asarray(Image.open(folders.input / "input.png"), np.float32) / 255
    large, other = seedvr2(folders, resolution=360)[0], seedvr2(folders, resolution=360, seed=7)[0]
    assert large.shape == (360, 360, 3)
    back = large.reshape(120, 3, 120, 3, 3).mean((1, 3))
    assert np.abs(back - source).mean() < 0.02
    assert 0.001 < np.abs(large - other).mean() < 0.03


@pytest.mark.parametrize(("class_type", "inputs", "shape"), [
    ("ImageScale", {"upscale_method": "bicubic", "width": 30, "height": 0, "crop": "disabled"}, (1, 20, 30, 3)),
    ("ImageScale", {"upscale_method": "lanczos", "width": 20, "height": 20, "crop": "center"}, (1, 20, 20, 3)),
    ("ImageScaleBy", {"upscale_method": "area", "scale_by": 0.5}, (1, 20, 30, 3)),
    ("ImageScaleToTotalPixels", {"upscale_method": "bilinear", "megapixels": 0.01}, (1, 84, 125, 3)),
    ("ImageCrop", {"width": 10, "height": 5, "x": 55, "y": 3}, (1, 5, 5, 3)),
    ("RepeatImageBatch", {"amount": 3}, (3, 40, 60, 3)),
    ("ImageRotate", {"rotation": "90 degrees"}, (1, 60, 40, 3)),
    ("ImagePadForOutpaint", {"left": 8, "top": 0, "right": 0, "bottom": 8, "feathering": 4}, (1, 48, 68, 3)),
])  # fmt: skip
def test_picture_nodes_give_the_right_sizes(
    class_type: str, inputs: dict[str, Any], shape: tuple[int, ...], folders: Folders
) -> None:
    graph: Graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 60, "height": 40, "batch_size": 1, "color": 0xFF8000}}}
    image = step(graph, class_type, folders, image=["1", 0], **inputs)
    assert image.shape == shape
    assert image.dtype == np.float32
    assert image[0, 2, -2] == pytest.approx([1.0, 128 / 255, 0.0], abs=0.01)


@pytest.mark.parametrize(("radius", "sigma", "middle"), [(2, 1.0, 0.06319), (1, 0.5, 0.61935), (20, 10.0, 0.00060)])
def test_a_blur_is_that_of_comfyuis_kernel_and_ends_at_its_radius(
    radius: int, sigma: float, middle: float, folders: Folders
) -> None:
    dot = np.zeros((64, 96, 3), np.uint8)
    dot[32, 48] = 255, 0, 255
    Image.fromarray(dot).save(folders.input / "dot.png")
    graph: Graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "dot.png"}}}
    blurred = step(graph, "ImageBlur", folders, image=["1", 0], blur_radius=radius, sigma=sigma)[0]
    assert blurred[32, 48] == pytest.approx([middle, 0, middle], rel=0.01)
    rows, columns = (np.nonzero(blurred[..., 0].any(axis))[0] for axis in (1, 0))
    assert (rows.min(), rows.max()) == (32 - radius, 32 + radius) and (columns.min(), columns.max()) == (48 - radius, 48 + radius)
    assert blurred.sum() == pytest.approx(2.0, rel=1e-4)
    sharp = step(graph, "ImageSharpen", folders, image=["1", 0], sharpen_radius=radius, sigma=sigma, alpha=1.0)[0]
    assert sharp[32, 48, 0] == 1.0 and sharp[32, 47, 0] == 0.0


def test_batches_masks_and_values(folders: Folders) -> None:
    graph: Graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 2, "color": 0}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["2", 0]}},
        "4": {"class_type": "ImageFromBatch", "inputs": {"image": ["3", 0], "batch_index": 3, "length": 5}},
        "5": {"class_type": "SolidMask", "inputs": {"value": 0.25, "width": 8, "height": 4}},
        "6": {"class_type": "PrimitiveInt", "inputs": {"value": 7}},
    }
    assert step(graph, "ImageFromBatch", folders, image=["3", 0], batch_index=3, length=5).mean() == 1.0
    blended = step(graph, "ImageBlend", folders, image1=["1", 0], image2=["2", 0], blend_factor=0.25, blend_mode="normal")
    assert blended.mean() == pytest.approx(0.25)
    assert step(graph, "MaskToImage", folders, mask=["5", 0]).shape == (1, 4, 8, 3)
    runner = Runner({**graph, "9": {"class_type": "PreviewAny", "inputs": {"source": ["6", 0]}}}, folders).run()
    assert runner.ui["9"] == {"text": ["7"]}
    assert math.isclose(step(graph, "InvertMask", folders, mask=["5", 0]).mean(), 0.75)
