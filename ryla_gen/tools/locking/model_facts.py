"""Look models up where they are published: commit, hash, size, licence, and whether they are gated. Must not download one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from shlex import quote
from typing import TypeVar

from ...errors import BackendUnreachableError, HashMismatchError, InvalidInputError, ModelNotFoundError, NotAuthorizedError
from ...locks.graph_lock import PENDING, LockedModel, OpenQuestion
from ...locks.model_rows import COMMIT, hub_address, place_of, row_of
from ...models import civitai
from ...models.downloads.retry import CancelToken, patiently
from ...models.downloads.sources import GITHUB, Sources
from ...models.downloads.web import CIVITAI, Web
from ...models.pickles import WARNING, is_pickle_name
from .hub_facts import HubRepository, read_repository

T = TypeVar("T")

WORKERS = 8
"""Questions at once: each is one small answer."""
TRIES = 3
"""Passing faults in a row before a host is given up."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Models with what was found out about them, in their order."""

    models: tuple[LockedModel, ...]
    questions: tuple[OpenQuestion, ...] = ()
    """One for each model that is not where its address says."""


@dataclass(frozen=True, slots=True)
class Publishers:
    """Where models are published, and with which tokens they are asked."""

    token: str | None = None
    endpoint: str | None = None
    github: str = GITHUB
    web: Web = field(default_factory=Web)


def look_up(
    models: Sequence[LockedModel],
    *,
    token: str | None,
    endpoint: str | None = None,
    civitai_token: str | None = None,
    civitai: str = CIVITAI,
    github: str = GITHUB,
    private_addresses: bool = False,
    command: str = "ryla-gen graph lock FILE.json",
    retry: str = "ryla-gen graph lock FILE.json",
) -> ModelFacts:
    """Find commit, hash, size and licence of models, and whether they are gated; each repository is asked once.

    A model of which all this is known is not looked up. What is published nowhere stays as it is, and a hash ``pending``.

    Args:
        models: as the graph names them.
        token: for the Hugging Face hub.
        endpoint: address of the hub; by default HF_ENDPOINT, else huggingface.co.
        civitai_token: for Civitai.
        civitai: address of Civitai.
        github: address of GitHub.
        private_addresses: whether addresses of private networks are asked.
        command: what the commands of questions begin with.
        retry: the command that was given, for errors.

    Raises:
        BackendUnreachableError: a host does not answer.
        NotAuthorizedError: a token is refused.
        HashMismatchError: a file has another hash than the graph or the lock says.

    """
    ask = Publishers(token, endpoint, github, Web(civitai_token, private_addresses, civitai))
    with ThreadPoolExecutor(WORKERS, "ryla-facts") as pool:
        places = dict.fromkeys(_repositories(models))
        asking = {place: partial(read_repository, *place, ask.token, ask.endpoint) for place in places}
        repositories = {place: pool.submit(_kept, call, retry) for place, call in asking.items()}
        found = {place: future.result() for place, future in repositories.items()}
        looked = [pool.submit(_kept, partial(_facts, model, ask, found), retry) for model in models]
        results = [future.result() for future in looked]
    known = tuple(
        with_warning(_same(model, result)) if isinstance(result, LockedModel) else with_warning(model)
        for model, result in zip(models, results, strict=True)
    )
    asked = (
        _question(model, result, command)
        for model, result in zip(models, results, strict=True)
        if isinstance(result, ModelNotFoundError)
    )
    return ModelFacts(known, tuple(asked))


def with_warning(model: LockedModel) -> LockedModel:
    """Return the model with a sentence in its ``source`` when its file can run code."""
    if not is_pickle_name(model.file) or WARNING in model.source:
        return model
    return replace(model, source=f"{model.source.rstrip('. ')}. {WARNING}".lstrip(". "))


def _repositories(models: Iterable[LockedModel]) -> Iterator[tuple[str, str | None]]:
    for model in models:
        repo, revision, _ = place_of(model.url)
        if not _is_known(model) and _is_hub(repo):
            yield repo, model.revision or revision


def _is_hub(repo: str) -> bool:
    return "://" not in repo and not repo.startswith("github:")


