"""Runs graphs of others on the emulator, made small, and says which ran, which were refused before their start, and which failed.

    python benchmarks/templates.py FOLDER_OR_FILE… [--only WORD] [--keep FOLDER] [--full-size]

A folder holds JSON files of ``{"name", "api"}``; a file is a list of such, gzipped or not. A graph that fails after its start is a
fault of the emulator: the exit status then is 1. The input files that a graph names are made up, as a user would bring them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ryla_gen.emulator.server import Emulator
from ryla_gen.emulator.sounds import tone
from ryla_gen.emulator.video import write, write_audio
from ryla_gen.models.node_schemas import GRAPH_VERSION

MOST: dict[str, float] = {
    **dict.fromkeys(("width", "height", "target_width", "target_height", "largest_size", "longer_edge", "largest_dimension"), 256),
    **{f"resize_type.{name}": 256 for name in ("longer_size", "shorter_size", "width", "height")},
    **dict.fromkeys(("length", "num_frames", "frames_number"), 17),
    **dict.fromkeys(("megapixels", "resize_type.megapixels"), 0.1),
    "steps": 4,
    "video_frames": 9,
    "frames": 4,
    "batch_size": 2,
    "seconds": 2.0,
    "duration": 4.0,
}
"""Literal inputs that are made smaller."""
SIDE = 256
LONGEST_WAIT = 300.0


def graphs(places: list[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every graph, with its name."""
    for place in places:
        files = sorted(place.glob("*.json")) if place.is_dir() else [place]
        for file in files:
            raw = file.read_bytes()
            data = json.loads(gzip.decompress(raw) if file.suffix == ".gz" else raw)
            for item in data if isinstance(data, list) else [data]:
                yield item["name"], item["api"]


def small(graph: dict[str, Any]) -> None:
    """Cut sizes, lengths and steps that stand in the graph as numbers."""
    for node in graph.values():
        for name, value in node["inputs"].items():
            if name in MOST and isinstance(value, int | float) and not isinstance(value, bool):
                node["inputs"][name] = min(value, MOST[name])
            elif node["class_type"] == "PrimitiveInt" and name == "value" and isinstance(value, int) and 256 < value <= 4096:
                node["inputs"][name] = 256


def bring_inputs(graph: dict[str, Any], folder: Path) -> None:
    """Make the files that the graph's loaders name."""
    for node in graph.values():
        for name in ("image", "file", "audio", "model_file", "mask"):
            value = node["inputs"].get(name)
            if not (isinstance(value, str) and "." in value and node["class_type"].startswith(("Load", "Painter"))):
                continue
            path = folder / value.removesuffix(" [temp]")
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                make_file(path)


def make_file(path: Path) -> None:
    """A small valid picture, video or sound, by its suffix."""
    suffix = path.suffix.lower()
    ramp = np.linspace(0, 255, SIDE, dtype=np.uint8)
    pixels = np.stack([np.tile(ramp, (SIDE, 1)), np.tile(ramp[:, None], (1, SIDE)), np.full((SIDE, SIDE), 120, np.uint8)], axis=-1)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    pixels[(x - 128) ** 2 + (y - 110) ** 2 < 3000] = (230, 180, 150)
    if suffix in (".mp4", ".webm", ".mov"):
        frames = [np.roll(pixels, 4 * i, 1) for i in range(17)]
        write(path, frames, (SIDE, SIDE), Fraction(16), "h264", {}, tone(1.0))
    elif suffix in (".mp3", ".opus", ".flac"):
        whole = path.with_suffix(suffix)
        write_audio(whole, tone(2.0)["waveform"][0], 44_100, {})
        if whole != path:
            whole.rename(path)
    elif suffix == ".wav":
        import wave

        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 44_100, 0, "NONE", ""))
            sound.writeframes((tone(2.0)["waveform"][0, 0] * 32_000).astype("<i2").tobytes())
    else:
        Image.fromarray(pixels).save(path, {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(suffix, "PNG"))


def ask(url: str, body: Any = None) -> tuple[int, Any]:
    """One HTTP request; the status and the JSON of its answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=LONGEST_WAIT) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text) if text.startswith("{") else {"error": {"type": "crash", "message": text[:200]}}


def run(url: str, graph: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """How it went (``ran``, ``refused``, ``failed``), why, and its history entry."""
    status, answer = ask(f"{url}/prompt", {"prompt": graph})
    if status != 200:
        return "refused", reason(answer), {}
    if answer.get("node_errors"):
        return "refused", reason({"node_errors": answer["node_errors"]}), {}
    ends = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < ends:
        _, history = ask(f"{url}/history/{answer['prompt_id']}")
        if history:
            return ended(history[answer["prompt_id"]])
        time.sleep(0.02)
    return "failed", "it did not end", {}


def ended(entry: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Read a history entry."""
    if entry["status"]["completed"]:
        said = [
            f"{n['code']}: {n['message'][:220]}" for out in list(entry["outputs"].values())[:1] for n in out.get("emulated", ())
        ]
        return "ran", " | ".join(said), entry
    error = next(data for kind, data in entry["status"]["messages"] if kind == "execution_error")
    trace = "".join(error["traceback"][-1:]).strip().replace("\n", " ")
    return (
        "failed",
        f"{error['node_type']} ({error['node_id']}): {error['exception_type']}: {error['exception_message'].strip()} [{trace}]",
        {},
    )


def reason(answer: dict[str, Any]) -> str:
    """Why a prompt was refused."""
    errors = [
        f"{node['class_type']}.{error['details'][:120]}: {error['type']}"
        for node in answer.get("node_errors", {}).values()
        for error in node["errors"]
    ]
    whole = answer.get("error") or {}
    return f"{whole.get('type')}: {whole.get('message')} {whole.get('details', '')[:200]} {'; '.join(errors)[:300]}"


def main() -> int:
    """Run all graphs; 1 when one failed after its start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", type=Path)
    parser.add_argument("--only", default="", help="only graphs whose name holds this")
    parser.add_argument("--keep", type=Path, help="keep what the graphs saved in this folder")
    parser.add_argument("--full-size", action="store_true", help="leave sizes, lengths and steps as they are")
    given = parser.parse_args()
    count: Counter[str] = Counter()
    with Emulator(comfyui=GRAPH_VERSION) as server:
        for name, graph in graphs(given.places):
            if given.only not in name:
                continue
            if not given.full_size:
                small(graph)
            bring_inputs(graph, server.folders.input)
            bring_inputs(graph, server.folders.temp)
            began = time.monotonic()
            how, why, entry = run(server.url, graph)
            count[how] += 1
            sys.stdout.write(f"{how:8} {time.monotonic() - began:6.1f} s  {name}  {why}\n")
            sys.stdout.flush()
            if given.keep is not None:
                keep(entry, server, given.keep, name)
    total = sum(count.values())
    sys.stdout.write(
        f"{total} graphs: " + ", ".join(f"{number} {how} ({number / total:.0%})" for how, number in count.most_common()) + "\n"
    )
    return 1 if count["failed"] else 0


def keep(entry: dict[str, Any], server: Emulator, folder: Path, name: str) -> None:
    """Copy what a graph saved."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, ui in enumerate(entry.get("outputs", {}).values()):
        for file in (item for items in ui.values() for item in items if isinstance(item, dict) and "filename" in item):
            path = server.folder / file["type"] / file["subfolder"] / file["filename"]
            if path.is_file():
                shutil.copy(path, folder / f"{name.replace(chr(47), chr(95))}-{place}-{path.name}")


if __name__ == "__main__":
    raise SystemExit(main())
