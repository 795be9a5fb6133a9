"""Describe a deployed graph as plain data: fields, price, versions, and the lock, so that another machine can use it."""

from __future__ import annotations

from pathlib import Path

from .. import contract
from ..costs.prices import GPU_USD_PER_SECOND, PRICES_AS_OF
from ..errors import PlainData
from ..events import CONTRACT
from ..locks.graph_lock import GraphLock
from ..version import __version__
from .config import FamilyConfig
from .costs import gpu_count, gpu_name


def describe(lock: GraphLock, file: Path, config: FamilyConfig, request: object = None) -> PlainData:
    """Return the reply of ``describe``.

    Args:
        lock: the lock.
        file: where it is.
        config: what the graph runs on.
        request: what was sent; the reply is in its version of the contract.
    """
    packs = [{"name": item.name, "repository": item.repo, "commit": item.commit} for item in lock.image.packs]
    found = {
        "name": lock.name,
        "fields": [item.to_data() for item in lock.inputs],
        "outputs": [item.to_data() for item in lock.outputs],
        "gpu": list(config.gpu),
        "price": _price(config),
        "versions": {"comfyui": lock.image.release, "packs": packs, "app": __version__},
        "lock": file.read_text(encoding="utf-8"),
        "requirements": file.with_name(lock.image.python.file).read_text(encoding="utf-8"),
    }
    return contract.readable_by(request, {"contract": CONTRACT, "ok": True, "describe": contract.plain(found)})


def _price(config: FamilyConfig) -> PlainData:
    second = GPU_USD_PER_SECOND.get(gpu_name(None, config.gpu))
    usd = None if second is None else second * gpu_count(config.gpu)
    return {"usd_per_second": usd, "prices_as_of": PRICES_AS_OF}
