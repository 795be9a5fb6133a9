"""Every call's way through the server: counted, delayed, refused, answered, broken off. Knows the knobs and no noun."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import grpclib.server
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.const import Handler as Route
from grpclib.exceptions import StreamTerminatedError
from grpclib.protocol import H2Protocol
from h2.exceptions import StreamClosedError
from modal_proto.api_grpc import ModalClientBase

from tests.modal_loopback.state import Container, World

CONTAINER_HEADER = "x-loopback-container"
"""Containers carry no token; the runtime adds this header for us (``MODAL_OVERRIDE_HEADERS``)."""

HANDING_OUT = "FunctionGetInputs"
"""Its lost answer is given to the container that asks again: Modal hands an input out once more when nobody took it."""

ANONYMOUS = ("TokenFlowCreate", "TokenFlowWait")
"""Calls of a client that has no token yet."""

Handler = Callable[[Any, "Caller"], Awaitable[Message] | AsyncIterator[Message]]


@dataclass(frozen=True)
class Caller:
    """Who is calling: a container, or a client outside."""

    container: Container | None
    client_version: str = ""
    """Version of Modal's package, as it says itself."""

    @property
    def inside(self) -> Container:
        """The calling container; some calls make sense only from inside one."""
        if self.container is None:
            raise GRPCError(Status.FAILED_PRECONDITION, "only a container can call this")
        return self.container


class Listener(grpclib.server.Server):
    """A gRPC server that can break its connections off."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._protocols: set[H2Protocol] = set()

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._protocols.add(protocol)
        return protocol

    @property
    def port(self) -> int:
        """The port it listens on."""
        server = self._server
        assert isinstance(server, asyncio.base_events.Server)
        return int(server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and break every connection."""
        self.close()
        for protocol in self._protocols:
            if transport := getattr(getattr(protocol, "connection", None), "_transport", None):
                transport.abort()
        await self.wait_closed()


class Router:
    """Modal's whole service: the handlers of the given nouns, and for the rest a record that it was asked for."""

    def __init__(self, world: World, token: tuple[str, str], nouns: list[object]) -> None:
        self._world = world
        self._token = token
        self._answers: dict[tuple[str, str], Message] = {}
        self._handlers: dict[str, Handler] = {
            name: getattr(noun, name) for noun in nouns for name in dir(noun) if name in ModalClientBase.__abstractmethods__
        }

    def __mapping__(self) -> dict[str, Route]:
        """What grpclib asks a service for: path → handler."""
        methods = {name: self._method(name) for name in ModalClientBase.__abstractmethods__}
        service = type("LoopbackService", (ModalClientBase,), methods)()
        return cast("dict[str, Route]", service.__mapping__())

    def _method(self, rpc: str) -> Callable[..., Awaitable[None]]:
        async def method(_self: object, stream: grpclib.server.Stream[Message, Message]) -> None:
            await self._serve(rpc, stream)

        return method

    async def _serve(self, rpc: str, stream: grpclib.server.Stream[Message, Message]) -> None:
        world, knobs = self._world, self._world.knobs
        request = await stream.recv_message()
        world.counts[rpc] += 1
        if rpc not in self._handlers:
            world.unknown.append(rpc)
            raise GRPCError(Status.UNIMPLEMENTED, f"{rpc} is not part of the loopback")
        await asyncio.sleep(knobs.delay_for(rpc))
        if knobs.loses(knobs.lose_request_of, rpc):
            await break_off(stream)
        caller = Caller(None) if rpc in ANONYMOUS else self._authenticate(stream)
        if status := knobs.status_for(rpc):
            raise GRPCError(status, f"{rpc} is refused by a knob")
        try:
            await self._answer(rpc, request, caller, stream)
        except (GRPCError, StreamTerminatedError, StreamClosedError, asyncio.CancelledError, ConnectionError):
            raise  # a caller that hung up is no fault of ours
        except Exception as fault:
            world.bugs.append(f"{rpc}: {traceback.format_exc()}")
            raise GRPCError(Status.FAILED_PRECONDITION, f"fault of the loopback in {rpc}: {fault!r}") from fault

    async def _answer(
        self, rpc: str, request: Message | None, caller: Caller, stream: grpclib.server.Stream[Message, Message]
    ) -> None:
        knobs, handler = self._world.knobs, self._handlers[rpc]
        if inspect.isasyncgenfunction(handler):
            async for message in handler(request, caller):
                await stream.send_message(message)
            return
        key = (rpc, headers_of(stream).get("x-idempotency-key", ""))
        answer = self._answers.get(key) if knobs.remember_requests else self._answers.pop(key, None)
        if answer is None:
            answer = await cast("Awaitable[Message]", handler(request, caller))
            await asyncio.sleep(knobs.answer_delay_for(rpc))
        lost = knobs.loses(knobs.lose_answer_of, rpc)
        if key[1] and (knobs.remember_requests or (lost and rpc == HANDING_OUT)):
            self._answers[key] = answer
        if lost:
            await break_off(stream)
        await stream.send_message(answer)

    def _authenticate(self, stream: grpclib.server.Stream[Message, Message]) -> Caller:
        headers = headers_of(stream)
        if container := headers.get(CONTAINER_HEADER):
            if container not in self._world.containers:
                raise GRPCError(Status.UNAUTHENTICATED, "no such container")
            return Caller(self._world.containers[container])
        given = (headers.get("x-modal-token-id"), headers.get("x-modal-token-secret"))
        if self._world.knobs.refuse_token or given != self._token:
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID or secret is not valid")
        return Caller(None, headers.get("x-modal-client-version", ""))


def headers_of(stream: grpclib.server.Stream[Message, Message]) -> dict[str, str]:
    """The metadata of a call."""
    return {str(name): str(value) for name, value in (stream.metadata or {}).items()}


async def break_off(stream: grpclib.server.Stream[Message, Message]) -> None:
    """Break the connection that a call came over, as a network does: without a word."""
    stream._stream._transport.abort()
    await asyncio.get_running_loop().create_future()  # the lost connection cancels its calls, this one too
