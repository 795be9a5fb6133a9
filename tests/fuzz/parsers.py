"""Every parser of data that others wrote, with good samples of what it reads and the owner-made way to call it."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any

from PIL import Image

from ryla_gen import graphs, media
from ryla_gen.backends import recover
from ryla_gen.backends.runpod import errors as runpod_errors
from ryla_gen.backends.runpod import files as runpod_files
from ryla_gen.backends.runpod import ticket as runpod_ticket
from ryla_gen.backends.runpod.api import RunpodAnswer as RunpodAnswer
from ryla_gen.batches import Manifest
from ryla_gen.characters.base import CharacterPlan, Shot
from ryla_gen.characters.store import PLAN, JobFolder
from ryla_gen.client.requests import rebuilt
from ryla_gen.comfy import lint, messages, schema
from ryla_gen.comfy.errors import HttpAnswer, node_error, refusal, submit_error
from ryla_gen.comfy.requirements import missing_for
from ryla_gen.contract import read_reply, read_request, reply
from ryla_gen.engine import stored_loras, used_seed
from ryla_gen.errors import error_from_data
from ryla_gen.events import event_from_data
from ryla_gen.graphs.fields import fields_of_graph
from ryla_gen.graphs.graph_file import parse
from ryla_gen.graphs.inputs import inputs_of, pictures_of
from ryla_gen.graphs.reading import recognise
from ryla_gen.history import History
from ryla_gen.history.base import COLUMNS, record_of
from ryla_gen.media.strip import strip
from ryla_gen.models.downloads.checksums import Records
from ryla_gen.models.loras.base import card_from
from ryla_gen.models.loras.keys import base_of
from ryla_gen.models.loras.trigger_words import trigger_words
from ryla_gen.models.node_schemas import node_schemas
from ryla_gen.models.safetensors import parse_header
from ryla_gen.results import notes
from ryla_gen.results.output_files import as_output, output_notices
from ryla_gen.settings import Settings
from ryla_gen.settings import edit as toml_edit
from ryla_gen.settings.base import KEYS
from ryla_gen.settings.reading import read_config
from ryla_gen.tools.gallery import collect
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.custom import CustomWorkflow
from ryla_gen.workflows.faces import InstantID
from ryla_gen.workflows.flux import FluxDev, FluxLora
from ryla_gen_cli import rows

from ..graphs.sheets import Sheet
from ..media_samples import video
from ..models.loras.files import lora
from ..test_contract import GENERATION, SHAPES
from . import mutating

HERE = Path(__file__).parent
SAMPLES = json.loads((HERE / "samples.json").read_text(encoding="utf-8"))
API = json.loads((HERE.parent / "data" / "graphs" / "flux_dev.json").read_text(encoding="utf-8"))
FLUX = FluxDev(prompt="a fox", seed=7)


@dataclass(frozen=True)
class Parser:
    """One parser: what it reads, how that is broken, and what may come out."""

    name: str
    """File and function."""
    kind: str
    """data (plain data), json (its text), toml, text or bytes."""
    samples: Callable[[], list[Any]]
    call: Callable[[Any, Path], Any]
    allowed: tuple[type[Exception], ...] = ()
    """Errors beside ours that the parser's own words name."""
    weight: float = 1.0
    """Cases it gets, in relation to others: what is slow gets fewer."""

    def broken(self, source: random.Random) -> Any:
        """One case."""
        sample = source.choice(_samples(self))
        if self.kind == "data":
            return mutating.mutated(sample, source)
        if self.kind == "json":
            return mutating.as_json(mutating.mutated(sample, source), source)
        return mutating.mutated_bytes(sample, source) if self.kind == "bytes" else mutating.mutated_text(sample, source)


@cache
def _samples(parser: Parser) -> list[Any]:
    return parser.samples()


