"""Settle where the files of a graph come from: what was chosen, what its drawing says, what tables say. Asks nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from shlex import quote

from ...errors import InvalidInputError
from ...locks.graph_lock import PENDING, LockedModel, OpenQuestion
from ...locks.lock_checks import FOLDER, is_model_name
from ...locks.model_rows import hub_address, place_of
from ...models.weights_table import Weights, all_weights
from .graph_models import DrawnModel, NamedFile
from .model_options import SOURCE, names_of

NO_FOLDER = "…"
"""Stands for a folder that nobody knows."""
Listed = Callable[[str, str], Sequence[tuple[str, str]]]
"""Folder (may be empty) and file → folders and addresses that a list of models has."""
BY_ITSELF = "--model, for a node that loads it without naming it"


@dataclass(frozen=True, slots=True)
class ModelHints:
    """Everything that is known of models before anybody is asked."""

    chosen: Mapping[str, LockedModel]
    """File, or folder and file → what the caller says of it; its folder may be empty."""
    drawn: Sequence[DrawnModel]
    noted: Mapping[str, Sequence[str]]
    """File → addresses in the drawing's notes."""
    listed: Listed = lambda folder, file: ()
    """Another list of models."""
    listed_name: str = ""
    """What that list is called."""
    stored: Callable[[NamedFile], LockedModel | OpenQuestion | None] = lambda item: None
    """What is on the volume already; asked last."""
    command: str = "ryla-gen graph lock FILE"
    """What the commands of questions begin with."""


def settle_models(
    named: Sequence[NamedFile], implied: Iterable[Weights], hints: ModelHints
) -> tuple[tuple[LockedModel, ...], tuple[OpenQuestion, ...]]:
    """Settle where every file comes from.

    Args:
        named: files that the graph's nodes name.
        implied: files that node classes load without naming them.
        hints: what is known.

    Returns:
        The files whose address is known, those that no running node loads last; and a question for each other file.

    """
    models: dict[str, LockedModel] = {}
    questions: list[OpenQuestion] = []
    for item in named:
        found = _settle(item, hints)
        if isinstance(found, LockedModel):
            models.setdefault(found.label, found)
        else:
            questions.append(found)
    for row in implied:
        models.setdefault(row.label, from_row(row))
    used = {(model.file.rpartition("/")[2], model.url) for model in models.values()}
    for drawn in hints.drawn:
        if (drawn.file.rpartition("/")[2], drawn.url) not in used:
            models.setdefault(f"{drawn.folder}/{drawn.file}", replace(from_drawing(drawn), needed=False))
    return tuple(models.values()), tuple(questions)


def _settle(item: NamedFile, hints: ModelHints) -> LockedModel | OpenQuestion:
    if not is_model_name(item.file):
        text = f"{item.class_type} (node {item.node}) loads {item.file[:100]!r}, which is no file inside ComfyUI's models folder."
        text += " Set it to the name of a file in ComfyUI, and save the graph there; then lock it again."
        return OpenQuestion("model", item.label[:200], text, hints.command, _place_of(item))
    base = item.file.rpartition("/")[2]
    if (key := chosen_name(item, hints.chosen)) is not None:
        folder = item.folder or hints.chosen[key].folder or key.rpartition(item.file)[0].rstrip("/")
        answer = replace(hints.chosen[key], file=item.file, folder=folder)
        return answer if folder else _question(item, [answer], hints)
    found = list(_known(item, base, hints))
    folders = {item.folder or model.folder for model in found}
    if len({model.url for model in found}) == len(folders) == 1 and folders != {""}:
        return _with_place(found[0], item)
    stored = hints.stored(item) if not found else None
    return stored if stored is not None else _question(item, found, hints)


def chosen_name(item: NamedFile, chosen: Mapping[str, LockedModel]) -> str | None:
    """Return the name under which the caller brings a file; where its loader's folder is not known, the caller may name one."""
    found = next((key for key in names_of(item.folder, item.file) if key in chosen), None)
    if found is None and not item.folder:
        named = [key for key in chosen if key.endswith(f"/{item.file}") and FOLDER.fullmatch(key.removesuffix(f"/{item.file}"))]
        return named[0] if len(named) == 1 else None
    return found


