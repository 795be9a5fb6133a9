"""Load encoded bytes from a reference: path, URL, data URL, bytes, open file, or a PIL image, encoded to PNG.

Runs in the caller's process only. With ``trusted=False`` it opens no path and no URL at all. Looks at no pixels.
"""

from __future__ import annotations

import binascii
import errno
import io
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from ..errors import InvalidInputError
from .addresses import ALLOW, LOOPBACK, REFUSED, PrivateAddressError, guarded_connector, leads_outside, shown_address, uses_proxy
from .base import USUAL, References, check_pixels, megabytes

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from PIL.Image import Image

FETCH_TIMEOUT = 20.0
"""Seconds for a whole fetch, redirects included."""
MAX_REDIRECTS = 3
"""A picture behind a short link and a storage bucket needs two."""
SHOWN = 80
"""Characters of a reference that a message repeats; the rest may be a whole picture in base64."""

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):(//)?")
_BASE64ISH = re.compile(r"[A-Za-z0-9+/\s]{200,}={0,2}\s*")


async def read_source(source: Any, *, trusted: bool, references: References = USUAL, limit_bytes: int, limit_pixels: int) -> bytes:
    """Read the encoded bytes that a reference stands for.

    Args:
        source: str (path, https:// URL or data: URL), path, bytes, PIL image, or binary file (read from where it stands).
        trusted: False on a server: bytes and data URLs only.
        references: whether paths and addresses are read, and addresses of private networks.
        limit_bytes: most encoded bytes.
        limit_pixels: most pixels of a PIL image.

    Raises:
        InvalidInputError: the reference cannot be read, is empty or too large, or is not allowed here.

    """
    import asyncio

    if isinstance(source, bytes | bytearray | memoryview):
        return checked_size(bytes(source), limit_bytes)
    if isinstance(source, str) and source[:5].lower() == "data:":
        return checked_size(decode_data_url(source, limit_bytes), limit_bytes)
    if not trusted:
        raise InvalidInputError(
            f"Only bytes and data URLs are accepted here, not {_kind(source)}.",
            "Read the picture or video on your side and send its bytes.",
        )
    if references.kinds == "bytes" and isinstance(source, str | os.PathLike):
        raise InvalidInputError(
            f'This client does not read paths or addresses (references="bytes"), but was given {_kind(source)}.',
            "Give the picture or video itself: bytes, a data: URL, a PIL image or an open file.",
        )
    if isinstance(source, str) and source[:8].lower().startswith(("https://", "http://")):
        return checked_size(await fetch(source, limit_bytes, private=references.private_addresses), limit_bytes)
    return checked_size(await asyncio.to_thread(_read_local, source, limit_bytes, limit_pixels), limit_bytes)


def checked_size(data: bytes, limit: int) -> bytes:
    """Return the bytes as they are.

    Raises:
        InvalidInputError: they are none, or more than ``limit``.

    """
    if not data:
        raise InvalidInputError("The picture or video is empty (0 bytes).", "If a file object was read before, call seek(0) first.")
    if len(data) > limit:
        raise _too_large(f"{megabytes(len(data))}", limit)
    return data


def _too_large(size: str, limit: int) -> InvalidInputError:
    return InvalidInputError(
        f"The picture or video is too large: {size}; the limit is {megabytes(limit)}.",
        "Scale it down, or save it with more compression.",
        {"limit_bytes": limit},
    )


def _kind(source: Any) -> str:
    if isinstance(source, str):
        return "a URL" if _SCHEME.match(source) else "a path"
    return "a path" if isinstance(source, os.PathLike) else f"a {type(source).__name__}"


def _show(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "…")


# -- data URLs ---------------------------------------------------------------------------------------------------------


def decode_data_url(url: str, limit: int) -> bytes:
    """Decode ``data:image/…;base64,…`` or ``data:video/…;base64,…``.

    Raises:
        InvalidInputError: it is another kind of data URL, broken, or holds more than ``limit`` bytes.

    """
    hint = "Write it as data:image/png;base64,iVBORw0… with an image/ or video/ type."
    head, comma, body = url[5:].partition(",")
    if not comma:
        raise InvalidInputError(f"A data URL without a comma: {_show(url)}.", hint)
    media_type, *parameters = head.lower().split(";")
    if not media_type.strip().startswith(("image/", "video/")):
        raise InvalidInputError(f"A data URL of type {_show(media_type)} is not a picture or video.", hint)
    if "base64" not in (part.strip() for part in parameters):
        raise InvalidInputError("Only base64 data URLs are read.", hint)
    if len(body) * 3 // 4 > limit * 1.1:  # line breaks and percent signs may take a tenth
        raise _too_large(f"about {megabytes(len(body) * 3 // 4)}", limit)
    try:
        plain = "".join((unquote(body) if "%" in body else body).split())
        return binascii.a2b_base64(plain, strict_mode=True)
    except ValueError as error:
        raise InvalidInputError(f"The base64 of a data URL is not valid: {error}.", hint) from None


# -- files -------------------------------------------------------------------------------------------------------------


def _read_local(source: Any, limit: int, limit_pixels: int) -> bytes:
    pictures = sys.modules.get("PIL.Image")  # a caller with a PIL image has imported PIL already
    if pictures is not None and isinstance(source, pictures.Image):
        return encode_picture(source, limit_pixels)
    if isinstance(source, str):
        return read_path(_as_path(source), limit)
    if isinstance(source, os.PathLike):
        return read_path(Path(os.fsdecode(source)), limit)
    if callable(getattr(source, "read", None)):
        return _read_file(source, limit)
    raise InvalidInputError(
        f"A picture or video cannot be read from a {type(source).__name__}.",
        "Give a path, an https:// URL, a data: URL, bytes, a PIL image or a file opened with mode 'rb'.",
    )


def _as_path(text: str) -> Path:
    if not text.strip():
        raise InvalidInputError("The path of a picture or video is empty.", "Give a path, an https:// URL or a data: URL.")
    scheme = _SCHEME.match(text)
    if scheme and (scheme[2] or scheme[1].lower() == "file"):
        raise InvalidInputError(
            f"{scheme[1]}: addresses are not supported: {_show(text)}.",
            "Give the path itself, or an https:// or data: URL.",
        )
    if _BASE64ISH.fullmatch(text):
        raise InvalidInputError("This looks like bare base64, not a path.", "Put its type in front: data:image/png;base64,…")
    return Path(text)


def read_path(path: Path, limit: int) -> bytes:
    """Read a file; ``~`` is the home folder.

    Raises:
        InvalidInputError: it is missing, a folder, a device or a pipe, unreadable, or larger than ``limit``.

    """
    try:
        path = path.expanduser()
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            what = "a folder" if stat.S_ISDIR(about.st_mode) else "not a regular file"
            raise InvalidInputError(f"{_show(str(path))} is {what}.", "Give the path of one picture or video file.")
        if about.st_size > limit:
            raise _too_large(megabytes(about.st_size), limit)
        with path.open("rb") as file:
            return file.read(limit + 1)
    except InvalidInputError:  # a ValueError too
        raise
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, RuntimeError) as error:  # a NUL in the name; no home folder to put for "~"
        raise InvalidInputError(f"{_show(str(path))} is not a usable path: {error}.", "Check the path.") from None


