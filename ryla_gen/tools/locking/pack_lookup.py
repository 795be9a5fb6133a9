"""Find the node packs of classes that ComfyUI does not have, each pinned to a commit; what stays open is a question.

Order: what the caller says, what an imported file pins, the registry's pack that the drawing names, the repository that it names,
the node map of ComfyUI-Manager. Several answers are a question. Must not import or run anything of a pack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from shlex import quote

from ...errors import PackUnknownError
from ...locks.base import NodePack
from ...locks.git_calls import COMMIT, Refs, list_refs
from ...locks.graph_lock import OpenQuestion
from .drawn_packs import ClassHint
from .manager_nodes import NodeMap
from .pack_addresses import PackPlace, plain_repository, read_place
from .pack_registry import RegistryClient, RegistryPack

MOVING = frozenset({"", "nightly", "latest", "unknown"})
"""Versions in drawings that name no commit."""
UNNAMED = "OWNER/REPOSITORY@COMMIT"


@dataclass(frozen=True, slots=True)
class HintedPack:
    """A pack that an imported file pins: by its address and commit, or by its id and version in the registry."""

    address: str = ""
    ref: str = ""
    registry_id: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class PackAnswers:
    """What was found."""

    packs: tuple[NodePack, ...]
    questions: tuple[OpenQuestion, ...]


@dataclass(frozen=True, slots=True)
class PackSources:
    """Who is asked for packs."""

    chosen: Mapping[str, str] = field(default_factory=dict)
    """Node class → ``owner/repository@commit`` or ``https://…@commit``."""
    registry: RegistryClient | None = None
    """None asks nobody, repositories neither."""
    listed: NodeMap | None = None
    """ComfyUI-Manager's node map."""
    hints: Sequence[HintedPack] = ()
    """Packs that an imported file pins."""
    imported: str = "the imported file"
    command: str = "ryla-gen graph lock FILE"
    """What the commands of questions begin with."""


@dataclass(frozen=True, slots=True)
class _Found:
    """One answer for one class."""

    place: PackPlace
    source: str
    version: str = ""
    """In the registry."""
    pack: RegistryPack | None = None

    @property
    def registry(self) -> str | None:
        return f"{self.pack.id}@{self.version}" if self.pack and self.version else None


def find_packs(classes: Mapping[str, ClassHint], sources: PackSources = PackSources()) -> PackAnswers:
    """Find the pack of every class.

    Args:
        classes: node classes that ComfyUI does not have, with what the drawing says of them.
        sources: who is asked.

    Raises:
        PackUnknownError: what the caller chose is no repository, or has no such commit.
        BackendUnreachableError: the registry, or the host of a repository, does not answer.
        BackendNotConfiguredError: there is no git here.

    """
    return _Lookup(classes, sources).run()


def chosen_for(kind: str) -> str:
    """Return the source of a pack that the caller chose for a class."""
    return f"--pack for {kind}"


