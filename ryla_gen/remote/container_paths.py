"""Define where things are in a container: volumes, ComfyUI, its working folder and command; each moved by one variable.

On Modal the defaults apply. A test, or a machine without mounts, overrides them through the environment.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..models.node_schemas import GRAPH_VERSION
from ..models.weights_table import all_weights
from ..names import MODELS_VOLUME
from ..support.log_text import SECRET_NAME

VOLUME_ROOT = "/volumes"
"""Each volume is mounted below this, under its own name."""
COMFYUI_FOLDER = "/root/comfy/ComfyUI"
WORK_FOLDER = "/tmp/ryla"  # noqa: S108 - the container's own disk, which no one else has
HUB_VOLUME = "hf-hub-cache"
"""Volume with the Hugging Face hub's cache."""
LINKED = ("insightface", "facexlib")
"""Folders that node packs look for below ComfyUI's own ``models`` only, whatever extra_model_paths.yaml says."""
ALIASES = {"SEEDVR2": "seedvr2"}
"""Names under which a pack registers its folder, where it differs from the folder's."""
HIDDEN = (
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "CIVITAI",
    "MODAL_TOKEN",
    "MODAL_AUTH",
    "MODAL_SERVER",
    "MODAL_CONTAINER",
    "MODAL_OVERRIDE",
    "AWS_",
    "GOOGLE_",
    "RYLA_GEN_",
)
"""Beginnings of the variables that ComfyUI and its node packs never see, beside all that are named as secrets are: they are other
people's code."""

