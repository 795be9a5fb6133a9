"""Make a client for a ComfyUI server that the user runs: address, credentials, certificates. Must not send or show a secret."""

from __future__ import annotations

import base64
import logging
import ssl as tls
from typing import TYPE_CHECKING, Any

from ..errors import BackendNotConfiguredError, InvalidInputError, StorageFailedError

if TYPE_CHECKING:
    from ..settings import Settings
    from .client import ComfyClient

log = logging.getLogger("ryla_gen.comfy")

_warned: set[str] = set()
"""Addresses for which the warning about an unchecked certificate was given already."""


def connect(settings: Settings, **options: Any) -> ComfyClient:
    """Make a client of the server that the settings name, with its credentials and certificate checks.

    Args:
        settings: address, secrets and certificates.
        options: further arguments of :class:`ComfyClient`, such as ``connect_timeout``.

    Raises:
        BackendNotConfiguredError: no address is set.
        InvalidInputError: a secret cannot be sent in a header.
        StorageFailedError: the certificate authority's file cannot be read.

    """
    from .client import ComfyClient  # it imports aiohttp, which most programs never need from here

    if not settings.comfyui_url:
        raise no_server()
    headers = authorization(settings.comfyui_token, settings.comfyui_user, settings.comfyui_password)
    return ComfyClient(settings.comfyui_url, headers=headers, ssl=_certificates(settings), **options)


def no_server() -> BackendNotConfiguredError:
    """Return the error for settings without a server address."""
    once, always = "for one command --url http://HOST:8188", "for all ryla-gen config set comfyui.url http://HOST:8188"
    return BackendNotConfiguredError("The comfyui backend has no server.", f"Set it: {once}, {always}, or COMFYUI_POD_URL.")


def authorization(token: str | None, user: str | None, password: str | None) -> dict[str, str]:
    """Build the header for these credentials; empty when there are none. A token takes precedence over user and password.

    Raises:
        InvalidInputError: they hold what no header can carry; the message does not repeat them.

    """
    if token:
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise InvalidInputError(
                "COMFYUI_TOKEN contains characters that are not allowed in a token, such as a space or a line break.",
                "Set it to the token alone, without the word Bearer.",
            )
        return {"Authorization": f"Bearer {token}"}
    if not user and not password:
        return {}
    if ":" in (user or ""):
        raise InvalidInputError(
            "COMFYUI_USER contains a colon, which basic authorization does not allow.", "Use another user name."
        )
    return {"Authorization": "Basic " + base64.b64encode(f"{user or ''}:{password or ''}".encode()).decode()}


def _certificates(settings: Settings) -> tls.SSLContext | bool:
    """Return what aiohttp checks certificates against: the system's authorities, a given file, or nothing."""
    if not str(settings.comfyui_url).startswith("https:"):
        return True
    if not settings.comfyui_tls_verify:
        if str(settings.comfyui_url) not in _warned:
            _warned.add(str(settings.comfyui_url))
            log.warning(
                "warning: the certificate of %s is not checked (comfyui.tls_verify is false): anyone in between can read "
                "along. With its authority's file it can be: ryla-gen config set comfyui.tls_ca FILE.pem",
                settings.comfyui_url,
            )
        return False
    if settings.comfyui_tls_ca is None:
        return True
    try:
        # Beside the system's authorities, not instead of them: a redirect of DNS to a public certificate still has to be ours.
        return tls.create_default_context(cafile=str(settings.comfyui_tls_ca))
    except OSError as error:  # includes ssl.SSLError
        raise StorageFailedError(
            f"The certificate authority's file {settings.comfyui_tls_ca} cannot be read: {error.strerror or error}.",
            "Give a PEM file: ryla-gen config set comfyui.tls_ca FILE.pem",
        ) from None