def _unreadable(path: Path, error: OSError) -> InvalidInputError:
    if error.errno == errno.ENOENT:
        hint = f"Relative paths start at {Path.cwd()}." if not path.is_absolute() else "Check the path."
        return InvalidInputError(f"There is no file {_show(str(path))}.", hint)
    reason = error.strerror or str(error)
    return InvalidInputError(f"{_show(str(path))} cannot be read: {reason}.", "Check the path and its permissions.")


def _read_file(file: Any, limit: int) -> bytes:
    hint = "Give a file opened with mode 'rb'."
    try:
        data = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: closed, or a text file with other bytes
        raise InvalidInputError(f"The file object cannot be read: {error}.", hint) from None
    if not isinstance(data, bytes | bytearray):
        raise InvalidInputError(f"The file object gives {type(data).__name__}, not bytes.", hint)
    return bytes(data)


def encode_picture(picture: Image, limit_pixels: int) -> bytes:
    """Encode a PIL image as PNG, turned upright when it says how.

    Raises:
        InvalidInputError: it is too large, or its file is gone or broken.

    """
    from .images import encode, normalise

    check_pixels(*picture.size, limit_pixels)
    try:
        return encode(normalise(picture), "image/png")
    except Exception as error:  # decoders raise anything on a lazily opened broken file
        raise InvalidInputError(
            f"The PIL image cannot be read: {error}.", "Check that its file is complete and still open."
        ) from None


