"""Define every setting: its key, its type, its default, the variables that set it, and how a value is checked.

Pure: reads no file and no environment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError
from ..names import APP, CLASS_OF_FAMILY
from ..support.numbers import is_number, is_whole_number

BACKENDS = ("modal", "comfyui", "runpod", "emulator")
"""Names of the places where engines live."""
CONFIG_FILE = "config.toml"
"""The file in the home folder; also the origin of what it sets."""
PREFIX = "RYLA_GEN_"
"""Every setting's variable is this and its key in capitals, with ``_`` for ``.``."""
SECRETS = {
    "runpod.api_key": "RUNPOD_API_KEY",
    "posthog.key": "RYLA_GEN_POSTHOG_KEY",
    "webhook.secret": "RYLA_GEN_WEBHOOK_SECRET",
} | {f"comfyui.{name}": f"COMFYUI_{name.upper()}" for name in ("token", "user", "password")}
"""Values that only the environment may hold, so that no file and no screen shows them."""
LONGEST_TIMEOUT = 86_400.0
"""Seconds that a Modal function may run at most (24 hours)."""
QUEUE_SECONDS = 1800.0
"""Seconds that a job may wait for its turn: GPUs can be scarce for many minutes, and waiting costs nothing."""
WINDOW = (2, 3600)
"""Seconds that Modal lets an idle container stay, at least and at most (modal 1.6 refuses others)."""
SNAPSHOTS = ("cpu", "gpu", "off")
"""What a new container on Modal may start from: a snapshot of its memory, of its GPU's memory too, or nothing."""


class _NotThisError(Exception):
    """A value does not fit; the message says what would."""


LARGEST = 1e300
"""Largest number accepted: beyond it a value is a mistake, and a whole one may be too large for a float."""

Check = Callable[[Any], Any]
"""Turns a typed value into the stored one, or raises."""


def _number(low: float, high: float = math.inf) -> Check:
    def check(value: Any) -> float:
        if not is_number(value) or not low <= value <= high or abs(value) > LARGEST:
            above = f" and at most {high:g}" if high < math.inf else ""
            raise _NotThisError(f"a number of at least {low:g}{above}")
        return float(value)

    return check


def _count(low: int, high: int | None = None) -> Check:
    def check(value: Any) -> int:
        if not is_whole_number(value) or value < low or (high is not None and value > high):
            raise _NotThisError(f"a whole number of at least {low}{'' if high is None else f' and at most {high}'}")
        return value

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _NotThisError("a text")
    return value.strip()


def _one_of(*names: str) -> Check:
    def check(value: Any) -> str:
        if value not in names:
            raise _NotThisError(f"one of {', '.join(names)}")
        return str(value)

    return check


