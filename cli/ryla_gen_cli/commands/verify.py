"""Implement ``ryla-gen verify``: what files say of their origin, and whether their signatures hold. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from ryla_gen.errors import StorageFailedError
from ryla_gen.tools.provenance.verify import Manifest, Origin, verify

from ..common import Json, Quiet, example, screen_of, single

app = single()

SEALS = {
    "trusted": "valid; its signer is vouched for by an authority of your list",
    "valid": "valid; signed by a certificate that nobody vouches for here",
    "invalid": "NOT VALID: the file is not what was signed, or its certificate does not hold",
    "unread": "could not be read",
}
LONGEST = 400
"""Letters of one thing that a file says; ``--json`` has all of them."""
NO_LIST = "No list of trusted authorities was given (--trust FILE), so no signer is vouched for."


@app.command("verify", epilog=example("ryla-gen verify fox.png"))
def command(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Pictures, videos or sounds.", show_default=False)],
    trust: Annotated[
        Path | None, typer.Option("--trust", metavar="PEM", help="Certificates of the authorities whose signers you trust.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what files say of their origin: source type, signature, workflow. Exit code 1: one says nothing, or is not as signed."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    listed = None if trust is None else _read(trust)
    found = [verify(path, trust=listed) for path in files]
    screen.result({"items": [item.to_data() for item in found]}, "\n\n".join(_text(item) for item in found))
    if listed is None and any(item.manifest and item.manifest.seal == "valid" for item in found):
        screen.note(NO_LIST)
    if not all(item.fine for item in found):
        raise typer.Exit(1)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageFailedError(f"Cannot read {path}: {error.strerror}.", "Give a file of certificates, PEM.") from None


def _text(item: Origin) -> str:
    lines = [item.file]
    if item.source_type:
        lines.append(f"  digital source type: {_one_line(item.source_type)}")
    if item.tool:
        lines.append(f"  made with:           {_one_line(item.tool)}")
    if item.note:
        lines.append(f"  noted by ryla_gen:   {_pairs(item.note)}")
    lines += _manifest_lines(item.manifest) if item.manifest else [f"  signature:           {item.unread or 'none'}"]
    if not item.found:
        lines.append("  It says nothing of its origin. That proves nothing: marks can be removed.")
    return "\n".join(lines)


def _manifest_lines(manifest: Manifest) -> list[str]:
    lines = [f"  signature:           {SEALS[manifest.seal]}"]
    if manifest.problems:
        lines.append(f"  problems:            {_listed(manifest.problems)}")
    if manifest.signer or manifest.issuer:
        names = dict.fromkeys(name for name in (manifest.signer, manifest.issuer) if name)
        stamped = manifest.signed_at or "not stamped"
        lines.append(f"  signed by:           {_listed(names)} ({_one_line(manifest.algorithm)}; time: {_one_line(stamped)})")
    if manifest.generator:
        lines.append(f"  claim generator:     {_one_line(manifest.generator)}")
    lines += [f"  action:              {_listed(filter(None, action.values()))}" for action in manifest.actions]
    if manifest.note:
        lines.append(f"  ryla_gen claims:     {_pairs(manifest.note)}")
    return lines


def _pairs(note: Mapping[str, object]) -> str:
    return _listed(f"{key} {_listed(value) if isinstance(value, list) else value}" for key, value in note.items() if value)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(_one_line(value) for value in values)


def _one_line(value: object) -> str:
    """Write what a file says in one line, so that it cannot look like a line of ours."""
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
