"""Serve the protocol on standard input and output: dispatch calls to their tools, turn errors into results, end in order."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import anyio
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    ListToolsResult,
    PaginatedRequestParams,
)

from ...client import AsyncClient
from ...errors import InternalError, InvalidInputError, RylaGenError
from ...version import __version__
from .arguments import JobsList, Lookup, OneJob, OneWorkflow, Pictures, Since
from .asking import Context
from .base import ServerOptions
from .calls import Calls
from .catalog import INSTRUCTIONS, own_tools, tool_classes, tools_of
from .lines import InputLines
from .reading import Answers
from .replies import failure

CLOSE_SECONDS = 10.0
"""How long the end of the process waits for its jobs to be canceled; the journal has what then still runs."""
Answer = CallToolResult | InputRequiredResult
Handler = Callable[[Context, CallToolRequestParams, Mapping[str, Any]], Awaitable[Answer]]

log = logging.getLogger(__name__)


class Tools:
    """The tools of one server.

    Args:
        options: what the server may do.
        client: sends the jobs.

    """

    def __init__(self, options: ServerOptions, client: AsyncClient) -> None:
        self._options = options
        self.calls = Calls(options, client)
        self._answers = Answers(options, client, self.calls)
        self._listed = tools_of(options)
        self._classes = tool_classes(options)
        self._own = own_tools(options)

    async def list(self, context: Context, page: PaginatedRequestParams | None) -> ListToolsResult:
        """List every tool."""
        return ListToolsResult(tools=self._listed)

    async def call(self, context: Context, call: CallToolRequestParams) -> Answer:
        """Run one tool; whatever goes wrong is its result."""
        try:
            return await self._call(context, call, call.arguments or {})
        except RylaGenError as error:
            return failure(error)
        except Exception:
            log.exception("The tool %s failed", call.name[:80])
            return failure(
                InternalError("The server failed; its log has the details.", "Tell the person, with the log of the server.")
            )

    async def _call(self, context: Context, call: CallToolRequestParams, given: Mapping[str, Any]) -> Answer:
        if call.name in self._classes:
            return await self.calls.generate(context, call, self._classes[call.name], given)
        if call.name not in self._own:
            raise InvalidInputError(f"There is no tool {call.name[:80]!r}.", "See the list of tools.")
        match self._own[call.name][0].read(given):
            case OneWorkflow() as asked if call.name == "run":
                return await self.calls.generate(context, call, self._options.offered(asked.workflow), asked.fields)
            case OneWorkflow() as asked:
                return await self._answers.estimate(asked)
            case OneJob() as asked:
                return await self._about_job(context, call.name, asked)
            case Lookup() as asked:
                return await self._answers.workflows(asked)
            case JobsList() as asked:
                return await self._answers.jobs(asked)
            case Since() as asked:
                return await self._answers.costs(asked)
            case Pictures() as asked:
                return await self._answers.gallery(asked)
        raise InternalError(f"The tool {call.name} has no answer.")

    async def _about_job(self, context: Context, name: str, asked: OneJob) -> CallToolResult:
        if name == "result":
            return await self._answers.result(context, asked)
        return await (self._answers.cancel(asked) if name == "cancel" else self._answers.job(asked))


async def run(options: ServerOptions) -> int:
    """Serve until standard input ends or a signal comes; then cancel what still runs.

    Returns:
        The exit code.

    Raises:
        InvalidInputError: a workflow that the options name is not there.

    """
    async with AsyncClient(settings=options.settings) as client:
        client.on_one_loop()
        tools = Tools(options, client)
        server: Server[Any] = Server(
            "ryla-gen",
            version=__version__,
            instructions=INSTRUCTIONS.format(folder=options.output),
            on_list_tools=tools.list,
            on_call_tool=tools.call,
        )
        try:
            return await _serve(server)
        finally:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await tools.calls.close()


async def _serve(server: Server[Any]) -> int:
    """Serve one connection; a signal ends it as the end of the input does."""
    numbers: list[int] = []
    with anyio.CancelScope() as scope:

        def end(number: int) -> None:
            numbers.append(number)
            scope.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError, RuntimeError):  # Windows, or a thread: there the command's own handler is left
                loop.add_signal_handler(number, end, number)
        lines = cast("anyio.AsyncFile[str]", InputLines())
        async with stdio_server(stdin=lines) as (read, write):
            await server.run(read, write, server.create_initialization_options())
    return 128 + numbers[0] if numbers else 0
