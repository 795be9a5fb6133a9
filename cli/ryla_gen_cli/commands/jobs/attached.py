"""Jobs that outlive this process, as the command line follows them: until it has seen enough, and then they go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ryla_gen.client import AsyncClient
from ryla_gen.client.job_base import AsyncJob
from ryla_gen.errors import GenerationTimeoutError
from ryla_gen.results import Generation
from ryla_gen.settings import Settings


def settings_for(backend: str | None, url: str | None, max_usd: float | None = None, comfyui: str | None = None) -> Settings:
    """The settings, under what the command line says."""
    chosen = backend or ("comfyui" if url else None)
    arguments = {"backend": chosen, "comfyui_url": url, "max_usd": max_usd, "emulator_comfyui": comfyui}
    return Settings.load(**{key: value for key, value in arguments.items() if value is not None})


@asynccontextmanager
async def attached(settings: Settings, job: str) -> AsyncIterator[AsyncJob]:
    """Follow a job of any process, by its id, the beginning of it, or its handle; afterwards it goes on without us.

    Raises:
        JobNotFoundError: no such job is known.
        JobExpiredError: its backend no longer has it.

    """
    async with AsyncClient(settings=settings) as client:
        yield await client.jobs.get(job)


async def waited(job: AsyncJob, timeout: float | None) -> Generation:
    """Wait for a job's result.

    Raises:
        GenerationTimeoutError: it has not finished while we waited; it goes on.
        RylaGenError: it failed.

    """
    try:
        return await job.result(timeout)
    except GenerationTimeoutError as error:
        if not job.done:
            error.hint = f"Wait again, or stop it: ryla-gen jobs cancel {job.id[:8]}"
        raise