# -- URLs --------------------------------------------------------------------------------------------------------------


def _check_address(url: str, *, plain: bool) -> str:
    """Check an address, and return it: https anywhere, or http on the loopback when ``plain``."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # raises on an invalid port
    except ValueError as error:
        raise InvalidInputError(f"{_show(url)} is not a valid URL: {error}.", "Check the address.") from None
    if not host:
        raise InvalidInputError(f"{_show(url)} does not name a host.", "Check the address.")
    if parts.scheme == "https" or (plain and parts.scheme == "http" and host in LOOPBACK):
        return url
    raise InvalidInputError(
        f"{shown_address(url)} is not fetched: only https:// addresses are.", "Download it yourself, or use https://."
    )


async def fetch(url: str, limit: int, seconds: float = FETCH_TIMEOUT, *, private: bool = False) -> bytes:
    """Download a picture or video: at most ``limit`` bytes and ``seconds``, three redirects, all of them https.

    Args:
        url: the address.
        limit: most bytes.
        seconds: for the whole of it.
        private: whether it may lead to this machine or into a private network, over plain http only to this machine.

    Raises:
        InvalidInputError: it cannot be had.

    """
    import asyncio

    import aiohttp

    plain = urlsplit(url).scheme.lower() == "http"
    url = _check_address(url, plain=True)
    # Proxies of the environment are for the outside only.
    session = aiohttp.ClientSession(
        connector=None if private or uses_proxy(url) else guarded_connector(),
        timeout=aiohttp.ClientTimeout(total=None),
        trust_env=not plain,
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
    )
    try:
        async with asyncio.timeout(seconds), session:
            return await _follow(session, url, limit, plain=plain, private=private)
    except TimeoutError:
        raise InvalidInputError(
            f"{shown_address(url)} did not arrive within {seconds:g} s.", "Download it yourself and give its path."
        ) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if isinstance(error, InvalidInputError):
            raise
        if isinstance(getattr(error, "os_error", error), PrivateAddressError):
            raise _private(url) from None
        reason = str(error) or type(error).__name__
        raise InvalidInputError(
            f"{shown_address(url)} cannot be fetched: {reason}.", "Check the address and the network."
        ) from None


def _private(url: str) -> InvalidInputError:
    return InvalidInputError(f"{shown_address(url)} is not fetched: {REFUSED}.", ALLOW)


async def _follow(session: Any, url: str, limit: int, *, plain: bool, private: bool) -> bytes:
    for _ in range(MAX_REDIRECTS + 1):
        if not private and not await leads_outside(url):
            raise _private(url)
        async with session.get(url, allow_redirects=False) as response:
            target = response.headers.get("Location")
            if response.status in (301, 302, 303, 307, 308) and target:
                url = _check_address(urljoin(url, target), plain=plain)
                continue
            if response.status != 200:
                raise InvalidInputError(
                    f"{shown_address(url)} answered {response.status}.", "Open the address in a browser to check it."
                )
            return await _body(response, limit)
    raise InvalidInputError(f"{shown_address(url)} redirects more than {MAX_REDIRECTS} times.", "Give the final address.")


async def _body(response: ClientResponse, limit: int) -> bytes:
    if (response.content_length or 0) > limit:
        raise _too_large(megabytes(response.content_length or 0), limit)
    data = io.BytesIO()
    async for chunk in response.content.iter_chunked(1 << 16):
        data.write(chunk)
        if data.tell() > limit:
            raise _too_large(f"more than {megabytes(limit)}", limit)
    return data.getvalue()
