"""Implement ``ryla-gen config``: show where each setting comes from, and write config.toml. Shows no secret."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ryla_gen.errors import RylaGenError
from ryla_gen.settings import Settings, home_folder, set_value, unset_value
from ryla_gen.settings.base import CONFIG_FILE, SECRETS

from ..common import Json, example, group, screen_of, setting_warnings
from ..screen import table, width, wrap

app = group("Show and change the settings.", example("ryla-gen config set comfyui.url http://127.0.0.1:8188"))

Key = Annotated[str, typer.Argument(metavar="KEY", help="Dotted name, such as comfyui.url.", show_default=False)]


@app.command(epilog=example("ryla-gen config show"))
def show(context: typer.Context, as_json: Json = False) -> None:
    """Show every setting and where its value comes from. Family settings that are not set are left out."""
    screen = screen_of(context, as_json=as_json)
    settings = Settings.load()
    items = [{"key": key, "value": _plain(value), "origin": origin} for key, value, origin in settings.entries()]
    items += [
        {"key": key, "value": "set (not shown)" if there else None, "origin": f"environment {variable}" if there else "default"}
        for key, variable in SECRETS.items()
        for there in [bool(os.environ.get(variable, "").strip())]
    ]
    rows = [
        (item["key"], _value_text(item["value"]), item["origin"])
        for item in items
        if item["origin"] != "default" or "families" not in item["key"]
    ]
    data = {"items": items, "path": str(settings.config_path), "backend_reason": settings.backend_reason}
    room = width()
    lines = [
        table(("key", "value", "from"), rows, room),
        "",
        wrap(settings.backend_reason, room, ""),
        f"File: {settings.config_path}",
    ]
    screen.result(data, "\n".join(lines))
    for text in setting_warnings(settings):
        screen.note(f"warning: {text}")


@app.command(epilog=example("ryla-gen config path"))
def path(context: typer.Context, as_json: Json = False) -> None:
    """Show the path of the configuration file, whether or not it exists."""
    screen = screen_of(context, as_json=as_json)
    found = home_folder() / CONFIG_FILE
    screen.result({"path": str(found), "exists": found.exists()}, str(found))


@app.command("set", epilog=example("ryla-gen config set backend emulator"), context_settings={"ignore_unknown_options": True})
def set_(
    context: typer.Context,
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The value; lists are separated by commas.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Save a setting to the configuration file; comments and order are kept."""
    screen = screen_of(context, as_json=as_json)
    file = set_value(key, value)
    remark = _remark(key, value)
    screen.result({"key": key, "path": str(file)}, f"{key} = {value}  ({file})")
    screen.note(remark)


@app.command(epilog=example("ryla-gen config unset backend"))
def unset(context: typer.Context, key: Key, as_json: Json = False) -> None:
    """Remove a setting from the configuration file."""
    screen = screen_of(context, as_json=as_json)
    file = unset_value(key)
    screen.result({"key": key, "path": str(file)}, f"{key} has been removed  ({file})")


def _remark(key: str, value: str) -> str:
    """Warn when the environment overrides what was just written, or when another setting keeps all of them from being used."""
    try:
        origin = Settings.load().origin(key)
    except RylaGenError as error:
        return f"warning: saved, but the settings cannot be used yet: {error.message} {error.hint}"
    if not origin.startswith("environment"):
        return ""
    return f"warning: {origin.removeprefix('environment ')} is set and overrides {key} = {value}."


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
