"""Implement ``ryla-gen workflows``: list them, show each one's fields, weights, licences and schema. Runs nothing."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from ryla_gen.errors import InvalidInputError
from ryla_gen.locks.families import packs_for
from ryla_gen.models.licences import Term, conditions, terms, together, verdict
from ryla_gen.models.weights_table import Weights, pending, pending_text
from ryla_gen.remote.variants import variants_with_options
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.preview import sample_of
from ryla_gen.workflows.registry import BUILT_IN, workflow_class, workflow_names

from ..common import Json, example, group, screen_of
from ..licences import READ, free_workflows, plain
from ..options import LONGEST_CHOICE, Field, fields_of
from ..screen import shorten, table, width, wrap

FILE = "FILE"
"""What stands for a picture or a video among the options that a file is needed with."""

app = group("List the workflows; show the fields, weights and schema of one.", example("ryla-gen workflows show flux-dev"))

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the workflow, such as flux-dev.", show_default=False)]


@app.command("list", epilog=example("ryla-gen workflows list"))
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the workflows with family, licence and output, and what of all their files is pending: the first sync fixes it."""
    screen = screen_of(context, as_json=as_json)
    items = [_item(name) for name in workflow_names()]
    titles = ("name", "family", "commercial use", "licence", "pending", "makes")
    screen.result({"items": items}, table(titles, map(_row, items), width()))


