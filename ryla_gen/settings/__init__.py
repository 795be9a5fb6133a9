"""Resolve settings: argument > environment > config.toml > default, each value with its origin.

Reads the environment and one file; knows no backend's code. Secrets come from the environment only and are shown nowhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import InvalidInputError, StorageFailedError
from .allowance import Allowance
from .base import BACKENDS, CONFIG_FILE, GRAPHS, KEYS, QUEUE_SECONDS, SECRETS, closest, find_key, graph_key, graph_variables
from .machines import FAMILIES, FamilySettings, families_of, graphs_of
from .own_server import credentials_of, own_server
from .reading import do_not_track, known_or_there, read_config, read_text, unknown_variables

__all__ = ["BACKENDS", "FamilySettings", "Settings", "home_folder", "set_value", "set_values", "unset_value"]

HISTORY_FILE = "history.sqlite3"


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, resolved; made by :meth:`load`."""

    backend_names: tuple[str, ...]
    """Backends to try, in order."""
    backend_reason: str
    """Why these, in one sentence."""
    output_dir: Path
    """Folder for results whose file is not named."""
    max_usd: float | None
    """Most US dollars for one call; None is no limit."""
    max_usd_per_day: float | None
    """Most US dollars for one day; None is no limit."""
    webhook_url: str | None
    """Address that is told how each job ended, where a call names no other."""
    webhook_include_prompt: bool
    """Whether a webhook is told the prompt, and an error's words, which may repeat it."""
    modal_app: str
    """Name of the deployed Modal app."""
    modal_environment: str | None
    """Modal environment; None is the workspace's default one."""
    modal_workspace: str | None
    """Modal workspace, when ``MODAL_WORKSPACE`` names it."""
    modal_timeout: float
    """Seconds that a caller waits for a generation on Modal at least."""
    modal_region: tuple[str, ...] | None
    """Where a deploy places every class; None is anywhere, which is the cheapest."""
    modal_secrets: tuple[str, ...]
    """Modal secrets whose variables the GPU containers of a deploy get: credentials of a bucket, the webhook's secret."""
    modal_preload: bool
    """Whether a deployed container loads its weights before it takes its first request."""
    modal_snapshot: str | None
    """Snapshot that containers start from; None is each family's own. Where that is ``off``, only its own key changes it."""
    modal_families: Mapping[str, FamilySettings]
    """What each family's Modal class runs on, by family."""
    modal_graphs: Mapping[str, FamilySettings]
    """What a locked graph's Modal class runs on, by the lock's name; only those of which something is set."""
    comfyui_url: str | None
    """Address of your own ComfyUI server, without a slash at the end."""
    comfyui_hourly_usd: float
    """What that server costs, US dollars per hour."""
    comfyui_tls_ca: Path | None
    """File of the certificate authority that signed that server's certificate, beside the system's own."""
    comfyui_tls_verify: bool
    """Whether that server's certificate is checked."""
    comfyui_lora_folder: Path | None
    """That server's ``models/loras``, as this machine reaches it: local, or mounted."""
    runpod_endpoint_id: str | None
    """Id of the RunPod serverless endpoint."""
    runpod_url: str
    """Address of RunPod's serverless API, without a slash at the end."""
    runpod_usd_per_second: float | None
    """What a second of the endpoint's GPU costs, US dollars; None is unknown, for RunPod's API does not tell."""
    runpod_load_seconds: float
    """Seconds a worker may take to start ComfyUI and load weights, on top of a workflow's own limit."""
    registry_url: str
    """Address of ComfyUI's registry of node packs, which ``graph lock`` asks."""
    civitai_url: str
    """Address of Civitai, which ``graph lock`` asks about models that lie there."""
    posthog_host: str
    """Where events are sent, without a slash at the end."""
    posthog_distinct_id: str | None
    """Who events are counted under; None is a random id kept in the home folder."""
    home: Path
    """Folder of the configuration and the journal."""
    runpod_api_key: str | None = field(default=None, repr=False)
    """Secret, from ``RUNPOD_API_KEY`` only."""
    comfyui_token: str | None = field(default=None, repr=False)
    """Secret, from ``COMFYUI_TOKEN`` only; sent to ``comfyui_url`` as a bearer token."""
    comfyui_user: str | None = field(default=None, repr=False)
    """From ``COMFYUI_USER``, or from the address itself (``https://user:password@host``), which is kept without it."""
    comfyui_password: str | None = field(default=None, repr=False)
    """Secret, from ``COMFYUI_PASSWORD`` or the address itself."""
    posthog_key: str | None = field(default=None, repr=False)
    """Secret, from ``RYLA_GEN_POSTHOG_KEY`` only; None, so that nothing is sent, when ``DO_NOT_TRACK`` is set."""
    webhook_secret: str | None = field(default=None, repr=False)
    """Secret, from ``RYLA_GEN_WEBHOOK_SECRET`` only; signs the events of webhooks. Several are separated by spaces."""
    characters_checkpoint: str | None = None
    """FLUX.1 dev checkpoint file of character jobs; None is the workflow's own."""
    characters_nsfw_checkpoint: str | None = None
    """FLUX.1 dev checkpoint file of character jobs with ``nsfw=True``."""
    characters_sdxl_checkpoint: str | None = None
    """SDXL checkpoint file of character jobs whose face workflow is instantid; None is the workflow's own."""
    characters_nsfw_sdxl_checkpoint: str | None = None
    """SDXL checkpoint file of such jobs with ``nsfw=True``."""
    characters_face_workflow: str = "flux_pulid"
    """Workflow of face swaps and character sheets: flux_pulid or instantid."""
    provenance_sign: bool = False
    """Whether every result is signed with a C2PA manifest."""
    provenance_certificate: Path | None = None
    """File (PEM) of the certificate to sign with, and those above it; None is the one that ``provenance init`` made."""
    provenance_key: Path | None = None
    """File (PEM) of its private key."""
    provenance_include_prompt: bool = False
    """Whether a manifest holds the prompt."""
    provenance_timestamp_url: str | None = None
    """Address of a time-stamping authority, asked for each file; None is none, so that signing needs no network."""
    queue_timeout: float = QUEUE_SECONDS
    """Seconds that a job may wait on a server of one's own or for a RunPod worker, until its graph starts."""
    emulator_comfyui: str | None = None
    """Release of ComfyUI that the embedded emulator is for graphs of one's own; None is the newest it knows."""
    notebook: bool = True
    """Whether a Jupyter cell shows a running job's bar, and a list of results as a grid."""
    references: str = "any"
    """Which pictures a request may name: any, or bytes, for no paths and no addresses."""
    allow_private_addresses: bool = False
    """Whether addresses of this machine and of private networks are fetched as pictures."""
    allowance: Allowance | None = None
    """What the jobs of this program may cost together; a program gives it itself: no file and no variable holds it."""
    preview: str = "auto"
    """How pictures are shown in the terminal: auto, off, kitty, iterm2 or sixel."""
    users_hash: bool = False
    """Whether the journal keeps a hash of a user's id, instead of the id."""
    users_telemetry: bool = False
    """Whether events tell the hash of a job's user."""
    users_max_usd_per_day: float | None = None
    """Most US dollars for one day of one user; None is no limit, as for the next two."""
    users_max_jobs_per_minute: int | None = None
    """Most jobs that one user submits within a minute."""
    users_max_running: int | None = None
    """Most jobs of one user that have not ended."""
    warnings: tuple[str, ...] = ()
    """Variables that look like settings and are none."""
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Where each value comes from, by key; ask :meth:`origin`."""

    @classmethod
    def load(cls, env: Mapping[str, str] | None = None, /, **arguments: Any) -> Settings:
        """Resolve every setting.

        Args:
            env: the environment; None is this process's.
            arguments: settings by key with ``_`` for ``.`` (``backend``, ``comfyui_url``, ``modal_timeout``); None is not given.

        Raises:
            InvalidInputError: a value or key does not fit, config.toml cannot be read, or an address is given for other backends.

        """
        env = os.environ if env is None else env
        home = home_folder(env)
        values, origins = _resolve(_given_arguments(arguments), env, read_config(home / CONFIG_FILE))
        names, reason, origins["backend"] = _choose(values, origins, env)
        pod, notes = own_server(names, values, origins, env, lambda: _resolve({}, env, read_config(home / CONFIG_FILE))[0])
        plain = {key.argument: values[name] for name, key in KEYS.items() if name != "backend" and not name.startswith(FAMILIES)}
        return cls(
            backend_names=names,
            backend_reason=reason,
            modal_workspace=_set(env, "MODAL_WORKSPACE"),
            modal_families=families_of(values),
            modal_graphs=graphs_of(values),
            home=home,
            runpod_api_key=_set(env, SECRETS["runpod.api_key"]),
            posthog_key=None if do_not_track(env) else _set(env, SECRETS["posthog.key"]),
            webhook_secret=_set(env, SECRETS["webhook.secret"]),
            warnings=(*unknown_variables(env), *notes),
            origins=MappingProxyType(origins),
            **pod,
            **plain,
        )

    @property
    def config_path(self) -> Path:
        """The configuration file, there or not."""
        return self.home / CONFIG_FILE

    @property
    def history_path(self) -> Path:
        """The journal's file, there or not."""
        return self.home / HISTORY_FILE

    def origin(self, key: str) -> str:
        """Return where a value comes from: ``argument``, ``environment NAME``, ``config.toml`` or ``default``.

        Raises:
            InvalidInputError: there is no such key.

        """
        return self.origins.get(find_key(key).name, "default")

    def value(self, key: str) -> Any:
        """Return a value by its dotted key.

        Raises:
            InvalidInputError: there is no such key.

        """
        found = find_key(key)
        if found.name.startswith(FAMILIES):
            family, name = key.removeprefix(FAMILIES).split(".")
            return getattr(self.modal_families[family], name)
        if found.name.startswith(GRAPHS):
            graph, name = key.removeprefix(GRAPHS).split(".")
            return getattr(self.modal_graphs.get(graph, FamilySettings()), name)
        return self.backend_names if found.name == "backend" else getattr(self, found.argument)

    def entries(self) -> Iterator[tuple[str, Any, str]]:
        """Yield key, value and origin of every setting; no secrets."""
        for key in (*KEYS, *(name for name in self.origins if name not in KEYS)):
            yield key, self.value(key), self.origin(key)


