"""``ryla-gen families``: what the image of each family is pinned to, and what is deployed. Starts no container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import typer

from ryla_gen.errors import RylaGenError
from ryla_gen.locks import ImageLock
from ryla_gen.locks.families import family_lock
from ryla_gen.names import CLASS_OF_FAMILY
from ryla_gen.settings import Settings
from ryla_gen.support.loop_thread import run_async

from ..common import Environment, Json, example, screen_of, single
from ..screen import table, width

app = single()

TORCH = "torch=="
TITLES = ("family", "class", "ComfyUI", "commit", "deployed", "Python", "torch", "node packs")


@app.command("families", epilog=example("ryla-gen families"))
def command(context: typer.Context, environment: Environment = None, as_json: Json = False) -> None:
    """List the families: the ComfyUI, node packs and packages of each image, and the ComfyUI of the deployed app."""
    from ryla_gen.remote import admin

    screen = screen_of(context, as_json=as_json)
    settings = Settings.load()
    settings = replace(settings, modal_environment=environment) if environment else settings
    versions: Mapping[str, str] = {}
    error: RylaGenError | None = None
    try:
        versions = run_async(admin.deployed_versions(settings))
    except RylaGenError as problem:
        error = problem
        screen.note(f"What is deployed is not known: {problem.message}")
    items = [item(family, versions) for family in CLASS_OF_FAMILY]
    deployed = {"app": settings.modal_app, "version": versions.get("app"), "error": error.to_data() if error else None}
    screen.result({"items": items, "deployed": deployed}, page(items, versions, error))


def item(family: str, versions: Mapping[str, str]) -> dict[str, Any]:
    """What is pinned for a family, and the ComfyUI that is deployed for it; None where that is not known."""
    lock = family_lock(family)
    return {
        "family": family,
        "class": CLASS_OF_FAMILY[family],
        "comfyui": {"version": lock.release, "commit": lock.comfyui.commit, "repository": lock.comfyui.repo},
        "packs": [
            {"name": pack.name, "version": pack.version, "commit": pack.commit, "repository": pack.repo} for pack in lock.packs
        ],
        "python": lock.python.version,
        "torch": _torch(lock),
        "deployed": versions.get(family),
    }


def page(items: list[dict[str, Any]], versions: Mapping[str, str], error: RylaGenError | None) -> str:
    """Lay the families out for people."""
    rows = [
        (
            row["family"],
            row["class"],
            row["comfyui"]["version"],
            row["comfyui"]["commit"][:8],
            row["deployed"] or "?",
            row["python"],
            row["torch"],
            ", ".join(f"{pack['name']} {pack['commit'][:8]}" for pack in row["packs"]) or "none",
        )
        for row in items
    ]
    text = table(TITLES, rows, width())
    behind = [row["family"] for row in items if row["deployed"] not in (None, row["comfyui"]["version"])]
    if behind:
        text += f"\n\nDeployed with another ComfyUI: {', '.join(behind)}. Deploy again: ryla-gen deploy"
    elif not versions and error is None:
        text += "\n\nThe deployed app does not say which ComfyUI it has: it is of an older version. Deploy again: ryla-gen deploy"
    return text


def _torch(lock: ImageLock) -> str | None:
    return next((asked.removeprefix(TORCH) for asked in lock.python.requirements if asked.startswith(TORCH)), None)