COMMAND = (
    "{python} main.py --listen 127.0.0.1 --port {port} --disable-auto-launch --disable-api-nodes --preview-method auto "
    "--extra-model-paths-config {work}/extra_model_paths.yaml --input-directory {work}/input --output-directory {work}/output "
    "--temp-directory {work}/temp --user-directory {work}/user --cache-lru 100 {snapshot}"
)
"""How ComfyUI is started. ``--cache-lru``: the default cache keeps the last prompt's nodes only, so that two alternating
workflows would load their models every time (3.31 s against 0.72 s with tiny weights). API nodes cost start time and would call
third parties. ``{snapshot}`` stands for what it needs beside that to start without a GPU."""
WITHOUT_GPU = ("--cpu", "--use-pytorch-cross-attention")
"""How ComfyUI starts in a snapshot. It chooses its attention while it is imported: without the second it would be the one for CPUs,
and stay. The GPU is chosen after the restore (``build/snapshot_node.py``), where ``--cpu`` is taken back."""
COMPILE_CACHE = ".compiled"
"""Folder on the volume for what ``torch.compile`` made: a first compilation takes minutes, and is the same in every container."""
COMPILERS = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
HIDE_GPU = {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""With both, ``torch.cuda.is_available()`` is answered without asking the driver: CUDA's own answer, once given, stays for the life
of the process, and it would be no (tried with torch 2.9.1)."""
COLD_SECONDS = 2.0
"""Requests that arrive so soon after the start, before any was served, had been waiting for it."""


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one container, and how ComfyUI is started there."""

    volumes: Path = Path(VOLUME_ROOT)
    comfyui: Path = Path(COMFYUI_FOLDER)
    work: Path = Path(WORK_FOLDER)
    command: str = COMMAND
    container: str | None = None
    """Modal's name of this container."""
    stall: float | None = None
    """Seconds after which ComfyUI counts as wedged, instead of the family's."""
    cold: float = COLD_SECONDS
    """Seconds after a start in which the first request counts as one that had been waiting for it."""
    checks_weights: bool = False
    """Whether weights are looked for on the volume although an emulator, which needs none, stands in for ComfyUI."""
    own_folders: tuple[str, ...] | None = None
    """Folders of the container's own models that ComfyUI gets in place of the volume's; None: the volume's."""
    private_addresses: bool = False
    """Whether files and webhooks may go to addresses of private networks: the owner of the app allowed that in a secret of it."""

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Places:
        """Read the environment of a container.

        ``RYLA_VOLUME_ROOT``, ``RYLA_COMFYUI_FOLDER`` and ``RYLA_WORK_FOLDER`` are folders; ``RYLA_COMFYUI_COMMAND`` starts ComfyUI,
        with ``{port}``, ``{python}``, ``{work}``, ``{models}`` and ``{comfyui}``, its release, filled in; ``RYLA_STALL_SECONDS``,
        ``RYLA_COLD_SECONDS`` and ``RYLA_CHECK_WEIGHTS`` are the three fields after; ``RYLA_GEN_ALLOW_PRIVATE_ADDRESSES`` is the
        setting of that name.
        """
        env = os.environ if env is None else env
        container = env.get("MODAL_TASK_ID")
        # Under the container's name: on Modal the disk is its own, elsewhere several may share one.
        work = Path(env.get("RYLA_WORK_FOLDER") or WORK_FOLDER) / (container or "container")
        return cls(
            Path(env.get("RYLA_VOLUME_ROOT") or VOLUME_ROOT),
            Path(env.get("RYLA_COMFYUI_FOLDER") or COMFYUI_FOLDER),
            work,
            env.get("RYLA_COMFYUI_COMMAND") or COMMAND,
            container,
            float(env["RYLA_STALL_SECONDS"]) if env.get("RYLA_STALL_SECONDS") else None,
            float(env.get("RYLA_COLD_SECONDS") or COLD_SECONDS),
            env.get("RYLA_CHECK_WEIGHTS") == "1",
            private_addresses=env.get("RYLA_GEN_ALLOW_PRIVATE_ADDRESSES", "").lower() in ("true", "1"),
        )

    @property
    def models(self) -> Path:
        """The mounted volume with the weights."""
        return self.volumes / MODELS_VOLUME

    @property
    def hub_cache(self) -> Path:
        """The mounted hub cache."""
        return self.volumes / HUB_VOLUME

    @property
    def own_models(self) -> Path:
        """Models on the container's own disk."""
        return self.work / "models"

    @property
    def used_models(self) -> Path:
        """The models folder that ComfyUI is given."""
        return self.models if self.own_folders is None else self.own_models

    @property
    def loras(self) -> Path:
        """LoRAs on the container's own disk."""
        return self.own_models / "loras"

    def arguments(self, release: str = GRAPH_VERSION, *, without_gpu: bool = False) -> list[str]:
        """Return ComfyUI's command, all but its port filled in.

        Args:
            release: ComfyUI's, for an emulator in its place.
            without_gpu: for a start in which no GPU may be asked for.
        """
        known = {"python": sys.executable, "work": str(self.work), "models": str(self.models), "comfyui": release}
        more = WITHOUT_GPU if without_gpu else ()
        return [word for part in shlex.split(self.command) for word in (more if part == "{snapshot}" else (_fill(part, known),))]

    def environment(self, env: Mapping[str, str] | None = None, *, without_gpu: bool = False) -> dict[str, str]:
        """Return the environment for ComfyUI: without secrets, without access to Modal, and with downloads turned off."""
        env = os.environ if env is None else env
        kept = {name: value for name, value in env.items() if not name.startswith(HIDDEN) and not SECRET_NAME.search(name)}
        compiled = {name: str(self.models / COMPILE_CACHE / name.lower()) for name in COMPILERS}
        return kept | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"} | compiled | (HIDE_GPU if without_gpu else {})

    def prepare(self) -> None:
        """Make the working folders, write extra_model_paths.yaml and link what the packs look for in ComfyUI's own folder."""
        for name in ("input", "output", "temp", "user"):
            (self.work / name).mkdir(parents=True, exist_ok=True)
        self.loras.mkdir(parents=True, exist_ok=True)
        (self.work / "extra_model_paths.yaml").write_text(self.model_paths(), encoding="utf-8")
        if self.comfyui.is_dir():
            for name in (*LINKED, *(self.own_folders or ())):
                _link(self.comfyui / "models" / name, self.used_models / name)

    def model_paths(self) -> str:
        """Write the text of extra_model_paths.yaml: the container's own LoRAs first, then the volume."""
        if self.own_folders is not None:
            names = sorted({"loras", *self.own_folders})
            return "\n".join(["container:", f"  base_path: {self.own_models}", *(f"  {name}: {name}" for name in names), ""])
        folders = sorted({row.folder for row in all_weights()} | {"loras"})
        own = ["container:", f"  base_path: {self.work / 'models'}", "  is_default: true", "  loras: loras"]
        volume = ["volume:", f"  base_path: {self.models}"]
        volume += [f"  {ALIASES.get(name, name)}: {name}" for name in folders if name not in LINKED]
        return "\n".join([*own, *volume, ""])


def _fill(part: str, known: Mapping[str, str]) -> str:
    for name, value in known.items():
        part = part.replace(f"{{{name}}}", value)
    return part


def _link(link: Path, target: Path) -> None:
    """Link a folder where there is an empty one, or none yet. A folder with files in it is the user's choice and stays."""
    if link.is_symlink():
        link.unlink()
    elif link.is_dir():
        if any(path.is_file() for path in link.rglob("*")):
            return
        shutil.rmtree(link)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target, target_is_directory=True)