def home_folder(env: Mapping[str, str] | None = None) -> Path:
    """Return the folder of configuration and journal: ``RYLA_GEN_HOME``, else the platform's folder for users' settings.

    Raises:
        InvalidInputError: this machine knows no home folder.

    """
    env = os.environ if env is None else env
    try:
        if own := _set(env, "RYLA_GEN_HOME"):
            return Path(own).expanduser()
        user = Path(_set(env, "HOME") or Path.home())
    except RuntimeError:
        raise InvalidInputError(
            "This machine has no home folder.", "Set the folder for settings: RYLA_GEN_HOME=/some/folder"
        ) from None
    if sys.platform == "win32":
        return Path(_set(env, "APPDATA") or user / "AppData" / "Roaming") / "ryla-gen"
    if sys.platform == "darwin":
        return user / "Library" / "Application Support" / "ryla-gen"
    folder = Path(_set(env, "XDG_CONFIG_HOME") or "")
    return (folder if folder.is_absolute() else user / ".config") / "ryla-gen"  # the XDG rule: relative ones are ignored


def _given_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    known = {key.argument: key.name for key in KEYS.values()}
    for name in arguments:
        if name not in known:
            raise InvalidInputError(f"There is no setting {name!r}{closest(name, known)}", "See them all: ryla-gen config show")
    return {known[name]: value for name, value in arguments.items() if value is not None}


