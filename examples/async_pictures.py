"""Several pictures at once in async code: a web server's handler, a bot, a queue's worker.

python examples/async_pictures.py

AsyncClient has the methods of Client, awaited. Canceling the task cancels the work, and nothing is paid for it any longer.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from ryla_gen import AsyncClient, Event, Flux, Progress

PROMPTS = ("a fox in the snow", "a sailing ship at night", "a red balloon over hills")


async def picture(client: AsyncClient, prompt: str) -> Path:
    """Make one picture; may be called many times at once on one client."""

    def heard(event: Event) -> None:
        if isinstance(event, Progress) and event.node == "KSampler":
            print(f"{prompt}: {event.fraction:.0%}")

    generation = await client.run(Flux(prompt=prompt, width=384, height=384), on_event=heard)
    return generation.save(f"{prompt.replace(' ', '-')}-{{seed}}.png")[0]


async def main() -> None:
    async with AsyncClient() as client, asyncio.timeout(600), asyncio.TaskGroup() as group:
        tasks = [group.create_task(picture(client, prompt)) for prompt in PROMPTS]
    for task in tasks:
        print(task.result())


if __name__ == "__main__":
    asyncio.run(main())