def finite(value: Any) -> Any:
    """Return a parsed message; numbers that are none would break whoever counts with them.

    Raises:
        ArithmeticError: one is NaN or infinite.
    """
    if value is not None and dataclasses.is_dataclass(value):
        for item in dataclasses.fields(value):
            held = getattr(value, item.name)
            if isinstance(held, float) and not math.isfinite(held):
                raise ArithmeticError(f"{type(value).__name__}.{item.name} is {held}")
    return value


def _schemas() -> dict[str, Any]:
    used = {node["class_type"] for node in API.values()} | {"LoraLoader", "LoadImage", "SaveImage", "KSampler", "SaveVideo"}
    return {name: held for name, held in node_schemas().items() if name in used}


def _drawing() -> dict[str, Any]:
    sheet = Sheet()
    load = sheet.add("CheckpointLoaderSimple", ["x.safetensors"])
    text = sheet.add("CLIPTextEncode", ["a fox"], inputs={"clip": (load, 1)})
    noise = sheet.add("EmptyLatentImage", [64, 64, 1])
    sockets = {"model": (load, 0), "positive": (text, 0), "negative": (text, 0), "latent_image": (noise, 0)}
    sampler = sheet.add("KSampler", [7, "fixed", 20, 1.0, "euler", "simple", 1.0], inputs=sockets)
    image = sheet.add("VAEDecode", inputs={"samples": (sampler, 0), "vae": (load, 2)})
    sheet.add("SaveImage", ["fox"], inputs={"images": (image, 0)})
    return sheet.ui()


def _with_subgraph() -> dict[str, Any]:
    inner = Sheet()
    inner.add("CLIPTextEncode", ["a fox"], inputs={"text": None, "clip": None}, widgets=("text",))
    outer = Sheet()
    load = outer.add("CheckpointLoaderSimple", ["x.safetensors"])
    outer.add("11111111-2222-3333-4444-555555555555", ["a hen"], inputs={"clip": (load, 1)})
    return outer.ui(inner.subgraph("11111111-2222-3333-4444-555555555555", ("clip",), ("CONDITIONING",)))


def _history(entry: Any, _: Path) -> Any:
    if not isinstance(entry, dict):
        return None  # the client asks for an object
    told = messages.messages_from_history("p", entry)
    for item in told:
        finite(item)
        if isinstance(item, messages.ExecutionError):
            node_error(item)
    return told


def _refused(body: str, _: Path) -> Any:
    answer = HttpAnswer(400, body.encode("utf-8", "surrogatepass"), "application/json")
    held = answer.json()
    return refusal(held) if isinstance(held, dict) else submit_error(answer, "here")


def _graph(data: Any, _: Path) -> Any:
    """A graph of a stranger's, on its way to a server."""
    workflow = CustomWorkflow.from_plain({"graph": data}, trusted=False)
    api = workflow.build().to_api()
    used_seed(workflow, api)
    known = _schemas()
    schema.validate(api, known)
    lint.oddities(api, known)
    missing_for("workflow", api, known, files=False)
    return inputs_of(api, known), list(pictures_of(api)), fields_of_graph(api, known)


def _object_info(data: Any, _: Path) -> Any:
    if not isinstance(data, dict):
        return None  # the client asks for an object
    data = schema.readable_schemas(data)  # as it does
    for held in data.values():
        schema.input_specs(held)
        schema.file_inputs(held)
        schema.upload_inputs(held)
    verdict = schema.validate(API, data)
    lint.oddities(API, data)
    missing_for("flux_dev", API, data)
    stored_loras(["ada"], data)
    return verdict


def _converted(data: Any, _: Path) -> Any:
    item = recognise(data)
    return graphs.convert(item.data, _schemas(), lenient=True) if item.kind == "ui" else item


def _strictly(data: Any, _: Path) -> Any:
    item = recognise(data)
    return graphs.convert(item.data, _schemas()) if item.kind == "ui" else item


