"""Calls, the caller's side: inputs in, outputs out, cancel. Where an input runs is the containers' business."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2 as pb

from tests.modal_loopback.containers import Containers
from tests.modal_loopback.rpc import Caller
from tests.modal_loopback.state import Call, Input, World, found

EXPIRED_WAIT = 0.2
"""Seconds before a question for an expired result is answered: a client without a timeout asks again at once, for ever."""
MAX_OUTSTANDING = 1000
"""Inputs a map may have in flight (the client's own default)."""

Result = pb.GenericResult


class Calls:
    """Everything ``.remote``, ``.spawn``, ``.map`` and ``FunctionCall`` ask for."""

    def __init__(self, world: World, containers: Containers) -> None:
        self._world = world
        self._containers = containers

    async def FunctionMap(self, request: pb.FunctionMapRequest, caller: Caller) -> pb.FunctionMapResponse:
        function = found(self._world.functions, request.function_id, "Function")
        call = Call(self._world.new_id("fc"), function, request.function_call_invocation_type)
        self._world.calls[call.id] = call
        return pb.FunctionMapResponse(
            function_call_id=call.id,
            function_call_jwt=call.id,
            pipelined_inputs=[self._add(call, item) for item in request.pipelined_inputs],
            max_inputs_outstanding=MAX_OUTSTANDING,
        )

    async def FunctionPutInputs(self, request: pb.FunctionPutInputsRequest, caller: Caller) -> pb.FunctionPutInputsResponse:
        call = found(self._world.calls, request.function_call_id, "FunctionCall")
        return pb.FunctionPutInputsResponse(inputs=[self._add(call, item) for item in request.inputs])

    def _add(self, call: Call, item: pb.FunctionPutInputsItem) -> pb.FunctionPutInputsResponseItem:
        known = call.inputs.get(item.idx)
        if known is None:  # a client that lost our answer puts the same index again
            known = Input(self._world.new_id("in"), call, item.idx, item.input)
            self._world.inputs[known.id] = call.inputs[item.idx] = known
            self._containers.enqueue(known)
        return pb.FunctionPutInputsResponseItem(idx=item.idx, input_id=known.id, input_jwt=known.id)

    async def FunctionFinishInputs(self, request: pb.FunctionFinishInputsRequest, caller: Caller) -> Empty:
        return Empty()

    async def FunctionGetOutputs(self, request: pb.FunctionGetOutputsRequest, caller: Caller) -> pb.FunctionGetOutputsResponse:
        call = found(self._world.calls, request.function_call_id, "FunctionCall")
        if self._world.knobs.expire_results:
            await call.changed.until(lambda: False, min(request.timeout, EXPIRED_WAIT))
            return pb.FunctionGetOutputsResponse(last_entry_id=request.last_entry_id)
        after = int((request.last_entry_id or "0-0").split("-")[0])
        first = request.start_idx if request.HasField("start_idx") else 0
        last = request.end_idx if request.HasField("end_idx") else 1 << 31

        # clear_on_success is not obeyed: a client whose answer was lost on the way asks again
        def outputs() -> list[pb.FunctionGetOutputsItem]:
            return [item for item in call.outputs[after:] if first <= item.idx <= last]

        outputs_now = await call.changed.until(outputs, request.timeout)
        return pb.FunctionGetOutputsResponse(
            outputs=outputs_now,
            last_entry_id=f"{len(call.outputs) if outputs_now else after}-0",
            num_unfinished_inputs=sum(not item.done for item in call.inputs.values()),
        )

    async def FunctionCallFromId(self, request: pb.FunctionCallFromIdRequest, caller: Caller) -> pb.FunctionCallFromIdResponse:
        call = found(self._world.calls, request.function_call_id, "FunctionCall")
        metadata = pb.FunctionCallHandleMetadata(app_id=call.function.app.id, function_id=call.function.id)
        return pb.FunctionCallFromIdResponse(function_call_id=call.id, num_inputs=len(call.inputs), metadata=metadata)

    async def FunctionCallGetInfo(self, request: pb.FunctionCallGetInfoRequest, caller: Caller) -> pb.FunctionCallGetInfoResponse:
        call = found(self._world.calls, request.function_call_id, "FunctionCall")
        kinds = {
            Result.GENERIC_STATUS_SUCCESS: "succeeded_inputs",
            Result.GENERIC_STATUS_TERMINATED: "cancelled_inputs",
            Result.GENERIC_STATUS_TIMEOUT: "timeout_inputs",
        }
        info = pb.FunctionCallInfo(function_call_id=call.id, created_at=call.created_at, total_inputs=len(call.inputs))
        info.pending_inputs.total = sum(not item.done for item in call.inputs.values())
        for output in call.outputs:
            getattr(info, kinds.get(output.result.status, "failed_inputs")).total += 1
        return pb.FunctionCallGetInfoResponse(info=info)

    async def FunctionCallCancel(self, request: pb.FunctionCallCancelRequest, caller: Caller) -> Empty:
        call = found(self._world.calls, request.function_call_id, "FunctionCall")
        for item in call.inputs.values():
            if not item.done:
                result = Result(status=Result.GENERIC_STATUS_TERMINATED, exception="Input was cancelled by user")
                await self._containers.withdraw(item, result, kill=request.terminate_containers)
        return Empty()

    async def FunctionGetCallGraph(
        self, request: pb.FunctionGetCallGraphRequest, caller: Caller
    ) -> pb.FunctionGetCallGraphResponse:
        call = found(self._world.calls, request.function_call_id, "FunctionCall")
        status = {item.input_id: item.result.status for item in call.outputs}
        inputs = [
            pb.InputCallGraphInfo(
                input_id=item.id,
                status=status.get(item.id, Result.GENERIC_STATUS_UNSPECIFIED),
                function_call_id=call.id,
                task_id=item.handed_to[-1] if item.handed_to else "",
            )
            for item in call.inputs.values()
        ]
        own = pb.FunctionCallCallGraphInfo(function_call_id=call.id, function_name=call.function.tag)
        return pb.FunctionGetCallGraphResponse(inputs=inputs, function_calls=[own])