def _known(item: NamedFile, base: str, hints: ModelHints) -> Iterator[LockedModel]:
    """Yield what the first source says that knows the file: one answer, or several that contradict each other."""
    drawn = [model for model in hints.drawn if model.file in (item.file, base)]
    same = [model for model in drawn if model.folder == item.folder] or drawn
    if same:
        yield from (from_drawing(model) for model in same)
        return
    if noted := hints.noted.get(base):
        yield from (_unread(base, item.folder, url, "a note in the drawing") for url in noted)
        return
    rows = [row for row in all_weights() if row.name in (item.file, base) and item.folder in (row.folder, "")]
    if rows:
        yield from (from_row(row) for row in rows)
        return
    yield from (_unread(base, folder, url, hints.listed_name) for folder, url in hints.listed(item.folder, base))


def unnamed_choices(named: Sequence[NamedFile], chosen: Mapping[str, LockedModel]) -> Iterator[LockedModel]:
    """Yield the files that the caller brings and no node names: some classes load files by themselves.

    Raises:
        InvalidInputError: one of them has no folder, and no node loads a file of that name.

    """
    used = {key for item in named for key in (*names_of(item.folder, item.file), chosen_name(item, chosen))}
    for name, model in chosen.items():
        if name in used or (model.url and model.source not in (SOURCE, BY_ITSELF)):
            continue
        folder, _, file = name.partition("/")
        if not (file and FOLDER.fullmatch(folder)):
            text = f"--model {name}: no node of the graph loads a file of that name."
            hint = (
                f"Where a node loads it without naming it, write its folder, too: --model FOLDER/{name}=hf://OWNER/REPOSITORY/FILE"
            )
            raise InvalidInputError(text, hint)
        source = BY_ITSELF if model.url else model.source if BY_ITSELF in model.source else f"{model.source}. {BY_ITSELF}"
        yield replace(model, folder=folder, file=file, source=source)


def _with_place(model: LockedModel, item: NamedFile) -> LockedModel:
    """Put a model where its loader looks for it, under the name that the loader has."""
    return replace(model, file=item.file, folder=item.folder or model.folder)


def _place_of(item: NamedFile) -> str:
    return f"node {item.node} of the graph"


def _question(item: NamedFile, found: Sequence[LockedModel], hints: ModelHints) -> OpenQuestion:
    urls = [model.url for model in found]
    label = item.label if item.folder else f"FOLDER/{item.file}"
    command = f"{hints.command} --model {quote(f'{label}=')}{quote(urls[0]) if urls else 'https://…'}"
    where = f"{item.class_type} (node {item.node}) loads it"
    if len(set(urls)) > 1:
        text = f"{where}, and there are several addresses: {', '.join(dict.fromkeys(urls))}. Which one?"
    elif urls:
        text = f"{where}, and its folder is not known. Write it as FOLDER/{item.file}."
    else:
        text = f"{where}, and no source knows its address."
        if item.folder == "loras":
            text += f" Where it is a stored LoRA, write {item.label}=lora:ID; see them: ryla-gen lora list"
    source = "; ".join(dict.fromkeys(model.source for model in found)) or _place_of(item)
    return OpenQuestion("model", item.label, text, command, source)


def from_drawing(model: DrawnModel) -> LockedModel:
    """Return what a drawing says of a file."""
    return replace(_unread(model.file, model.folder, model.url, model.source), sha256=model.sha256 or PENDING)


def from_row(row: Weights) -> LockedModel:
    """Return a file of our table."""
    if row.repo.startswith("github:"):
        url = f"https://github.com/{row.repo.removeprefix('github:').split()[0]}/releases/download/{row.revision}/{row.file}"
    else:
        url = hub_address(row.repo, row.revision, row.file)
    revision = None if row.repo.startswith("github:") else row.revision
    known = (revision, row.sha256 or PENDING, row.bytes, row.licence, row.gated)
    return LockedModel(row.name, row.folder, url, *known, "the package's table of weights")


def _unread(file: str, folder: str, url: str, source: str) -> LockedModel:
    _, revision, _ = place_of(url)
    pinned = revision if revision and len(revision) == 40 else None
    return LockedModel(file, folder, url, pinned, PENDING, None, None, None, source)
