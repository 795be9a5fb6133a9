"""Find the credentials of the user's own ComfyUI server, and the address they belong to. Must not send them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import InvalidInputError
from .base import SECRETS

VARIABLES = {name: SECRETS[f"comfyui.{name}"] for name in ("token", "user", "password")}
"""Each secret's variable."""


def credentials_of(url: str) -> tuple[str, str | None, str | None]:
    """Split an address into the address alone, and the user and the password in it; None when there are none."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url, None, None
    clean = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return clean, unquote(parts.username or ""), unquote(parts.password or "")


def own_server(
    names: tuple[str, ...],
    values: dict[str, Any],
    origins: Mapping[str, str],
    env: Mapping[str, str],
    configured: Callable[[], Mapping[str, Any]],
) -> tuple[dict[str, Any], list[str]]:
    """Find the credentials of the server, and take those in its address out of it.

    The variables are for the server that is configured: one that is named for a single call, at another origin, never gets them.

    Args:
        names: the backends that were chosen.
        values: the resolved settings; ``comfyui.url`` is changed.
        origins: where each comes from.
        env: the environment.
        configured: resolves the settings without any argument.

    Returns:
        The secrets, as fields of ``Settings``, and what to warn of.

    Raises:
        InvalidInputError: the caller named an address, and backends that would not use it.

    """
    if not values["comfyui.url"]:
        return {}, []
    values["comfyui.url"], user, password = credentials_of(values["comfyui.url"])
    if origins["comfyui.url"] == origins["backend"] == "argument" and "comfyui" not in names:
        raise InvalidInputError(
            f"The address {values['comfyui.url']} belongs to a ComfyUI server, which the backend {', '.join(names)} does not use.",
            "Leave one of them out: --url alone uses that server. To try several: --backend comfyui,modal",
            {"key": "comfyui.url", "origin": "argument"},
        )
    if user is not None:
        return {"comfyui_user": user, "comfyui_password": password}, []
    found = {f"comfyui_{name}": env.get(variable, "").strip() or None for name, variable in VARIABLES.items()}
    if not any(found.values()) or origins["comfyui.url"] != "argument":
        return found, []
    usual = configured()["comfyui.url"]
    if not usual or _origin(usual) == _origin(values["comfyui.url"]):
        return found, []
    held = ", ".join(variable for name, variable in VARIABLES.items() if found[f"comfyui_{name}"])
    return {}, [f"{held} is not sent to {values['comfyui.url']}: it belongs to {credentials_of(usual)[0]}."]


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