def _switch(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    said = str(value).strip().lower()
    if said not in words:
        raise _NotThisError("true or false")
    return words[said]


def _folder(value: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value).strip():
        raise _NotThisError("the path of a folder or file")
    try:
        return Path(value).expanduser()
    except RuntimeError:  # no home folder to put for "~"
        raise _NotThisError("a path without ~, since this machine has no home folder") from None
    except ValueError:  # a NUL or a lone surrogate
        raise _NotThisError("the path of a folder or file") from None


def _texts(value: Any) -> tuple[str, ...]:
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not items:
        raise _NotThisError("a text, or a list of texts")
    return tuple(dict.fromkeys(_text(item) for item in items))


def _url(value: Any) -> str:
    from urllib.parse import urlsplit

    text = _text(value).rstrip("/")
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        fits = False
    if not fits:
        raise _NotThisError("an address such as http://127.0.0.1:8188")
    return text


def without_credentials(text: str) -> str:
    """Hide credentials in a text: what stands before an ``@``, as in ``https://user:password@host``, is left out."""
    start, mark, rest = text.rpartition("@")
    scheme = "".join(re.findall(r"^['\"]?[a-z]{0,10}://", start))
    return f"{scheme}…@{rest}" if mark else text


@dataclass(frozen=True, slots=True)
class Key:
    """One setting."""

    name: str
    """Dotted key, as in config.toml."""
    check: Check
    """Turns a typed value into the stored one."""
    default: Any = None
    """Value when nothing sets it."""
    also: str = ""
    """Another variable that sets it, for those who have it already."""
    unit: float = 1.0
    """What a number in that other variable is multiplied by."""

    @property
    def argument(self) -> str:
        """Name as an argument of ``Settings.load``."""
        return self.name.replace(".", "_").replace("-", "_")

    @property
    def variables(self) -> tuple[tuple[str, float], ...]:
        """Environment variables that set it, in order, each with the unit of its number."""
        own = (PREFIX + self.argument.upper(), 1.0)
        return (own, (self.also, self.unit)) if self.also else (own,)

    def from_typed(self, value: Any, origin: str) -> Any:
        """Check a value that has a type: from TOML, or an argument.

        Raises:
            InvalidInputError: it does not fit.

        """
        if self.name == "backend" and isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        try:
            checked = self.check(value)
        except _NotThisError as error:
            said = without_credentials(repr(value))[:80]
            raise InvalidInputError(
                f"The setting {self.name} is {said} ({origin}); it must be {error}.",
                self._hint(origin),
                {"key": self.name, "origin": origin},
            ) from None
        if self.name == "backend":
            _known_backends(checked, origin, self._hint(origin))
        return checked

    def _hint(self, origin: str) -> str:
        """Return how to correct a value that does not fit: that depends on where it comes from."""
        if origin.startswith("environment "):
            return f"Correct it, or remove it: unset {origin.removeprefix('environment ')}"
        if origin == CONFIG_FILE:
            return f"Correct it: ryla-gen config set {self.name} VALUE, or remove it: ryla-gen config unset {self.name}"
        return "Give another value."

    def from_text(self, text: str, origin: str, unit: float = 1.0) -> Any:
        """Check a value that is text: from the environment, or a command line. Lists are separated by commas."""
        text = text.strip()
        if self.check is _texts:
            return self.from_typed([part.strip() for part in text.split(",") if part.strip()], origin)
        for number in (int, float):
            try:
                value = number(text) * unit
            except (ValueError, OverflowError):  # OverflowError: hundreds of digits, with a unit
                continue
            if not isinstance(self.default, str) and self.check not in (_text, _folder, _url):
                return self.from_typed(int(value) if unit == 1.0 and number is int else value, origin)
        return self.from_typed(text, origin)


def _known_backends(names: tuple[str, ...], origin: str, mending: str) -> None:
    for name in names:
        if name not in BACKENDS:
            raise InvalidInputError(
                f"There is no backend {name!r} ({origin}){closest(name, BACKENDS)}",
                f"Backends: {', '.join(BACKENDS)}. {mending}",
                {"key": "backend", "origin": origin},
            )


def closest(name: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    """Suggest the known name that is nearest to a wrong one; returns the end of a sentence."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else "."


GRAPHS = "modal.graphs."
"""Beginning of the keys of a locked graph, before its name: ``modal.graphs.portrait.gpu``."""
MACHINE: dict[str, Check] = {
    "gpu": _texts,
    "min_containers": _count(0),
    "max_containers": _count(1),
    "buffer_containers": _count(0),
    "scaledown_window": _count(*WINDOW),
    "snapshot": _one_of(*SNAPSHOTS),
}
"""What may be set of one Modal class."""


def _family_keys() -> Iterator[Key]:
    for family in CLASS_OF_FAMILY:
        yield from (Key(f"modal.families.{family}.{name}", check) for name, check in MACHINE.items())


def graph_key(name: str) -> Key | None:
    """Return the key of a locked graph; None for a name that is none."""
    graph, _, field = name.removeprefix(GRAPHS).partition(".")
    if name.startswith(GRAPHS) and re.fullmatch(r"[a-z][a-z0-9-]{0,40}", graph) and field in MACHINE:
        return Key(name, MACHINE[field])
    return None


def graph_variables(env: Mapping[str, str]) -> Iterator[str]:
    """Yield the keys of locked graphs that the environment sets."""
    start = f"{PREFIX}MODAL_GRAPHS_"
    for variable in env:
        for field in MACHINE if variable.startswith(start) else ():
            if variable.endswith(f"_{field.upper()}"):
                graph = variable.removeprefix(start).removesuffix(f"_{field.upper()}")
                yield f"{GRAPHS}{graph.lower().replace('_', '-')}.{field}"


KEYS: dict[str, Key] = {
    key.name: key
    for key in (
        Key("backend", _texts),
        Key("output_dir", _folder, Path()),
        Key("preview", _one_of("auto", "off", "kitty", "iterm2", "sixel"), "auto"),
        Key("max_usd", _number(0)),
        Key("max_usd_per_day", _number(0)),
        Key("users.hash", _switch, False),
        Key("users.telemetry", _switch, False),
        Key("users.max_usd_per_day", _number(0)),
        Key("users.max_jobs_per_minute", _count(0)),
        Key("users.max_running", _count(0)),
        Key("notebook", _switch, True),
        Key("references", _one_of("any", "bytes"), "any"),
        Key("allow_private_addresses", _switch, False),
        Key("queue_timeout", _number(0.001), QUEUE_SECONDS),
        Key("webhook.url", _url),
        Key("webhook.include_prompt", _switch, False),
        Key("modal.app", _text, APP),
        Key("modal.environment", _text, also="MODAL_ENVIRONMENT"),
        Key("modal.secrets", _texts, ()),
        Key("modal.timeout", _number(0.001, LONGEST_TIMEOUT), 180.0, also="MODAL_TIMEOUT", unit=0.001),
        Key("modal.region", _texts, also="RYLA_DEPLOY_REGION"),
        Key("modal.preload", _switch, False, also="RYLA_PRELOAD"),
        Key("modal.snapshot", _one_of(*SNAPSHOTS)),
        *_family_keys(),
        Key("emulator.comfyui", _text),
        Key("comfyui.url", _url, also="COMFYUI_POD_URL"),
        Key("comfyui.hourly_usd", _number(0), 0.0),
        Key("comfyui.tls_ca", _folder),
        Key("comfyui.tls_verify", _switch, True),
        Key("comfyui.lora_folder", _folder),
        Key("runpod.endpoint_id", _text, also="RUNPOD_ENDPOINT_ID"),
        Key("runpod.url", _url, "https://api.runpod.ai/v2"),
        Key("runpod.usd_per_second", _number(0)),
        Key("runpod.load_seconds", _number(0, LONGEST_TIMEOUT), 120.0),
        Key("registry.url", _url, "https://api.comfy.org"),
        Key("civitai.url", _url, "https://civitai.com"),
        Key("posthog.host", _url, "https://us.i.posthog.com"),
        Key("posthog.distinct_id", _text),
        Key("provenance.sign", _switch, False),
        Key("provenance.certificate", _folder),
        Key("provenance.key", _folder),
        Key("provenance.include_prompt", _switch, False),
        Key("provenance.timestamp_url", _url),
        Key("characters.checkpoint", _text),
        Key("characters.nsfw_checkpoint", _text),
        Key("characters.sdxl_checkpoint", _text),
        Key("characters.nsfw_sdxl_checkpoint", _text),
        Key("characters.face_workflow", _one_of("flux_pulid", "instantid"), "flux_pulid"),
    )
}
"""Every key of config.toml, and how it is checked."""


def find_key(name: str) -> Key:
    """Find a setting by its dotted key.

    Raises:
        InvalidInputError: there is none, or it is a secret.

    """
    if key := KEYS.get(name) or graph_key(name):
        return key
    if name in SECRETS:
        raise InvalidInputError(f"{name} is a secret and is never stored in a file.", f"Set the variable {SECRETS[name]} instead.")
    raise InvalidInputError(
        f"There is no setting {name!r}{closest(name, KEYS)}", "See them all: ryla-gen config show", {"key": name}
    )
