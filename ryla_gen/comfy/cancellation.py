"""Tell a ComfyUI server to stop a prompt: by its route for one job where it has that, else out of the queue and by an interrupt."""

from __future__ import annotations

from .transport import Transport

ABSENT = (404, 405)
"""Answers of a server without the route: its own is 405, since the page's files are served below the same address."""


class Cancellation:
    """How prompts are stopped on one server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._cancels_jobs = True
        """Whether the server has the route for one job; a server without it is asked once."""

    async def cancel(self, prompt_id: str) -> None:
        """Stop a prompt, waiting or running. Nothing happens to a finished one."""
        if self._cancels_jobs and await self._cancel_job(prompt_id):
            return
        # In this order: it may begin to run in between, and never the other way round.
        await self.delete(prompt_id)
        await self.interrupt(prompt_id)

    async def interrupt(self, prompt_id: str) -> None:
        """Stop a prompt if it runs; its neighbours go on."""
        # Without an id ComfyUI stops whatever runs.
        await self._transport.json("POST", "/interrupt", json={"prompt_id": prompt_id}, empty=True)

    async def delete(self, prompt_id: str) -> None:
        """Take a prompt out of the queue if it waits there."""
        await self._transport.json("POST", "/queue", json={"delete": [prompt_id]}, empty=True)

    async def forget(self, prompt_id: str) -> None:
        """Remove an ended prompt from the history."""
        await self._transport.json("POST", "/history", json={"delete": [prompt_id]}, empty=True)

    async def _cancel_job(self, prompt_id: str) -> bool:
        """Use the route of ComfyUI 0.28, which looks and stops under one lock; False where the server does not have it."""
        answer = await self._transport.call("POST", f"/api/jobs/{prompt_id}/cancel")
        if answer.status in ABSENT and not answer.from_gateway:
            self._cancels_jobs = False
            return False
        self._transport.object(answer)
        return True