def _is_known(model: LockedModel) -> bool:
    if not model.url:  # nobody publishes it
        return True
    pinned = bool(model.revision and COMMIT.fullmatch(model.revision)) or not _is_hub(place_of(model.url)[0])
    return pinned and model.sha256 != PENDING and None not in (model.bytes, model.licence, model.gated)


def _kept(call: Callable[[], T], retry: str) -> T | ModelNotFoundError:
    """Return what a call finds, or that there is no such model: that is for people to settle, and stops nothing else."""
    try:
        return patiently(call, lambda: 0, TRIES, CancelToken())
    except ModelNotFoundError as error:
        error.__cause__ = error.__context__ = error.__traceback__ = None
        return error
    except BackendUnreachableError as error:
        hint = f"Check the network, or lock without looking models up: {retry} --offline"
        raise BackendUnreachableError(error.message, hint, error.details) from None


def _facts(
    model: LockedModel, ask: Publishers, found: dict[tuple[str, str | None], HubRepository | ModelNotFoundError]
) -> LockedModel:
    repo, revision, file = place_of(model.url)
    if _is_known(model):
        return model
    if civitai.is_civitai(model.url):
        return _at_civitai(model, ask)
    if not _is_hub(repo):
        return _elsewhere(model, ask)
    repository = found[repo, model.revision or revision]
    if isinstance(repository, ModelNotFoundError):
        raise repository
    return _at_hub(model, repository, repo, file)


def _at_hub(model: LockedModel, repository: HubRepository, repo: str, file: str) -> LockedModel:
    commit = repository.commit or model.revision
    facts = replace(
        model,
        revision=commit,
        url=hub_address(repo, commit, file) if repository.commit else model.url,
        gated=repository.gated,
        licence=model.licence or repository.licence,
    )
    if repository.files is None:
        return facts
    if file not in repository.files:
        raise ModelNotFoundError(f"{repo} has no file {file} at {(commit or 'main')[:12]}.")
    known = repository.files[file]
    return replace(facts, sha256=known.sha256 or model.sha256, bytes=model.bytes if known.bytes is None else known.bytes)


def _at_civitai(model: LockedModel, ask: Publishers) -> LockedModel:
    file = civitai.find_file(model.url, model.file, ask.web)
    facts = replace(
        model,
        url=file.url,
        sha256=file.sha256 or model.sha256,
        bytes=file.bytes or model.bytes,
        licence=model.licence or file.licence,
    )
    stranger = replace(ask.web, civitai_token=None)
    try:  # whether its maker asks for an account is told by the download alone
        size = stranger.probe(row_of(facts)).size
    except NotAuthorizedError:
        return replace(facts, gated=True)
    return replace(facts, gated=False, bytes=size if size is not None else facts.bytes)


def _elsewhere(model: LockedModel, ask: Publishers) -> LockedModel:
    """Ask a plain address for the size of its file: it tells no hash and no licence."""
    try:
        size = Sources(None, ask.endpoint, ask.github, ask.web).probe(row_of(model), None).size
    except (NotAuthorizedError, InvalidInputError) as error:
        raise ModelNotFoundError(error.message) from None
    return replace(model, bytes=model.bytes if size is None else size, gated=False)


def _same(given: LockedModel, found: LockedModel) -> LockedModel:
    """Hold what was found to the hash that was given."""
    if given.sha256 not in (PENDING, found.sha256):
        text = f"{given.label} has the sha256 {found.sha256} at its publisher, and {given.sha256} is asked for ({given.source})."
        again = f"--model {quote(f'{given.file}={found.url}')}"
        hint = f"Look at {found.url.partition('?')[0]}. If the new file is right, name it: {again}"
        raise HashMismatchError(text, hint, {"file": given.label, "expected": given.sha256, "actual": found.sha256})
    return found


def _question(model: LockedModel, error: ModelNotFoundError, command: str) -> OpenQuestion:
    place = "civitai:VERSION" if civitai.is_civitai(model.url) else "hf://OWNER/REPOSITORY/FILE"
    answer = f"{command} --model {quote(f'{model.label}={place}')}"
    again = "" if "private" not in error.message else " With HF_TOKEN set, private repositories are found too."
    return OpenQuestion("model", model.label, f"{error.message} Where is it?{again}", answer, model.source)
