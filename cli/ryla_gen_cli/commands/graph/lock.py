"""Implement ``ryla-gen graph lock``: write down everything that a graph needs to run. Must not deploy or run it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from ryla_gen import media
from ryla_gen.errors import BackendNotConfiguredError, InvalidInputError, ModelNotFoundError, StorageFailedError
from ryla_gen.locks.graph_lock import PENDING, SUFFIX, GraphLock, LockedModel, lock_text
from ryla_gen.locks.lock_reading import read_graph_lock, read_requirements
from ryla_gen.locks.model_rows import plain_address
from ryla_gen.models.licences import commercial_use, condition, verdict
from ryla_gen.settings import Settings
from ryla_gen.support.counting import count_text
from ryla_gen.support.numbers import format_bytes
from ryla_gen.support.shell_words import path_word
from ryla_gen.tools.locking.build_files import PackHints, comfy_build_yaml, read_hints
from ryla_gen.tools.locking.image_choice import LOCKABLE
from ryla_gen.tools.locking.keeping import PYTHON, kept_packs, lock_changes
from ryla_gen.tools.locking.lock_options import LockOptions
from ryla_gen.tools.locking.locking import Locked, lock_graph, name_of
from ryla_gen.tools.locking.manager_models import listed_in_manager
from ryla_gen.tools.locking.manager_nodes import node_map
from ryla_gen.tools.locking.model_options import ModelChoice, parse_model_option
from ryla_gen.tools.locking.online import Network
from ryla_gen.tools.locking.pack_lookup import PackSources
from ryla_gen.tools.locking.server_check import ServerLacks, server_lacks
from ryla_gen.tools.locking.volume_models import Volume

from ...common import Json, Overwrite, Quiet, Url, grouped, screen_of
from ...screen import Screen, shorten, table, width
from . import tools
from .checks import nodes_of

HOUR = 3600


@dataclass(frozen=True, slots=True)
class LockCommandOptions:
    """What decides about a lock."""

    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the lock. Default: the file's.")] = None
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.lock", help="File to write. Default: NAME.lock.")
    ] = None
    comfyui: Annotated[
        str | None, typer.Option("--comfyui", metavar="VERSION", help=f"ComfyUI release to lock for: {' or '.join(LOCKABLE)}.")
    ] = None
    url: Url = None
    schemas: tools.SchemaFile = None
    input: Annotated[
        list[str] | None, typer.Option("--input", metavar="NAME=NODE.INPUT", help="One more value as a field; repeatable.")
    ] = None
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME=PLACE",
            help="Where a file is: hf://OWNER/REPO/FILE, https://…, civitai:VERSION, lora:ID, volume",
        ),
    ] = None
    pack: Annotated[
        list[str] | None,
        typer.Option("--pack", metavar="CLASS=OWNER/REPO@COMMIT", help="Which node pack gives a class; repeatable."),
    ] = None
    apt: Annotated[
        list[str] | None,
        typer.Option("--apt", metavar="PACKAGE", help="A package of Debian that a node pack needs; repeatable."),
    ] = None
    take: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="Take pins from comfy-build.yaml, a Manager snapshot or a .cpack.zip."),
    ] = None
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask nobody: what this package does not know itself stays pending or unknown.")
    ] = False
    gpu: Annotated[str | None, typer.Option("--gpu", metavar="NAME", help="GPU to run on. Default: by the size of the models.")] = (
        None
    )
    update: Annotated[
        list[str] | None,
        typer.Option(
            "--update",
            metavar="WHAT",
            help="Do not keep what the lock has: all, comfyui, packs, python, apt, models, inputs, gpu, a pack, a file.",
        ),
    ] = None

    def command(self, file: Path, *, whole: bool = False) -> str:
        """Return the command that locks the same graph into the same file, as a shell reads it; without ``--offline``.

        Args:
            file: the graph.
            whole: with the answers given now, which a lock that was written keeps by itself.

        """
        # Without user and password: the command stands in the lock, which others read.
        address = Settings.load(comfyui_url=self.url).comfyui_url if self.url else None
        files = {"-o": self.output, "--schemas": self.schemas, "--import": self.take}
        given: list[tuple[str, str | None]] = [("--name", self.name), ("--comfyui", self.comfyui), ("--url", address)]
        if whole:
            given += [("--gpu", self.gpu)]
            for option, values in (("--input", self.input), ("--model", self.model), ("--pack", self.pack), ("--apt", self.apt)):
                given += [(option, value) for value in values or ()]
        words = [f"{option} {quote(value)}" for option, value in given if value is not None]
        words += [f"{option} {path_word(path)}" for option, path in files.items() if path is not None]
        return " ".join(["ryla-gen graph lock", path_word(file), *words])


@grouped
def lock(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The graph, a saved picture, or a lock.", show_default=False)],
    options: LockCommandOptions,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write down everything that a graph needs: ComfyUI, node packs, Python packages, models, inputs, GPU; then deploy that."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    target = _target(file, options)
    before = read_graph_lock(target) if target.is_file() else None
    if before is None and set(options.update or ()) - {PYTHON}:  # packages move also where nothing was locked yet
        raise InvalidInputError(f"There is no {target} to update.", f"Make it first: {options.command(file, whole=True)}")
    known = tools.nodes_for(options.url, options.schemas).schemas if options.url or options.schemas else None
    hints = read_hints(options.take) if options.take else None
    for text in hints.left_out if hints else ():
        screen.note(f"note: {text}")
    network = None if options.offline else Network.of(Settings.load())
    choices = [parse_model_option(text) for text in options.model or ()]
    made = lock_graph(
        file,
        LockOptions(
            name=options.name or target.name.removesuffix(SUFFIX),
            comfyui=options.comfyui or _release_in(hints),
            comfyui_source=hints.source if hints and not options.comfyui else "--comfyui",
            schemas=known,
            models=_models(choices, hints),
            packs=PackSources(
                chosen={**kept_packs(before, options.update or ()), **_packs(options.pack)},
                registry=network.registry if network else None,
                listed=node_map(),
                hints=hints.packs if hints else (),
                imported=hints.source if hints else "",
            ),
            inputs=tuple(options.input or ()),
            apt=tuple(options.apt or ()),
            gpu=options.gpu,
            before=before,
            moves=tuple(options.update or ()),
            listed=listed_in_manager,
            listed_name="ComfyUI-Manager's list",
            network=network,
            volume=lambda: None if options.offline else _volume(choices, screen),
            packages=read_requirements(target, before) if before is not None else "",
            command=options.command(file),
            retry=options.command(file, whole=True),
        ),
    )
    write(made, target)
    for text in made.notes:
        screen.note(f"note: {text}")
    _show(screen, made.lock, target, before)


def _release_in(hints: PackHints | None) -> str | None:
    """Return the release of an imported file where it can be locked; another one is not taken over."""
    return hints.comfyui_version if hints and hints.comfyui_version in LOCKABLE else None


def _volume(choices: Sequence[ModelChoice], screen: Screen) -> Volume | None:
    """Return the volume where it is named, or can be asked: there is a token for Modal."""
    from ryla_gen.remote.volume_reader import VolumeReader, has_token  # here, because modal takes long to import

    named = any(not item.url for item in choices)
    return VolumeReader(Settings.load(), screen.note) if named or has_token() else None


def _models(choices: Sequence[ModelChoice], hints: PackHints | None) -> dict[str, LockedModel]:
    """Return what the caller says of files, over what an imported file says."""
    imported = {
        f"{item.folder}/{item.file}": replace(
            ModelChoice(item.file, "https", plain_address(item.url)).model(item.folder, item.file),
            sha256=item.sha256 or PENDING,
            source=hints.source,
        )
        for item in (hints.models if hints else ())
        if item.url and hints
    }
    return imported | {item.name: item.model("", item.name) for item in choices}


def _packs(texts: list[str] | None) -> dict[str, str]:
    """Read ``CLASS=OWNER/REPOSITORY@COMMIT``.

    Raises:
        InvalidInputError: a text has another form.

    """
    found = {}
    for text in texts or ():
        kind, equals, place = text.partition("=")
        if not (kind.strip() and equals and place.strip()):
            hint = "Write it as --pack ClownsharKSampler_Beta=ClownsharkBatwing/RES4LYF@COMMIT"
            raise InvalidInputError(f"--pack {text!r} is not CLASS=OWNER/REPOSITORY@COMMIT.", hint)
        found[kind.strip()] = place.strip()
    return found


def _target(file: Path, options: LockCommandOptions) -> Path:
    """Return the file of the lock.

    Raises:
        InvalidInputError: its name is no lock's.
        StorageFailedError: it is a folder.

    """
    own = f"{options.name or name_of(file)}{SUFFIX}"
    if options.output is not None and options.output.suffix != SUFFIX:
        better = own if str(options.output) == "-" else str(options.output.with_suffix(SUFFIX))
        raise InvalidInputError(f"{options.output}: the name of a lock ends in {SUFFIX}.", f"-o {path_word(better)}")
    target = options.output.expanduser() if options.output is not None else file if file.suffix == SUFFIX else Path(own)
    if target.is_dir():  # said before the file of packages is written, which comes first
        raise StorageFailedError(f"{target} is a folder.", f"Name another file: -o {path_word(target / own)}")
    return target


def write(made: Locked, target: Path) -> None:
    """Write a lock and the file of packages beside it, that one first: a lock without it would be of no use."""
    media.save_atomically(target.with_name(made.lock.image.python.file), made.requirements.encode(), overwrite=True)
    media.save_atomically(target, lock_text(made.lock).encode(), overwrite=True)


def _show(screen: Screen, lock: GraphLock, target: Path, before: GraphLock | None) -> None:
    screen.note("\n".join(_lines(lock)))
    for line in lock_changes(before, lock) if before is not None else ():
        screen.note(f"changed: {line}")
    for item in lock.open:
        screen.note(f"open: {item.subject}: {item.question}\n  {item.command}")
    if not any(item.name == "prompt" for item in lock.inputs):
        name = path_word(target)
        screen.note(f"note: no prompt was found. List what can be set: ryla-gen graph inputs {name}")
        screen.note(f"  Then name it: ryla-gen graph lock {name} --input prompt=NODE.INPUT")
    if lock.open:
        screen.note(f"{count_text(len(lock.open), 'question')} to settle before it can be deployed.")
    else:
        screen.note(f"Next: ryla-gen deploy {path_word(target)}")
    screen.result(data_of(lock, target), str(target))


def _lines(lock: GraphLock) -> Iterator[str]:
    needed = [item for item in lock.models if item.needed]
    yield f"ComfyUI {lock.image.release}"
    for pack in lock.image.packs:
        yield f"pack {pack.name} {pack.commit[:12]} ({pack.source or pack.repo})"
    if lock.apt:
        yield f"apt: {', '.join(lock.apt)}"
    if needed:
        rows = [(item.label, _size(item), shorten(item.licence or "unknown", 40), _use(item.licence)) for item in needed]
        yield table(("model", "size", "licence", "commercial use"), rows, width())
        yield f"{count_text(len(needed), 'model')}, {_sizes([item.bytes for item in needed])}"
    yield f"inputs: {', '.join(item.name for item in lock.inputs) or 'none'}"
    yield f"GPU {lock.gpu.name}, ${lock.estimate.usd_per_second * HOUR:.2f} an hour while it runs. {lock.gpu.why}"


def _use(licence: str | None) -> str:
    return verdict(commercial_use(licence), [condition(licence)])


def _sizes(sizes: list[int | None]) -> str:
    known = [size for size in sizes if size is not None]
    if not known:
        return "of unknown size"
    unknown = f", {count_text(len(sizes) - len(known), 'size')} unknown" if len(known) < len(sizes) else ""
    return f"{format_bytes(sum(known))} to download once{unknown}"


def _size(item: LockedModel) -> str:
    return format_bytes(item.bytes) if item.bytes is not None else "unknown"


def data_of(lock: GraphLock, target: Path) -> dict[str, Any]:
    """Return a lock as the contract's data."""
    packs = [
        {"name": pack.name, "repo": pack.repo, "commit": pack.commit, "classes": list(pack.nodes), "source": pack.source}
        for pack in lock.image.packs
    ]
    return {
        "lock": str(target),
        "name": lock.name,
        "comfyui": lock.image.release,
        "models": [item.to_data() for item in lock.models],
        "packs": packs,
        "apt": list(lock.apt),
        "inputs": [item.to_data() for item in lock.inputs],
        "outputs": [item.to_data() for item in lock.outputs],
        "gpu": lock.gpu.name,
        "usd_per_second": lock.estimate.usd_per_second,
        "open": [item.to_data() for item in lock.open],
    }