class _Lookup:
    """One search; repositories are asked for their tags once."""

    def __init__(self, classes: Mapping[str, ClassHint], sources: PackSources) -> None:
        self.classes, self.sources = classes, sources
        self.found: dict[str, _Found] = {}
        self.open: dict[str, OpenQuestion] = {}
        self._refs: dict[str, Refs] = {}

    def run(self) -> PackAnswers:
        """Settle every class: those first that somebody names a pack for."""
        for kind in self.classes:
            if kind in self.sources.chosen:
                self.found[kind] = self._chosen(kind)
        for kind in self._left():
            self._settle(kind, self._by_choice_for_others)
        for kind in self._left():
            self._settle(kind, self._by_drawing)
        for kind in self._left():
            self._settle(kind, self._by_map)
        self._refuse_two_commits()
        return PackAnswers(tuple(self._packs()), tuple(self.open[kind] for kind in self.classes if kind in self.open))

    def _left(self) -> list[str]:
        return [kind for kind in self.classes if kind not in self.found and kind not in self.open]

    def _settle(self, kind: str, step: Callable[[str], _Found | None]) -> None:
        try:
            answer = step(kind)
        except PackUnknownError as error:
            self.open[kind] = self._question(kind, error.message, str(error.details.get("place") or UNNAMED))
            return
        if answer is not None:
            self.found[kind] = answer

    # What the caller says.

    def _chosen(self, kind: str) -> _Found:
        place = read_place(self.sources.chosen[kind])
        try:
            return _Found(self._pinned(place), chosen_for(kind))
        except PackUnknownError as error:
            hint = f"Name another: --pack {quote(f'{kind}={place.short}@COMMIT')}"
            raise PackUnknownError(error.message, hint, error.details) from error

    def _by_choice_for_others(self, kind: str) -> _Found | None:
        """Take what was chosen for a class that the drawing, or the node map, has from the same pack."""
        hint, addresses = self.classes[kind], self._listed(kind)
        for other, answer in self.found.items():
            if other in self.sources.chosen and (_same_pack(hint, self.classes[other]) or answer.place.address in addresses):
                return replace(answer, source=chosen_for(other))
        return None

    # What the drawing says.

    def _by_drawing(self, kind: str) -> _Found | None:
        hint = self.classes[kind]
        if hint.core:
            text = f"The drawing has it from ComfyUI {hint.ver or 'itself'}, which is newer than the one that it is locked for."
            self.open[kind] = OpenQuestion("comfyui", kind, text, self.sources.command, "the drawing")
            return None
        if hint.cnr_id and (self.sources.registry is not None or not hint.aux_id):
            found = self._by_registry(hint)
            if found is not None or not hint.aux_id:
                return found
        return self._by_address(hint) if hint.aux_id else None

    def _by_registry(self, hint: ClassHint) -> _Found | None:
        registry, pinned = self.sources.registry, self._hinted(lambda item: item.registry_id.lower() == hint.cnr_id.lower())
        if registry is None:
            return None
        pack = registry.pack(hint.cnr_id)
        if pack is None:
            return None
        if not pack.repository:
            raise PackUnknownError(f"The registry names no repository for {hint.cnr_id}.")
        version = (pinned.version or pinned.ref) if pinned else hint.ver
        place = PackPlace(plain_repository(pack.repository))
        who = self.sources.imported if pinned else "the drawing"
        if version in MOVING or COMMIT.fullmatch(version):
            said = "" if version in MOVING else version
            return self._with_import(replace(place, ref=said), f"{who}'s {pack.id}, repository by the registry", pack)
        if not registry.has_version(hint.cnr_id, version):
            raise self._no_version(place, f"The registry has no version {version[:40]} of {pack.id} that can be installed")
        tag, commit = self._tag_of(place, version, pack.id)
        return _Found(replace(place, ref=commit), f"{who}'s {pack.id} {version}, by the registry; tag {tag}", version, pack)

    def _by_address(self, hint: ClassHint) -> _Found | None:
        place = PackPlace(plain_repository(hint.aux_id), "" if hint.ver in MOVING else hint.ver)
        return self._with_import(place, f"the drawing's {hint.aux_id}")

    def _with_import(self, place: PackPlace, source: str, pack: RegistryPack | None = None) -> _Found:
        """Pin a place; the commit of an imported file comes before the drawing's."""
        pinned = self._hinted(lambda item: item.address.lower() == place.key)
        if pinned and pinned.ref:
            place, source = replace(place, ref=pinned.ref), f"{source}; commit by {self.sources.imported}"
        return _Found(self._pinned(place), source if place.ref else f"{source}; its newest commit when it was locked", "", pack)

    def _hinted(self, fits: Callable[[HintedPack], bool]) -> HintedPack | None:
        return next((item for item in self.sources.hints if fits(item)), None)

    # What others know.

    def _by_map(self, kind: str) -> _Found | None:
        hint, addresses = self.classes[kind], self._listed(kind)
        taken = [answer for answer in self.found.values() if answer.place.address in addresses]
        if taken:
            return replace(taken[0], source=f"{self._map_name()}: the same pack gives it")
        imported = [item for item in self.sources.hints if item.address in addresses]
        if len(imported) == 1:
            return self._with_import(PackPlace(imported[0].address), self._map_name())
        if len(addresses) == 1 and self.sources.listed and self.sources.listed.certain(kind):
            ref = hint.ver if COMMIT.fullmatch(hint.ver) else ""
            return self._with_import(PackPlace(addresses[0], ref), self._map_name())
        self.open[kind] = self._unknown(kind, addresses)
        return None

    def _unknown(self, kind: str, addresses: Sequence[str]) -> OpenQuestion:
        if addresses:
            names = ", ".join(PackPlace(address).short for address in addresses)
            return self._question(kind, f"{self._map_name()} has {names} for it.", f"{PackPlace(addresses[0]).short}@COMMIT")
        registry = self.sources.registry
        claimed = registry.pack_of_class(kind) if registry else None
        if claimed is None or not claimed.repository:
            asked = "Nobody was asked, since that needs the network" if registry is None else "The registry does not know it"
            return self._question(kind, f"{asked}, and neither the drawing nor {self._map_name()} names its pack.", UNNAMED)
        try:
            place = PackPlace(plain_repository(claimed.repository))
        except PackUnknownError as error:
            return self._question(kind, error.message, UNNAMED)
        text = f"In the registry {claimed.id} claims the class, as any publisher can; nobody else names its pack."
        return self._question(kind, text, f"{place.short}@{self._newest(place)}")

    def _listed(self, kind: str) -> tuple[str, ...]:
        return self.sources.listed.packs_of(kind) if self.sources.listed else ()

    def _map_name(self) -> str:
        listed = self.sources.listed
        return f"the node map of {listed.source}" if listed else "a node map (pip install 'ryla-gen[manager]')"

    # Commits.

    def _pinned(self, place: PackPlace) -> PackPlace:
        """Return a place with its commit."""
        if COMMIT.fullmatch(place.ref):
            return place
        if self.sources.registry is None:
            what = f"The commit of {place.ref[:80]}" if place.ref else "Its newest commit"
            raise _open(f"{place.address} gives it. {what} was not looked up, since that needs the network.", place, "COMMIT")
        commit = self._refs_of(place).commit_of(place.ref)
        if commit is None and place.ref:
            commit = _only(self._refs_of(place).commits_of_version(place.ref))
        if commit is None:
            what = f"no tag, branch or commit {place.ref[:80]}" if place.ref else "no commit"
            raise _open(f"{place.address} has {what}.", place, self._newest(place))
        return replace(place, ref=commit)

    def _tag_of(self, place: PackPlace, version: str, name: str) -> tuple[str, str]:
        tags = self._refs_of(place).commits_of_version(version)
        if len(set(tags.values())) != 1:
            lacking = "has no tag for it" if not tags else f"has {' and '.join(tags)} at different commits"
            raise self._no_version(place, f"The drawing has {name} {version[:40]}, and {place.address} {lacking}")
        return next(iter(tags.items()))

    def _no_version(self, place: PackPlace, text: str) -> PackUnknownError:
        newest = self._newest(place)
        return _open(f"{text}. Its newest commit is {newest[:12]}.", place, newest)

    def _newest(self, place: PackPlace) -> str:
        try:
            return self._refs_of(place).head or "COMMIT"
        except PackUnknownError:
            return "COMMIT"

    def _refs_of(self, place: PackPlace) -> Refs:
        if place.key not in self._refs:
            self._refs[place.key] = list_refs(place.address)
        return self._refs[place.key]

    # The result.

    def _refuse_two_commits(self) -> None:
        """Ask where two classes have the same repository at different commits: a ComfyUI holds one."""
        commits: dict[str, dict[str, str]] = {}
        for kind, answer in self.found.items():
            commits.setdefault(answer.place.key, {}).setdefault(answer.place.ref, kind)
        for several in (kinds for kinds in commits.values() if len(kinds) > 1):
            for commit, kind in list(several.items())[1:]:
                first = self.found[next(iter(several.values()))].place
                text = f"{first.short} is wanted at {first.ref[:12]} and at {commit[:12]}; a ComfyUI has a pack once."
                self.open[kind] = self._question(kind, text, f"{first.short}@{first.ref}")
                self.found = {other: item for other, item in self.found.items() if item.place != replace(first, ref=commit)}

    def _packs(self) -> Iterator[NodePack]:
        kinds: dict[str, list[str]] = {}
        for kind in self.classes:
            if kind in self.found:
                kinds.setdefault(self.found[kind].place.key, []).append(kind)
        names = {"comfyui"}
        for nodes in kinds.values():
            pack = self._pack(nodes)
            if pack.name.lower() in names:  # a folder of its own, and a name of its own in messages
                pack = replace(pack, name=f"{pack.name}-{pack.repo.split('/')[-2]}"[:100])
            names.add(pack.name.lower())
            yield pack

    def _pack(self, nodes: Sequence[str]) -> NodePack:
        answers = [self.found[kind] for kind in nodes]
        first = answers[0]
        known = next((item for item in answers if item.pack), first)
        licence = known.pack.licence if known.pack else None
        source = "; ".join(dict.fromkeys(item.source for item in answers))
        version = known.version or None
        return NodePack(
            first.place.name, first.place.address, version, first.place.ref, licence, tuple(nodes), known.registry, source
        )

    def _question(self, kind: str, text: str, place: str) -> OpenQuestion:
        told = text if text.startswith("https:") else text[:1].upper() + text[1:]
        return OpenQuestion("pack", kind, told, self._command(kind, place), "a node class of the graph")

    def _command(self, kind: str, place: str) -> str:
        return f"{self.sources.command} --pack {quote(f'{kind}={place}')}"


def _open(text: str, place: PackPlace, commit: str) -> PackUnknownError:
    return PackUnknownError(text, details={"place": f"{place.short}@{commit}"})


def _only(commits: Mapping[str, str]) -> str | None:
    return next(iter(commits.values())) if len(set(commits.values())) == 1 else None


def _same_pack(one: ClassHint, other: ClassHint) -> bool:
    return bool((one.cnr_id and one.cnr_id == other.cnr_id) or (one.aux_id and one.aux_id.lower() == other.aux_id.lower()))
