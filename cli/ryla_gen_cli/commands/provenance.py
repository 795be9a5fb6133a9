"""Implement ``ryla-gen provenance``: make a certificate to sign results with. Prints no key."""

from __future__ import annotations

from typing import Annotated

import typer

from ryla_gen.settings import Settings
from ryla_gen.tools.provenance.certificates import DEFAULT_DAYS, DEFAULT_NAME, make_certificate

from ..common import Json, Overwrite, Quiet, example, group, screen_of

app = group("Sign results, so that others can tell what they are.", example("ryla-gen provenance init"))

TURN_ON = "ryla-gen config set provenance.sign true"


@app.callback()
def root() -> None:
    """Hold the commands."""


@app.command(epilog=example('ryla-gen provenance init --name "Studio Fuchs"'))
def init(
    context: typer.Context,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Who signs, as readers show it.")] = DEFAULT_NAME,
    days: Annotated[
        int, typer.Option("--days", metavar="N", min=1, max=36_500, help="How long the certificate is valid.")
    ] = DEFAULT_DAYS,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a private key and a certificate on this machine. Nobody vouches for it: it shows that files have the same signer."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    settings = Settings.load()
    made = make_certificate(settings.home / "provenance", name=name, days=days, overwrite=overwrite)
    data = {"certificate": str(made.certificate), "key": str(made.key), "authority": str(made.authority)}
    lines = [f"Certificate: {made.certificate}", f"Private key: {made.key} (keep it to yourself)", f"Authority:   {made.authority}"]
    screen.result(data, "\n".join(lines))
    if settings.provenance_certificate or settings.provenance_key:
        screen.note("warning: the settings provenance.certificate and provenance.key name other files, which are used.")
    if not settings.provenance_sign:
        screen.note(f"Sign every result with it: {TURN_ON}")