def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.lock", help="The lock.", show_default=False)],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Say what a ComfyUI server of your own lacks for a lock: node packs, models. Exits with 1 when something is missing."""
    screen = screen_of(context, as_json=as_json)
    lock = read_graph_lock(file)
    settings = Settings.load(comfyui_url=url)
    if settings.comfyui_url is None:
        hint = f"Name it: ryla-gen graph check {path_word(file)} --url http://127.0.0.1:8188"
        raise BackendNotConfiguredError("No server is configured.", hint)
    nodes = nodes_of(settings.comfyui_url)
    lacks = server_lacks(lock, nodes.schemas, nodes.release)
    if lacks.other_release:
        screen.note(f"note: the server runs ComfyUI {lacks.release}, and the lock is for {lacks.wanted}.")
    if not lacks:
        screen.result(lacks.to_data(), f"The server has everything that {file} needs.")
        return
    for line in _missing(lacks):
        screen.note(line)
    text = f"The server lacks {_counted(lacks)} of {file}."
    name = path_word(file)
    hint = f"On the server's own machine: ryla-gen local install --lock {name}. Or take a GPU of Modal: ryla-gen deploy {name}"
    screen.fail(ModelNotFoundError(text, hint, lacks.to_data()), lacks.to_data())
    raise typer.Exit(1)


