"""Read the address of a node pack as people and drawings write it. Asks nobody."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...errors import PackUnknownError
from ...locks.lock_checks import PACK, is_https

GITHUB = "https://github.com"
_SHORT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_SSH = re.compile(r"git@github\.com:(?P<path>[^:\s]+)")
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
ONE_FILE = frozenset({"gist.github.com", "gist.githubusercontent.com", "raw.githubusercontent.com"})
"""Hosts whose addresses are single files."""


@dataclass(frozen=True, slots=True)
class PackPlace:
    """A repository, and what somebody says of the commit."""

    address: str
    """Plain ``https://``, without ``.git`` at the end."""
    ref: str = ""
    """Commit, tag or branch; empty where nothing was said."""

    @property
    def name(self) -> str:
        """The folder that git would clone it into."""
        return self.address.rpartition("/")[2]

    @property
    def key(self) -> str:
        """The address as addresses are compared."""
        return self.address.lower()

    @property
    def short(self) -> str:
        """The address as ``--pack`` takes it."""
        return self.address.removeprefix(f"{GITHUB}/")


def read_place(text: str) -> PackPlace:
    """Read ``owner/repository@commit`` or ``https://…@commit``; commit may be a tag, a branch, or absent.

    Raises:
        PackUnknownError: it is no plain address of a repository, or no name of a commit.

    """
    address, at, ref = text.strip().rpartition("@") if "@" in text.removeprefix("git@") else (text.strip(), "", "")
    if at and (not _REF.fullmatch(ref) or ".." in ref):
        raise PackUnknownError(f"{ref[:80]!r} names no commit, tag or branch.", "Write the commit's 40 hexadecimal digits.")
    return PackPlace(plain_repository(address), ref)


def plain_repository(text: str) -> str:
    """Return the plain ``https://`` address of a repository.

    Args:
        text: ``owner/repository`` at GitHub, an address, or one for git over SSH at GitHub.

    Raises:
        PackUnknownError: it is none.

    """
    address = text.strip().rstrip("/").removesuffix(".git")
    over_ssh = _SSH.fullmatch(address)
    address = over_ssh["path"] if over_ssh else address
    if _SHORT.fullmatch(address):
        address = f"{GITHUB}/{address}"
    wrong = _fault(address)
    if wrong:
        raise PackUnknownError(f"{text.strip()[:200]!r} {wrong}.", "Name the repository: --pack CLASS=OWNER/REPOSITORY@COMMIT")
    return address


def _fault(address: str) -> str:
    parts = urlsplit(address) if is_https(address) else None
    if parts is None or parts.hostname is None:
        return "is no https:// address of a repository, and no OWNER/REPOSITORY"
    steps = parts.path.strip("/").split("/")
    if parts.hostname in ONE_FILE:
        return "is a single file, not a git repository"
    if parts.query or parts.fragment or "%" in parts.path or any(step in ("", ".", "..") for step in steps):
        return "is no plain address of a repository"
    if parts.hostname in ("github.com", "www.github.com") and len(steps) != 2:
        return "names more, or less, than a repository: GitHub's are OWNER/REPOSITORY"
    return "" if PACK.fullmatch(steps[-1]) else "has a name that no folder of a pack may have"
