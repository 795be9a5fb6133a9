"""An agent's side of ``ryla-gen mcp``: the official client, over the real command's standard input and output."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import CallToolResult, ElicitRequestParams, ElicitResult, ImageContent, TextContent
from PIL import Image

from ryla_gen.history import History, Record
from ryla_gen.settings import Settings
from tests.cli.shell import COMMAND, environment

SMALL: dict[str, Any] = {"width": 256, "height": 256, "steps": 1}
ERAS = ("legacy", "auto")
"""The protocol with its handshake, and the newer one, in which a question is a result that the client answers by asking again."""
A_DOLLAR_A_SECOND = "3600"


class Person:
    """Answers the questions of a client."""

    def __init__(self, action: Any) -> None:
        self.action, self.asked = action, list[str]()

    async def __call__(self, context: Any, params: ElicitRequestParams) -> ElicitResult:
        self.asked.append(params.message)
        return ElicitResult(action=self.action, content={} if self.action == "accept" else None)


@asynccontextmanager
async def agent(
    *options: str, mode: Any = "auto", person: Person | None = None, folder: Path | None = None, **env: str
) -> AsyncIterator[Client]:
    """Start the command, and connect to it."""
    command = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "mcp", *options], env=environment(**env), cwd=folder)
    async with Client(stdio_client(command), mode=mode, elicitation_callback=person) as client:
        yield client


def facts(result: CallToolResult) -> dict[str, Any]:
    """What a call that worked says."""
    assert not result.is_error, texts(result)
    found: dict[str, Any] = result.structured_content
    return found


def error(result: CallToolResult) -> dict[str, Any]:
    """What a call that did not work says."""
    assert result.is_error, texts(result)
    found: dict[str, Any] = result.structured_content
    assert found["message"]
    return found


def texts(result: CallToolResult) -> list[str]:
    return [item.text for item in result.content if isinstance(item, TextContent)]


def pictures(result: CallToolResult) -> list[Image.Image]:
    """The pictures that a model is shown."""
    found = [item for item in result.content if isinstance(item, ImageContent)]
    return [Image.open(io.BytesIO(base64.b64decode(item.data))) for item in found]


def journal() -> History:
    """The journal that the command writes."""
    return History(Settings.load().history_path)


def journaled(job: str) -> Record:
    """What the journal says of a job."""
    with closing(journal()) as history:
        found = history.get(job)
    assert found is not None
    return found


def jobs() -> list[Record]:
    """Every job of the journal, the newest first."""
    with closing(journal()) as history:
        return history.list(limit=None)
