"""Ask the network for what a lock needs: models at their publishers, packs at their repositories, packages at the index."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...locks import resolve
from ...locks.graph_lock import LockedModel
from ...locks.image_lock import ImageLock
from ...locks.lists import fetched_repositories
from ...remote.pins import requirements_of
from ...settings import Settings
from .model_facts import ModelFacts, look_up
from .pack_files import look_into
from .pack_registry import RegistryClient


@dataclass(frozen=True, slots=True)
class Network:
    """Who is asked, and with which tokens."""

    registry: RegistryClient
    hub_token: str | None = field(default=None, repr=False)
    civitai_token: str | None = field(default=None, repr=False)
    civitai_url: str = "https://civitai.com"
    private_addresses: bool = False

    @classmethod
    def of(cls, settings: Settings, env: Mapping[str, str] | None = None) -> Network:
        """Return the network as the settings and the environment say: tokens come from the environment alone."""
        env = os.environ if env is None else env
        return cls(
            RegistryClient(settings.registry_url),
            env.get("HF_TOKEN") or None,
            env.get("CIVITAI_TOKEN") or None,
            settings.civitai_url,
            settings.allow_private_addresses,
        )

    def facts(self, models: Sequence[LockedModel], command: str, retry: str) -> ModelFacts:
        """Look up commit, hash, size and licence of models.

        Args:
            models: as the graph names them.
            command: what the commands of questions begin with.
            retry: the command that was given, for errors.

        Raises:
            BackendUnreachableError: a host does not answer.
            NotAuthorizedError: a token is refused.
            HashMismatchError: a file has another hash than the graph or the lock says.

        """
        return look_up(
            models,
            token=self.hub_token,
            civitai_token=self.civitai_token,
            civitai=self.civitai_url,
            private_addresses=self.private_addresses,
            command=command,
            retry=retry,
        )

    def packages(self, image: ImageLock, unknown: Sequence[str] = ()) -> tuple[ImageLock, str]:
        """Resolve the packages of an image with packs; return it with what its packs' files say, and the text of its packages.

        Args:
            image: its packs are read at their commits.
            unknown: classes that nobody knows the pack of; its packs' files are searched for them.

        Raises:
            InvalidInputError: the lists contradict each other, or one of them cannot be locked.
            BackendUnreachableError: a repository or the package index does not answer.
            BackendNotConfiguredError: git or uv is not installed.

        """
        wanted = requirements_of(image)
        with fetched_repositories(wanted.repositories) as folders:
            looked = ImageLock(image.comfyui, look_into(image.packs, folders, unknown), image.python)
            return looked, resolve(wanted, folders)