def _drawn(data: Any, _: Path) -> Any:
    if not isinstance(data, dict):
        return None  # a text is the name of a workflow or a file, and other things are no graph
    return graphs.draw_mermaid(data, _schemas())


def _graph_file(text: str, _: Path) -> Any:
    return recognise(parse(text.encode("utf-8", "surrogatepass"), "graph.json"))


def _config(text: str, folder: Path) -> Any:
    (folder / "config.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    read_config(folder / "config.toml")
    return list(Settings.load({"RYLA_GEN_HOME": str(folder), "HOME": str(folder)}).entries())


def _environment(env: Any, folder: Path) -> Any:
    given = env if isinstance(env, dict) else {}
    texts = {str(name): value if isinstance(value, str) else repr(value)[:9000] for name, value in given.items()}
    return list(Settings.load({**texts, "RYLA_GEN_HOME": str(folder / "empty")}).entries())


def _edited(text: str, _: Path) -> Any:
    return toml_edit.with_value(text, "modal.timeout", 7.0), toml_edit.without_value(text, "comfyui.url")


def _header(data: bytes, _: Path) -> Any:
    header = parse_header(io.BytesIO(data), len(data), "x")
    return base_of(header), trigger_words(header.metadata)


def _entries(data: str, _: Path) -> Any:
    head = data.encode("utf-8", "surrogatepass")
    return _header(len(head).to_bytes(8, "little") + head + bytes(64), Path())


def _card(data: Any, _: Path) -> Any:
    return card_from(data, "ada").to_data()


def _words(data: Any, _: Path) -> Any:
    held = {str(key): value for key, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {}
    return trigger_words(held)


def _note(text: str, folder: Path) -> Any:
    path = folder / "note.png"
    path.write_bytes(media.add_png_text(png(), {notes.METADATA_KEY: text, "prompt": text}))
    collect(folder, History(folder / "home" / "history.sqlite3"))
    return notes.load(path)


def _comfy_note(text: str, folder: Path) -> Any:
    path = folder / "note.png"
    path.write_bytes(media.add_png_text(png(), {"prompt": text, "workflow": text}))
    collect(folder, History(folder / "home" / "history.sqlite3"))
    graphs.read(path)
    return notes.load(path)


def _file(data: bytes, folder: Path) -> Any:
    output = as_output(data, "x.png", "x-7-0", "webp", {"ryla": "{}"})
    output_notices((output,))
    output._repr_html_()
    kind = media.sniff_media_type(data) or ""
    strip(data, kind)
    media.read_metadata(data)
    (folder / "file.png").write_bytes(data)
    collect(folder, History(folder / "home" / "history.sqlite3"))
    return notes.load(folder / "file.png")


def _reference(data: bytes, _: Path) -> Any:
    from ryla_gen.media.images import clean_picture

    kind = media.sniff_media_type(data) or ""
    return media.probe_video(data) if kind.startswith("video/") else clean_picture(data)


def _row(data: Any, _: Path) -> Any:
    row = {**dict.fromkeys(COLUMNS), **(data if isinstance(data, dict) else {})}
    kept = {name: value if isinstance(value, str | float | None) else repr(value)[:5000] for name, value in row.items()}
    record = record_of(tuple(kept[name] for name in COLUMNS))
    return rebuilt(record.workflow, record.inputs) if isinstance(record.workflow, str) else None


def _runpod(text: str, _: Path) -> Any:
    answer = RunpodAnswer(200, text.encode("utf-8", "surrogatepass")).object()
    if answer is None:
        return None
    runpod_files.progress_of(answer.get("output"))
    runpod_ticket.seconds_of(answer.get("executionTime"))
    runpod_errors.saved_nothing(answer)
    runpod_errors.node_failed(answer, "job")
    runpod_errors.end_error(answer, "job")
    files = [(name, runpod_files.decode(data)) for name, kind, data in runpod_files.list_files(answer) if kind == "base64"]
    return runpod_files.outputs_of(files, FLUX, {}, "job")


def _manifest(text: str, folder: Path) -> Any:
    (folder / "batch.jsonl").write_bytes(text.encode("utf-8", "surrogatepass"))
    manifest = Manifest(folder)
    return manifest.finished("k"), manifest.unfinished_job("k"), manifest.claims("k", "fox.png")


def _rows(text: str, folder: Path) -> Any:
    (folder / "list.jsonl").write_bytes(text.encode("utf-8", "surrogatepass"))
    return rows.read(folder / "list.jsonl")


def _table(text: str, folder: Path) -> Any:
    (folder / "list.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    return rows.read(folder / "list.csv")


def _plan(text: str, folder: Path) -> Any:
    job = JobFolder(folder, "job")
    job.path.mkdir(parents=True, exist_ok=True)
    (job.path / PLAN).write_bytes(text.encode("utf-8", "surrogatepass"))
    return job.read()


def _records(text: str, folder: Path) -> Any:
    records = Records(folder)
    records.path.parent.mkdir(parents=True, exist_ok=True)
    records.path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return records.all()


def _request(cls: type[Workflow]) -> Callable[[Any, Path], Any]:
    def read(data: Any, _: Path) -> Any:
        given = read_request(data, cls.name)
        given.workflow.notices()
        given.workflow.described()
        return given.workflow.build().to_api()

    return read


def _reply(data: Any, _: Path) -> Any:
    made = read_reply(data, FLUX)
    output_notices(made.outputs)
    for item in (made.timings, made.cost):
        finite(item)
    return reply(made)


def _event(data: Any, _: Path) -> Any:
    return finite(event_from_data(data)) if isinstance(data, Mapping) else None


def _error(data: Any, _: Path) -> Any:
    return str(error_from_data(data)) if isinstance(data, Mapping) else None


def _told(data: Any, _: Path) -> Any:
    said = recover._metadata(data)
    inputs = said.get("inputs")
    return rebuilt(str(said.get("workflow") or ""), inputs) if isinstance(inputs, dict) else None


def _frame(text: str, _: Path) -> Any:
    return finite(messages.parse_text(text))


def _binary(data: bytes, _: Path) -> Any:
    return messages.parse_binary(data, "p", "7")


@cache
def png() -> bytes:
    """A small picture."""
    return _picture("PNG")


def _picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    image = Image.radial_gradient("L").resize((24, 24)).convert("RGB")
    image.save(buffer, kind, **({"save_all": True, "append_images": [image.rotate(90)]} if kind == "GIF" else {}))
    return buffer.getvalue()


def _pictures() -> list[bytes]:
    texts = {notes.METADATA_KEY: json.dumps(GENERATION.metadata), "prompt": json.dumps(API)}
    marked = media.add_png_text(png(), texts)
    return [marked, media.convert_image(png(), "jpeg", texts), media.convert_image(png(), "webp", texts)]


def _files() -> list[bytes]:
    return [*_pictures(), *map(_picture, ("BMP", "GIF", "TIFF")), video(), b"fLaC" + bytes(40), b"glTF" + bytes(40)]


def _previews() -> list[bytes]:
    about = json.dumps({"prompt_id": "p", "display_node_id": "7", "image_type": "image/jpeg"}).encode()
    return [
        b"\0\0\0\1\0\0\0\2" + png(),
        b"\0\0\0\4" + len(about).to_bytes(4, "big") + about + _picture("JPEG"),
    ]


CONFIG = """backend = ["modal", "comfyui"]
output_dir = "~/Pictures"
max_usd = 0.5
notebook = true
[modal]
timeout = 180.0
region = ["eu"]
[modal.families.flux]
gpu = ["L40S"]
min_containers = 0
[comfyui]
url = "http://127.0.0.1:8188"
[runpod]
usd_per_second = 0.00053
"""
STATUS = {
    "id": "a-1",
    "status": "COMPLETED",
    "delayTime": 120,
    "executionTime": 3000,
    "workerId": "w1",
    "output": {"images": [{"filename": "x.png", "type": "base64", "data": "iVBORw0KGgo="}], "errors": ["y"]},
}
PROGRESS = {**STATUS, "output": {"step": 7, "steps": 20}}
GRAPH = {"inputs": {"graph": API, "seed": 1}}
LORA = {"inputs": {"prompt": "a", "lora_id": "ada"}}
FAILED = {
    "id": "a-1",
    "status": "FAILED",
    "error": '{"error_type": "<class>", "error_message": "Workflow validation failed:\\\\n• Node 4 (errors): [{\'type\': \'x\'}]"}',
    "output": {"error": "Node Type: KSampler, Node ID: 3, Message: boom", "details": ["a", "b"]},
}
DONE = {"key": "k", "state": "done", "job": "j", "claims": ["fox.png"], "files": [{"name": "fox.png", "bytes": 3}]}
ROW = {
    "id": "j", "backend": "modal", "workflow": "instantid", "state": "failed", "seed": "7", "created_at": "2026-01-01T00:00:00Z",
    "inputs": json.dumps({"prompt": "a", "reference_image": {"sha256": "0", "bytes": 3}}), "error": '{"code": "internal"}',
    "outputs": "[]", "tags": "[]", "gpu_seconds": 1.0,
}  # fmt: skip
PICTURE = {"sha256": "0" * 64, "bytes": 3}
NOTE = {"contract": 1, "workflow": "instantid", "seed": 7, "job": "j", "inputs": {"prompt": "a", "reference_image": PICTURE}}
CONTENT = f"{'0' * 16}.safetensors"
CARD = {"id": "ada", "file": CONTENT, "sha256": "0" * 64, "bytes": 3, "base": "flux", "trigger_words": ["ada"]}
TENSOR = {"dtype": "F16", "shape": [4, 8], "data_offsets": [0, 64]}
ENTRIES = {"a.lora_down.weight": TENSOR, "__metadata__": {"ss_tag_frequency": "{}"}}
WORDS = {"ss_tag_frequency": '{"10_a": {"b": 3}}', "trigger_words": '["a"]'}
RECORD = {"repo": "a/b", "revision": None, "file": "x", "bytes": 3, "sha256": "0" * 64, "source": "hub", "at": "now"}
PART = Shot("a", "a", "a", 1, ["j"])
CHARACTER = CharacterPlan("job", "swap", "modal", "flux_pulid", False, 7, "now", {}, {**PICTURE, "origin": None}, [], [PART])


ENVIRONMENT = {
    "RYLA_GEN_MODAL_TIMEOUT": "180",
    "RYLA_GEN_BACKEND": "modal,comfyui",
    "COMFYUI_POD_URL": "http://me:secret@127.0.0.1:8188",
    "RYLA_GEN_MAX_USD": "0.5",
    "RYLA_GEN_MODAL_FAMILIES_FLUX_MIN_CONTAINERS": "1",
    "MODAL_TIMEOUT": "180000",
    "RYLA_GEN_NOTEBOOK": "no",
    "RYLA_GEN_OUTPUT_DIR": "~/x",
    "RUNPOD_API_KEY": "k",
}
KNOWN = {variable for key in KEYS.values() for variable, _ in key.variables}
assert all(name in KNOWN for name in ENVIRONMENT if name.startswith("RYLA_GEN")), "else they are not read"


PARSERS: tuple[Parser, ...] = (
    Parser("comfy/messages.py:parse_text", "json", lambda: SAMPLES["frames"], _frame, weight=3),
    Parser("comfy/messages.py:parse_binary", "bytes", _previews, _binary),
    Parser("comfy/messages.py:messages_from_history", "data", lambda: SAMPLES["history"], _history, weight=2),
    Parser("comfy/errors_map.py:refusal", "json", lambda: SAMPLES["refusals"], _refused, weight=2),
    Parser("comfy/schema.py:object_info", "data", lambda: [_schemas()], _object_info, weight=0.5),
    Parser("workflows/custom.py, comfy/schema.py:validate, slots, fields", "data", lambda: [API], _graph),
    Parser("graphs/converting.py:convert lenient", "data", lambda: [_drawing(), _with_subgraph()], _converted),
    Parser("graphs/converting.py:convert", "data", lambda: [_drawing(), _with_subgraph()], _strictly),
    Parser("graphs/picture.py, mermaid.py", "data", lambda: [_drawing(), API], _drawn, weight=0.3),
    Parser("workflows/graph_file.py:parse, graphs/reading.py:found", "json", lambda: [_drawing(), API], _graph_file),
    Parser("contract.py:read_reply", "data", lambda: [reply(GENERATION), SHAPES["error_reply"]], _reply, weight=2),
    Parser("contract.py:read_request", "data", lambda: [SHAPES["request"]], _request(InstantID)),
    Parser("contract.py:read_request of a graph", "data", lambda: [GRAPH], _request(CustomWorkflow)),
    Parser("contract.py:read_request of LoRAs", "data", lambda: [LORA], _request(FluxLora)),
    Parser("events.py:event_from_data", "data", lambda: [SHAPES[name] for name in SHAPES if name.startswith("event")], _event),
    Parser("errors.py:error_from_data", "data", lambda: [SHAPES["error_reply"]["error"]], _error),
    Parser("settings/reading.py:read_config", "toml", lambda: [CONFIG], _config),
    Parser("settings/__init__.py:environment", "data", lambda: [ENVIRONMENT], _environment),
    Parser("settings/edit.py", "toml", lambda: [CONFIG], _edited, (ValueError, TOMLDecodeError), weight=0.1),
    Parser("safetensors.py:parse_header", "bytes", lambda: [lora(metadata={"a": "b"})], _header),
    Parser("safetensors.py:entries", "json", lambda: [ENTRIES], _entries, weight=2),
    Parser("loras/base.py:card_from", "data", lambda: [CARD], _card, (ValueError,)),
    Parser("loras/words.py:trigger_words", "data", lambda: [WORDS], _words),
    Parser("notes.py:load, gallery/reading.py", "json", lambda: [NOTE, GENERATION.metadata], _note, weight=0.5),
    Parser("notes.py:load of ComfyUI's, gallery", "json", lambda: [API, _drawing()], _comfy_note, weight=0.5),
    Parser("outputs.py:as_output, media, gallery", "bytes", _files, _file, weight=0.5),
    Parser("media/images.py, media/video.py", "bytes", _files, _reference, weight=0.5),
    Parser("history/base.py:record_of, calls.py:rebuilt", "data", lambda: [ROW], _row),
    Parser("backends/runpod_*.py", "json", lambda: [STATUS, FAILED, PROGRESS], _runpod, weight=2),
    Parser("backends/recover.py:_metadata", "data", lambda: [{"extra_pnginfo": {"ryla": NOTE}}], _told),
    Parser("batches/manifest.py", "json", lambda: [DONE, {"key": "k", "state": "sent", "job": "j"}], _manifest, weight=0.5),
    Parser("cli/rows.py of JSON", "json", lambda: [{"workflow": "flux_dev", "prompt": "a", "output": "x.png"}], _rows, weight=0.5),
    Parser("cli/rows.py of CSV", "text", lambda: ["workflow,prompt,steps,output\nflux_dev,a fox,20,x.png\n"], _table, weight=0.5),
    Parser("characters/store.py:read", "json", lambda: [CHARACTER.to_data()], _plan, weight=0.5),
    Parser("downloads/records.py:all", "json", lambda: [{"version": 1, "files": {"a": RECORD}}], _records, weight=0.5),
)  # fmt: skip