@app.command(epilog=example("ryla-gen workflows show wan2"))
def show(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show the fields of a workflow with ranges and defaults, and the weights and node packs it needs."""
    screen = screen_of(context, as_json=as_json)
    cls = workflow_class(name)
    fields = [_field(cls, item) for item in fields_of(cls).values()]
    data = {**_item(cls.name), "description": inspect.getdoc(cls), "fields": fields, **_needs(cls)}
    screen.result(data, _page(data))


@app.command(epilog=example("ryla-gen workflows schema flux-dev > flux_dev.schema.json"))
def schema(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Write a workflow's JSON schema."""
    screen = screen_of(context, as_json=as_json)
    found = workflow_class(name).model_json_schema()
    screen.result({"schema": found}, json.dumps(found, indent=2, ensure_ascii=False, default=str))


def _item(name: str) -> dict[str, Any]:
    try:
        cls = workflow_class(name)
        text = " ".join((inspect.getdoc(cls) or "").split())
        workflow = None if cls.own_graph else sample_of(cls)
        weights = workflow.required_weights() if workflow is not None else ()
        licence, commercial = _licence(weights)
        about = {
            "family": cls.family,
            "makes": text.partition(". ")[0].rstrip("."),
            "licence": licence,
            "commercial_use": commercial,
            "conditions": conditions(weights),
            "pending": pending(_options_of_weights(cls)),
        }
    except Exception as error:
        if name in BUILT_IN:
            raise
        told: dict[str, Any] = {"licence": "", "commercial_use": None, "conditions": [], "pending": pending(())}
        about = {"family": "", "makes": f"cannot be loaded: {error}", **told}
    return {"name": name, **about, "built_in": name in BUILT_IN}


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    name, waiting = item["name"].replace("_", "-"), pending_text(item["pending"])
    return (name, item["family"], _use(item), item["licence"], waiting, item["makes"])


def _use(item: dict[str, Any]) -> str:
    """Return whether the default weights may be used commercially, in a word; for the user's own graph, nothing."""
    return "" if item["licence"] in ("", "as its models") else verdict(item["commercial_use"], item["conditions"])


def _licence(weights: tuple[Weights, ...]) -> tuple[str, bool | None]:
    """Return the licences of the default weights in a word, and whether they allow commercial use; None when that is not known."""
    if not weights:
        return ("as its models", None)
    allowed = together(weights)
    if allowed is False:
        research = all("research" in term.licence for term in terms(weights) if term.commercial_use is False)
        return ("non-commercial, research only" if research else "non-commercial", False)
    return (", ".join(sorted({item.licence or "unknown" for item in weights})), allowed)


def _needs(cls: type[Workflow]) -> dict[str, Any]:
    """Collect the weights with the options that need them, and node packs."""
    weights = _options_of_weights(cls)
    nodes = frozenset[str]().union(*(request.required_nodes() for request, _ in _requests(cls)))
    return {
        "weights": [
            {
                **asdict(item),
                "non_commercial": item.non_commercial,
                "commercial_use": item.commercial_use,
                "condition": item.condition,
                "pending": list(item.pending),
                "only_with": options[0],
                "or_with": options[1:],
            }
            for item, options in weights.items()
        ],
        "licences": plain(weights),
        "node_packs": [asdict(pack) for pack in packs_for(nodes)],
    }


def _options_of_weights(cls: type[Workflow]) -> dict[Weights, list[dict[str, str]]]:
    """Return each file of a workflow with the fewest options that need it; several where as few of others need it too."""
    found: dict[Weights, list[dict[str, str]]] = {}
    for request, options in _requests(cls):
        for item in request.required_weights():
            ways = found.setdefault(item, [])
            if not ways or len(options) == len(ways[0]):
                ways.append(options)
    return found


def _requests(cls: type[Workflow]) -> Iterator[tuple[Workflow, dict[str, str]]]:
    """Yield requests whose graphs can be looked at, with the options of each; none for a graph of the caller's own."""
    media = cls.media_fields()
    for item in () if cls.own_graph else variants_with_options(cls):
        try:
            item.request.build()
        except (InvalidInputError, NotImplementedError):
            continue
        yield item.request, {name: FILE if name in media else str(value) for name, value in item.options.items()}


def _field(cls: type[Workflow], item: Field) -> dict[str, Any]:
    default = None if item.info.is_required() else item.info.get_default(call_default_factory=True)
    return {
        "name": item.name,
        "option": item.option,
        "type": "|".join(item.choices) if item.choices else item.kind,
        "required": item.info.is_required(),
        "default": default if isinstance(default, str | int | float | bool | None) else [*default],
        "range": _range(cls.model_json_schema()["properties"].get(item.name, {})),
        "doc": item.doc,
    }


def _range(found: dict[str, Any]) -> str:
    """Describe the bounds of a field."""
    found = {**found, **next((part for part in found.get("anyOf", ()) if part.get("type") != "null"), {})}
    low, above, high = found.get("minimum"), found.get("exclusiveMinimum"), found.get("maximum")
    words = []
    if low is not None and high is not None:
        words.append(f"{low:g} to {high:g}" if isinstance(high, float) else f"{low} to {high}")
    elif low is not None:
        words.append(f"at least {low}")
    elif above is not None:
        words.append(f"above {above:g}" + (f", at most {high:g}" if high is not None else ""))
    if "multipleOf" in found:
        words.append(f"a multiple of {found['multipleOf']}")
    if "maxLength" in found:
        words.append(f"at most {found['maxLength']} characters")
    return ", ".join(words)


def _page(data: dict[str, Any]) -> str:
    room = width()
    lines = [
        data["name"].replace("_", "-"),
        *(wrap(part, room) for part in [" ".join(data["description"].split())]),
        "",
        "Fields",
    ]
    for item in data["fields"]:
        listed = f" One of: {item['type'].replace('|', ' ')}." if _has_many_choices(item) else ""
        lines += [wrap(_head(item), room), wrap(item["doc"] + listed, room, "      ")]
    lines += ["", "Weights"] if data["weights"] else []
    lines += [wrap(_weights(item), room) for item in data["weights"]]
    lines += ["", "Licences"] if data["licences"] else []
    lines += [wrap(Term(**item).text, room) for item in data["licences"]]
    lines += [wrap(_free(data), room)] if data["commercial_use"] is False else []
    lines += ["", "Nodes"] if data["node_packs"] else []
    lines += [wrap(_pack(item), room) for item in data["node_packs"]]
    return "\n".join(lines)


def _free(data: dict[str, Any]) -> str:
    return f"So {data['name'].replace('_', '-')} is not for commercial use; these are: {free_workflows()}. {READ}"


def _has_many_choices(item: dict[str, Any]) -> bool:
    return len(item["type"]) > LONGEST_CHOICE


def _pack(item: dict[str, Any]) -> str:
    version = f"{item['name']} {item['version'] or ''}".strip()
    return f"{version} @ {item['commit'][:12]} · {item['repo']} · {item['licence'] or 'licence unknown'}"


def _head(item: dict[str, Any]) -> str:
    default = item["default"]
    said = "required" if item["required"] else "" if default in (None, "", []) else f"default {shorten(str(default))}"
    kind = "  choice" if _has_many_choices(item) else f"  {item['type']}"
    notes = "; ".join(filter(None, (said, item["range"])))
    return f"{item['option']}{kind}{f'  ({notes})' if notes else ''}"


def _weights(item: dict[str, Any]) -> str:
    size = f"{item['bytes'] / 1e9:.2f} GB" if item["bytes"] else item["approx_size"] or "size unknown"
    licence = item["licence"] or "licence unknown"
    use = f"commercial use: {verdict(item['commercial_use'], [item['condition']])}"
    parts = [f"{item['folder']}/{item['name']}", size, licence, use, item["repo"]]
    parts += [f"pending: {' and '.join(item['pending'])}"] if item["pending"] else []
    parts += ["needs an account that has accepted the licence"] if item["gated"] else []
    ways = [" ".join(f"--{name.replace('_', '-')} {value}" for name, value in way.items()) for way in _ways(item)]
    parts += [f"only with {', or with '.join(ways)}"] if ways else []
    return " · ".join(parts)


def _ways(item: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the options that a file is needed with, each way by itself; none for one that is always needed."""
    return [item["only_with"], *item["or_with"]] if item["only_with"] else []
