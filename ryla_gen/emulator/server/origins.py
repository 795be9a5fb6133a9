"""Detect requests of a foreign web page, sent directly or under a name that points here (DNS rebinding). Serves nothing."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from functools import cache
from urllib.parse import urlsplit

from ...media.addresses import is_literal
from ...support.control_characters import escape_controls


def refusal(headers: Mapping[str, str], names: Collection[str]) -> str:
    """Return why a request is refused; empty for one that a program or a page of this server makes.

    Args:
        headers: the request's.
        names: host names that may be asked for, beside addresses and this machine's own names.

    """
    host = headers.get("Host", "")
    name = _hostname(host)
    # A page that was loaded from an address is a page of that very server.
    if not (is_literal(name) or name in own_names() or name in names):
        shown = escape_controls(name[:100]) or "without a name"
        return f"requests for the host {shown} are refused; to allow it: ryla-gen emulator --allow-host {shown}"
    if headers.get("Sec-Fetch-Site") == "cross-site":
        return "requests from other sites are refused"
    origin = headers.get("Origin")
    if origin is not None and _netloc(origin) != host.lower():
        return "requests from other sites are refused"
    return ""


@cache
def own_names() -> frozenset[str]:
    """Return the names of this machine, its own and those in the local network (mDNS): no page of the internet can own them."""
    own = socket.gethostname().lower()
    return frozenset({"localhost", own, own.partition(".")[0], f"{own.partition('.')[0]}.local"} - {""})


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower().rstrip(".")
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
