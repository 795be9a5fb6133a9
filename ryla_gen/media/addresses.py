"""Decide which network addresses a foreign URL may lead to: those of the internet, unless private ones are allowed.

Checked when the connection is made, so that neither a second, different DNS answer nor a redirect can lead to a private address.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any
from urllib.parse import urlsplit

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 addresses inside IPv6 (RFC 6052): what is behind one is looked at."""
_ASSIGNMENTS = ipaddress.ip_network("192.0.0.0/24")
"""Protocol assignments (RFC 6890), of which Python calls some global: a cloud answers there about its machines."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that may be asked over plain http: that traffic does not leave this machine."""
SHOWN = 160
"""Characters of an address that a message repeats."""
REFUSED = "it is an address of this machine or of a private network"
ALLOW = "Such addresses are fetched only if that is allowed: ryla-gen config set allow_private_addresses true"


class PrivateAddressError(OSError):
    """A name leads to an address that is not fetched."""


def shown_address(url: str) -> str:
    """Return an address as messages show it, cut if long: user names and signed queries do not belong in them."""
    return without_query(url)[:SHOWN]


def without_query(url: str) -> str:
    """Return an address without its query, which may hold a signature or a token, and without credentials."""
    head = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, mark, rest = head.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def is_public(text: str) -> bool:
    """Whether an IP address belongs to the internet: not to this machine, a private network, a link, or a group."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    # An IPv6 address may wrap a private IPv4 one, such as ::ffff:127.0.0.1.
    if isinstance(address, ipaddress.IPv6Address) and (inner := _inside(address)) is not None:
        return is_public(str(inner))
    return address.is_global and not address.is_multicast and address not in _ASSIGNMENTS


def _inside(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for."""
    teredo = address.teredo[1] if address.teredo is not None else None
    wrapped = address in _NAT64 or int(address) >> 32 == 0
    return (
        address.ipv4_mapped
        or address.sixtofour
        or teredo
        or (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if wrapped else None)
    )


def is_literal(host: str) -> bool:
    """Whether a host is an address and no name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def connected_host(url: str) -> str | None:
    """Return the host that aiohttp connects to: digits and full stops of other scripts become ASCII ones there.

    An address that it takes for a literal is never looked up, so no resolver of ours would see it. None where it refuses the URL.
    """
    from yarl import URL  # of aiohttp, whose import must stay late as well

    try:
        return URL(url).host or ""
    except ValueError:
        return None


async def resolve(host: str) -> list[str]:
    """Resolve a host name to its addresses; empty when it is not known here."""
    try:
        import asyncio  # imported late: importing media must stay light

        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in found]


def uses_proxy(url: str) -> bool:
    """Whether the environment names a proxy for an address."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    return parts.scheme in getproxies() and not proxy_bypass(parts.hostname or "")


async def leads_outside(url: str) -> bool:
    """Whether an address leads to the internet, as far as it tells before a connection is made.

    A name is looked up by the side that connects: by our connector, which checks what it finds, or by a proxy, to which we have to
    leave a name that we do not know.
    """
    host = connected_host(url)
    if host is None or (host.replace(".", "").isdigit() and not is_literal(host)):
        return False  # 127.1 and 2130706433 are literals to some versions of aiohttp, and to the system below it
    found = [host] if is_literal(host) else ["127.0.0.1"] if host in LOOPBACK else await resolve(host) if uses_proxy(url) else []
    return all(map(is_public, found))


def guarded_connector() -> Any:
    """Build an aiohttp connector that connects to addresses of the internet only."""
    from aiohttp import TCPConnector
    from aiohttp.abc import AbstractResolver
    from aiohttp.resolver import ThreadedResolver

    class _Guarded(AbstractResolver):
        """Looks names up as usual, and refuses the private addresses behind them."""

        def __init__(self) -> None:
            self._inner = ThreadedResolver()

        async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
            found = await self._inner.resolve(host, port, family)
            # All of them: with one private address among them, a retry could connect to it.
            if not all(is_public(entry["host"]) for entry in found):
                raise PrivateAddressError(REFUSED)
            return found

        async def close(self) -> None:
            await self._inner.close()

    return TCPConnector(resolver=_Guarded())
