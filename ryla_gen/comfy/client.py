"""Implement ComfyUI's protocol for one server: submit, follow, cancel, files. Must not know a workflow or retry a submit."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import ssl as tls
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from ..errors import (
    BackendUnreachableError,
    ContractMismatchError,
    InvalidInputError,
    LoraNotFoundError,
    ModelNotFoundError,
    PlainData,
    ResultExpiredError,
    RylaGenError,
    ServerUnhealthyError,
    WorkflowInvalidError,
    before_start,
)
from . import errors
from .cancellation import Cancellation
from .follower import PromptStream
from .log_stream import pieces_in, stream_pieces
from .messages import Whereabouts, clean
from .queue import Queue, entries_of, graphs_of, read_queue
from .schema import readable_schemas
from .socket import Callbacks, MessageSocket
from .transport import ANSWER_SECONDS, FILE_LIMIT, FILE_SECONDS, HISTORY_LIMIT, NODES_LIMIT, QUEUE_LIMIT, Transport

log = logging.getLogger("ryla_gen.comfy")

BODY_LIMIT = 104_857_600
"""ComfyUI's default --max-upload-size; the server's own value replaces it when it says one."""
WITHDRAW_SECONDS = 3.0
"""How long a canceled submit waits for its answer, and then for the prompt to be taken back."""
_PROMPT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class Submitted:
    """A prompt that the server accepted."""

    prompt_id: str
    number: float | None = None
    """Its place in the order of all prompts; None when the connection was lost before the server could say it."""


class ComfyClient:
    """One ComfyUI server, over HTTP and one websocket. Use it in one event loop, as ``async with ComfyClient(url) as client``.

    Args:
        url: Address of the server: ``http``, ``https``, ``ws`` or ``wss``, with or without a path; ``user:password@`` becomes basic
            authorization and appears in no message.
        headers: Sent with every request, such as ``{"Authorization": "Bearer …"}``.
        ssl: Certificate checks of https, as aiohttp takes them.
        connect_timeout: Seconds to reach the server.
        answer_timeout: Seconds of silence within one HTTP answer. Following a prompt has no such limit: loading a model is silent.
        gone_after: Seconds of refused reconnects after which the server counts as dead.
        settle_after: Seconds to look for a prompt whose submit was not answered.
        silence: Seconds without a message after a reconnect, until the server is asked about its prompts: the socket may be deaf.
            Without a reconnect it is asked after twice that time.
        answer_within: Seconds until the last byte of an answer.
        file_within: Seconds until the last byte of a result file.

    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | bool = True,
        connect_timeout: float = 10.0,
        answer_timeout: float = 60.0,
        gone_after: float = 10.0,
        settle_after: float = 5.0,
        silence: float = 5.0,
        answer_within: float = ANSWER_SECONDS,
        file_within: float = FILE_SECONDS,
    ) -> None:
        self.client_id = uuid.uuid4().hex
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout, sock_read=answer_timeout)
        self._transport = Transport(url, headers or {}, ssl, timeout, within=answer_within)
        self._cancellation = Cancellation(self._transport)
        self._file_within = file_within
        self.address = self._transport.address
        """The server's address without credentials, fit for messages."""
        self._settle_after = settle_after
        self._nodes: PlainData | None = None
        self._nodes_lock = asyncio.Lock()
        callbacks = Callbacks(lambda: self._transport.websocket(self.client_id), self.locate, self.interrupt)
        self._socket = MessageSocket(callbacks, gone_after=gone_after, silence=silence)

    @property
    def dropped_frames(self) -> Mapping[str, int]:
        """How many messages of each kind had another shape than theirs, and were dropped."""
        return self._socket.dropped_frames

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the sockets and end every stream; prompts on the server go on."""
        try:
            await self._socket.close()
        finally:
            await self._transport.close()

    def follow(self, prompt_id: str, *, resume: bool = False) -> PromptStream:
        """Follow a prompt. Call it *before* ``submit``, so that nothing is missed.

        ::

            async with client.follow(prompt_id) as stream:
                await client.submit(graph, prompt_id=prompt_id)
                async for message in stream: ...

        Args:
            prompt_id: The id that ``submit`` will be given.
            resume: The prompt was submitted earlier, perhaps by another process: its end is learnt from the server's queue and
                history, looked at every few seconds; outputs are complete, progress is not.

        """
        return self._socket.follow(_check_prompt_id(prompt_id), resume=resume)

    async def submit(
        self, graph: Mapping[str, Any], *, prompt_id: str, extra_pnginfo: Mapping[str, Any] | None = None
    ) -> Submitted:
        """Send a graph to the server, once. When the answer is lost, the queue and the history say whether it was taken.

        Args:
            graph: API format.
            prompt_id: Chosen by the caller; never used twice.
            extra_pnginfo: Further text chunks of the PNGs it saves, by name.

        Raises:
            ModelNotFoundError, LoraNotFoundError, WorkflowInvalidError, InvalidInputError: The server refused it; nothing runs.
            BackendUnreachableError: Nothing was started (``details["sent"]`` is false).
            ServerUnhealthyError: It was sent, and the server is gone or does not have it.

        """
        body = self._body(graph, _check_prompt_id(prompt_id), extra_pnginfo)
        if self._socket.find(prompt_id) is not None:
            with before_start():
                await self._socket.open()
        sending = asyncio.ensure_future(self._submit(body, prompt_id))
        try:
            # Shielded: a request that is cut off halfway would leave open whether the server has the prompt.
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            # The caller is gone, so nothing would follow this prompt: if the server takes it after all, take it back first.
            answered, _ = await asyncio.wait([sending], timeout=WITHDRAW_SECONDS)
            sending.cancel()
            if not answered or sending.exception() is None:
                withdrawing = self._socket.spawn(self._withdraw(prompt_id, at_once=bool(answered)))
                await asyncio.wait([withdrawing], timeout=WITHDRAW_SECONDS)
            raise

    def _body(self, graph: Mapping[str, Any], prompt_id: str, extra: Mapping[str, Any] | None) -> bytes:
        request: PlainData = {"prompt": graph, "client_id": self.client_id, "prompt_id": prompt_id}
        if extra:
            request["extra_data"] = {"extra_pnginfo": extra}
        try:
            body = json.dumps(request, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise WorkflowInvalidError(f"The graph is not valid JSON: {clean(error, 200)}") from None
        limit = self._socket.features.get("max_upload_size")
        limit = limit if isinstance(limit, int) and limit > 0 else BODY_LIMIT
        if len(body) > limit:
            raise errors.too_large(f"{len(body):,} bytes, over its limit of {limit:,}.")
        return body

    async def _submit(self, body: bytes, prompt_id: str) -> Submitted:
        try:
            answer = await self._transport.call(
                "POST", "/prompt", sending=len(body), data=io.BytesIO(body), headers={"Content-Type": "application/json"}
            )
        except (BackendUnreachableError, ServerUnhealthyError) as error:
            # Only a request that never left is certain not to run, so another backend may be tried.
            if error.details.get("sent") is False:
                error.started = "no"
                raise
            return await self._taken_anyway(prompt_id, error)
        # A proxy answered in the server's place: ComfyUI may have taken the prompt all the same.
        if answer.from_gateway:
            return await self._taken_anyway(prompt_id, errors.http_error(answer, self.address))
        if answer.status != 200:
            with before_start() if 400 <= answer.status < 500 else nullcontext():  # a clear refusal: not taken
                raise await self._with_names(errors.submit_error(answer, self.address))
        reply = answer.json()
        if not isinstance(reply, dict) or not isinstance(reply.get("prompt_id"), str):
            raise errors.not_comfyui(self.address, "its answer to a prompt has no prompt id", {"sent": True})
        return await self._accepted_prompt(reply, prompt_id)

    async def _accepted_prompt(self, reply: PlainData, prompt_id: str) -> Submitted:
        if reply["prompt_id"] != prompt_id:
            # A server that chose its own id runs a prompt that no one can follow.
            await self._withdraw(reply["prompt_id"], at_once=True)
            hint = "Update ComfyUI on the server: this package needs 0.3.71 or later."
            raise ContractMismatchError("The server is too old: it does not accept a prompt id from its client.", hint)
        self._socket.submitted(prompt_id)
        if reply.get("node_errors"):
            # The server dropped the outputs that do not fit and runs the rest, as if that were what was asked for.
            await self._withdraw(prompt_id, at_once=True)
            raise await self._with_names(errors.refusal(reply))
        number = reply.get("number")
        return Submitted(prompt_id, number if isinstance(number, int | float) else None)

    async def _taken_anyway(self, prompt_id: str, error: RylaGenError) -> Submitted:
        """Find out whether the server has a prompt whose answer was lost. It may still be validating it."""
        if await self._appears(prompt_id):
            log.debug("the answer to prompt %s was lost (%s), but the server has it", prompt_id, error.message)
            self._socket.submitted(prompt_id)
            return Submitted(prompt_id)
        # It may still appear: a large graph is validated for seconds before it is queued.
        self._socket.spawn(self._withdraw(prompt_id, at_once=True))
        message = f"The graph was sent, but the server does not have it. {error.message}"
        raise ServerUnhealthyError(message, "It can be sent again under a new id.", {**error.details, "sent": True})

    async def _appears(self, prompt_id: str) -> bool:
        deadline, pause = time.monotonic() + self._settle_after, 0.05
        while True:
            stream = self._socket.find(prompt_id)
            if stream is not None and (stream.started or stream.ended):
                return stream.started
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0.05)):
                    found = await self.locate([prompt_id])
                if found[prompt_id].place != "absent":
                    return True
            except (RylaGenError, TimeoutError) as error:
                log.debug("looking for prompt %s: %s", prompt_id, clean(error, 200))
            if time.monotonic() + pause > deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _withdraw(self, prompt_id: str, *, at_once: bool = False) -> None:
        """Try to take a prompt back; the error that the caller gets does not depend on it."""
        try:
            if at_once or await self._appears(prompt_id):
                await self.cancel(prompt_id)
        except RylaGenError as error:
            log.debug("could not withdraw prompt %s: %s", prompt_id, error.message)

    async def _with_names(self, error: RylaGenError) -> RylaGenError:
        """Fetch lists of more than 20 files, which ComfyUI leaves out of a refusal, to suggest the closest name."""
        if not isinstance(error, ModelNotFoundError) or error.details["available"] or not error.details["folder"]:
            return error
        try:
            names = await self.models(error.details["folder"])
        except RylaGenError:
            return error
        return errors.missing_file(
            error.details, error.details["file"], error.details["folder"], names, lora=isinstance(error, LoraNotFoundError)
        )

    async def interrupt(self, prompt_id: str) -> None:
        """Stop this prompt if it runs; its neighbours go on."""
        await self._cancellation.interrupt(_check_prompt_id(prompt_id))

    async def delete(self, prompt_id: str) -> None:
        """Take this prompt out of the queue if it waits there."""
        await self._cancellation.delete(_check_prompt_id(prompt_id))

    async def cancel(self, prompt_id: str) -> None:
        """Stop this prompt, waiting or running; its stream ends with ExecutionInterrupted. Nothing happens to a finished one."""
        stream = self._socket.find(prompt_id)
        if stream is not None:
            stream.cancelled = True
        await self._cancellation.cancel(_check_prompt_id(prompt_id))
        if stream is not None and not stream.started:
            # ComfyUI sends no message when a waiting prompt is deleted, so the stream's end has to be asked for.
            await self._socket.look()

    async def forget(self, prompt_id: str) -> None:
        """Remove an ended prompt from the history; no call of a server removes the files that it saved."""
        await self._cancellation.forget(_check_prompt_id(prompt_id))

    async def queue(self) -> Queue:
        """List the running and the waiting prompts."""
        return read_queue(await self._transport.json("GET", "/queue", limit=QUEUE_LIMIT))

    async def queued_graphs(self) -> list[PlainData]:
        """List the graphs that run or wait, in API format."""
        return graphs_of(await self._transport.json("GET", "/queue", limit=QUEUE_LIMIT))

    async def prompt(self, prompt_id: str) -> list[Any] | None:
        """Return number, id, graph and further data of a waiting, running or ended prompt; None if the server does not have it."""
        queued = entries_of(await self._transport.json("GET", "/queue", limit=QUEUE_LIMIT))
        ended = (await self.history(prompt_id) or {}).get("prompt")
        found = (item for item in [*queued, ended] if isinstance(item, list) and len(item) > 3 and item[1] == prompt_id)
        return next(found, None)

    async def history(self, prompt_id: str) -> PlainData | None:
        """Return the history entry of a finished prompt: outputs, status, messages; None when there is none."""
        entry = (await self._transport.json("GET", f"/history/{_check_prompt_id(prompt_id)}", limit=HISTORY_LIMIT)).get(prompt_id)
        return entry if isinstance(entry, dict) else None

    async def locate(self, prompt_ids: Sequence[str]) -> dict[str, Whereabouts]:
        """Find these prompts on the server. Ask the queue first, then the history: prompts move that way and no other."""
        queue = await self.queue()
        found: dict[str, Whereabouts] = {}
        for prompt_id in prompt_ids:
            if prompt_id in queue.running:
                found[prompt_id] = Whereabouts("running")
            elif prompt_id in queue.pending:
                ahead = (*queue.running, *queue.pending[: queue.pending.index(prompt_id)])
                found[prompt_id] = Whereabouts("pending", ahead=ahead)
            else:
                entry = await self.history(prompt_id)
                found[prompt_id] = Whereabouts("absent") if entry is None else Whereabouts("finished", entry=entry)
        return found

    async def upload(self, data: bytes, name: str, *, subfolder: str = "", overwrite: bool = False) -> str:
        """Store an input file; returns the name for LoadImage, which need not be the one asked for."""
        form = aiohttp.FormData()
        # A stream: aiohttp writes large bytes in one piece, which holds up the event loop.
        form.add_field("image", io.BytesIO(data), filename=name, content_type="application/octet-stream")
        form.add_field("type", "input")
        form.add_field("subfolder", subfolder)
        form.add_field("overwrite", "true" if overwrite else "false")
        answer = await self._transport.call("POST", "/upload/image", sending=len(data), data=form)
        if answer.status == 400:
            raise InvalidInputError(f"The server refused the file name {name!r} in {subfolder!r}.", "Use a plain file name.")
        body = self._transport.object(answer)
        stored, folder = body.get("name"), body.get("subfolder") or ""
        if not isinstance(stored, str) or not stored or not isinstance(folder, str):
            raise errors.not_comfyui(self.address, "its answer to an upload has no name")
        return f"{folder}/{stored}" if folder else stored

    async def view(self, filename: str, subfolder: str = "", type: str = "output") -> bytes:  # noqa: A002 - the server's word
        """Read a result file, as ``executed`` named it."""
        params = {"filename": filename, "subfolder": subfolder, "type": type}
        answer = await self._transport.call("GET", "/view", params=params, limit=FILE_LIMIT, within=self._file_within)
        if answer.status == 404:
            hint = "ComfyUI caches the results of identical graphs. If the file is gone, change the seed or restart the server."
            raise ResultExpiredError(f"The server no longer has the result {clean(filename, 200)!r}.", hint, {"file": filename})
        if answer.status != 200:
            raise errors.http_error(answer, self.address)
        return answer.body

    async def object_info(self, *, refresh: bool = False) -> PlainData:
        """Return every node class with its inputs; asked for once per client unless ``refresh``."""
        async with self._nodes_lock:
            if self._nodes is None or refresh:
                told = await self._transport.json("GET", "/object_info", limit=NODES_LIMIT)
                self._nodes = readable_schemas(told)
            return self._nodes

    async def system_stats(self) -> PlainData:
        """Return versions and devices. An answer does not prove that prompts still run: the thread that runs them may be dead."""
        return await self._transport.json("GET", "/system_stats")

    async def log(self) -> list[tuple[str, str]]:
        """Return the newest pieces of the server's log (ComfyUI keeps 300), each with its time; empty where it is not shown."""
        answer = await self._transport.call("GET", "/internal/logs/raw")
        return pieces_in(answer.json() if answer.status == 200 else None)

    def log_stream(self) -> AsyncGenerator[tuple[str, str], None]:
        """Yield the newest pieces of the server's log, then what it writes; none where it does not offer that."""
        return stream_pieces(self._transport, self.log)

    async def models(self, folder: str) -> list[str]:
        """List the files in one of the server's model folders, such as ``loras``; empty when the server knows no such folder."""
        answer = await self._transport.call("GET", f"/models/{quote(folder, safe='')}")
        if answer.status == 404:
            return []
        if answer.status != 200:
            raise errors.http_error(answer, self.address)
        names = answer.json()
        return [clean(name, 300) for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _check_prompt_id(prompt_id: str) -> str:
    if not _PROMPT_ID.fullmatch(prompt_id):
        raise InvalidInputError("A prompt id is 1 to 128 letters, digits, - and _.", "Use str(uuid.uuid4()).")
    return prompt_id