def _counted(lacks: ServerLacks) -> str:
    said = [count_text(len(lacks.classes), "node class", "node classes")] if lacks.classes else []
    said += [count_text(len(lacks.models), "model")] if lacks.models else []
    return " and ".join(said)


def _missing(lacks: ServerLacks) -> Iterator[str]:
    of_packs = {kind for pack in lacks.packs for kind in pack.nodes}
    for pack in lacks.packs:
        missing = [kind for kind in pack.nodes if kind in lacks.classes]
        yield f"missing: {pack.name} at {pack.commit[:12]} from {pack.repo}, for {', '.join(missing)}"
    if rest := [kind for kind in lacks.classes if kind not in of_packs]:
        yield f"missing: {', '.join(rest)}, which ComfyUI {lacks.wanted} has"
    for item in lacks.models:
        yield f"missing: models/{item.label} ({_size(item)}) from {item.url or 'a volume at Modal'}"


def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.lock", help="The lock.", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: stdout.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a lock as comfy-build.yaml, which comfy-cli builds from."""
    screen = screen_of(context, as_json=as_json)
    text = comfy_build_yaml(read_graph_lock(file))
    path = media.save_atomically(output, text.encode(), overwrite=overwrite) if output is not None else None
    screen.result({"path": str(path) if path else None, "text": text}, str(path) if path else text.rstrip("\n"))