def _set(env: Mapping[str, str], name: str) -> str | None:
    """Return a variable's value; a blank one counts as not set."""
    return env.get(name, "").strip() or None


def _resolve(given: Mapping[str, Any], env: Mapping[str, str], config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    named = (*(name for name in config if name.startswith(GRAPHS)), *graph_variables(env))
    graphs = {name: key for name in named if (key := graph_key(name)) is not None}
    for name, key in {**KEYS, **graphs}.items():
        variable = next(((variable, unit) for variable, unit in key.variables if _set(env, variable)), None)
        if name in given:
            origins[name] = "argument"
            values[name] = key.from_typed(given[name], "argument")
        elif variable:
            origins[name] = f"environment {variable[0]}"
            values[name] = key.from_text(env[variable[0]], origins[name], variable[1])
        elif name in config:
            origins[name] = CONFIG_FILE
            values[name] = key.from_typed(config[name], CONFIG_FILE)
        else:
            origins[name] = "default"
            values[name] = key.default
    return values, origins


def _choose(values: Mapping[str, Any], origins: Mapping[str, str], env: Mapping[str, str]) -> tuple[tuple[str, ...], str, str]:
    """Decide where to run: what is named, else what is configured, else the emulator. Names, the reason, the origin."""
    if values["backend"]:
        named = ", then ".join(values["backend"])
        return values["backend"], f"Running on {named}: chosen by {_origin_text(origins['backend'])}.", origins["backend"]
    # An address is set on purpose for this package; a workspace or a key may be set for other programs.
    if origins["comfyui.url"] != "default":
        reason = f"Running on comfyui: its address is set by {_origin_text(origins['comfyui.url'])}."
        return ("comfyui",), reason, origins["comfyui.url"]
    if _set(env, "MODAL_WORKSPACE"):
        return ("modal",), "Running on modal: MODAL_WORKSPACE is set.", "environment MODAL_WORKSPACE"
    if values["runpod.endpoint_id"] and _set(env, SECRETS["runpod.api_key"]):
        return ("runpod",), "Running on runpod: its endpoint and RUNPOD_API_KEY are set.", origins["runpod.endpoint_id"]
    return ("emulator",), "Running on the embedded emulator, since no GPU backend is configured: pictures are emulated.", "default"


def _origin_text(origin: str) -> str:
    return {"argument": "the caller"}.get(origin, origin.removeprefix("environment "))


def set_value(key: str, text: str, env: Mapping[str, str] | None = None) -> Path:
    """Write a setting into config.toml, keeping its comments and order; return the file's path.

    Args:
        key: dotted key, as ``modal.timeout``.
        text: the value as on a command line; lists are separated by commas.
        env: the environment, for ``RYLA_GEN_HOME``; None is this process's.

    Raises:
        InvalidInputError: there is no such key, the value does not fit, or the file cannot be edited.
        StorageFailedError: the file cannot be written.

    """
    return set_values({key: text}, env)


def set_values(values: Mapping[str, str], env: Mapping[str, str] | None = None) -> Path:
    """Write several settings into config.toml at once: all of them or, when one does not fit, none; return the file's path.

    Args:
        values: texts as on a command line, by dotted key.
        env: the environment, for ``RYLA_GEN_HOME``; None is this process's.

    Raises:
        InvalidInputError: there is no such key, a value does not fit, or the file cannot be edited.
        StorageFailedError: the file cannot be written.

    """
    typed = {key: _to_write(key, text) for key, text in values.items()}

    def change(edit: Any, old: str) -> str:
        for key, value in typed.items():
            old = edit.with_value(old, key, value)
        return old

    return _edit(change, env)


def _to_write(key: str, text: str) -> Any:
    """Return a value as the file holds it."""
    value = find_key(key).from_text(text, "command line")
    if key == "comfyui.url" and credentials_of(value)[1] is not None:
        hint = "Leave them out of the address, and set the variables COMFYUI_USER and COMFYUI_PASSWORD."
        raise InvalidInputError("The address contains a user name or password, which are never stored in a file.", hint)
    if isinstance(value, Path):
        return text.strip()  # as written: "~" stays "~" in the file
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


def unset_value(key: str, env: Mapping[str, str] | None = None) -> Path:
    """Remove a setting from config.toml, if it is there; return the file's path.

    Raises:
        InvalidInputError: there is no such key, or the file cannot be edited.
        StorageFailedError: the file cannot be written.

    """
    return _edit(lambda edit, old: edit.without_value(old, known_or_there(key, old)), env)


def _edit(change: Any, env: Mapping[str, str] | None) -> Path:
    from . import edit

    path = home_folder(env) / CONFIG_FILE
    old = read_text(path) if path.exists() else ""
    try:
        new = change(edit, old)
    except ValueError as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{path} is not valid TOML: {error}.", "Correct that line, or move the file away.") from None
    if new != old:
        _write(path, new)
    return path


def _write(path: Path, text: str) -> None:
    """Write the file whole or not at all; behind a link, the file that it leads to."""
    target = path.resolve()
    temporary = target.parent / f".config-{os.urandom(6).hex()}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8", newline="")
            if target.exists():
                temporary.chmod(target.stat().st_mode & 0o777)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageFailedError(f"{path} could not be written: {error.strerror}.", details={"file": str(path)}) from None
