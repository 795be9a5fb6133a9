"""Run prompts, one after the other, on one thread, and send ComfyUI's messages in their order.

Knows nodes only through the registry in ``base`` and clients only through the hub; speaks no HTTP.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...comfy.schema import is_link
from ..base import NODES, Context, Folders, NodeInterrupted, NodeResult
from .coverage import Coverage, coverage, words_notice
from .knobs import Knobs, OutOfMemoryError, Stats
from .plan import ExecutionPlan, needed_inputs, nest_inputs, signatures
from .queue import PromptQueue, QueuedPrompt
from .sockets import Hub
from .stand_ins import Types

if TYPE_CHECKING:
    from PIL.Image import Image

_log = logging.getLogger(__name__)

MOST_PROGRESS_NODES = 256
"""Up to this many nodes ``progress_state`` lists them all, as ComfyUI does; beyond, only the current one, or a graph of
ten thousand nodes would send gigabytes."""

SHOWN_VALUE = 2000
"""Characters of a value that an error shows."""


class Died(BaseException):
    """The server, or the thread that runs prompts, was asked to vanish (``Knobs.die_on_prompt``, ``Knobs.thread_dies``)."""


@dataclass(frozen=True, slots=True)
class _Cached:
    outputs: tuple[Any, ...]
    ui: Mapping[str, Any]
    unpainted: tuple[str, ...] = ()
    """Words of its prompts that its pictures do not show."""


Cache = dict[str, _Cached]
"""Results by node signature. Holds the nodes of the last prompt and no others, ComfyUI's default."""


class PromptRun:
    """One prompt while it runs."""

    def __init__(self, executor: Executor, job: QueuedPrompt, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        self.executor = executor
        self.job = job
        self.hub = executor.hub
        self.knobs = executor.knobs
        self.schemas = schemas
        self.types = Types(job.graph, schemas)
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.progress: dict[str, dict[str, Any]] = {}
        self.executed: list[str] = []
        self.outputs: dict[str, Any] = {}
        self.results: dict[str, _Cached] = {}
        self.unpainted: tuple[str, ...] = ()
        """Words that the current node left out of its pictures."""
        self.current = ""
        self.size = job.size
        self.current_inputs: Mapping[str, Any] = {}

    # Saying what happens -----------------------------------------------------------------------------------------

    def say(self, event: str, **data: Any) -> None:
        """Send an event about this prompt to the client that follows it; it goes to no one when none does."""
        if self.job.client_id is not None:
            self.hub.send(event, {**data, "prompt_id": self.job.prompt_id}, self.job.client_id)

    def note(self, event: str, **data: Any) -> dict[str, Any]:
        """Add an event with its time to the history's list; returns its data."""
        stamped = {"prompt_id": self.job.prompt_id, **data, "timestamp": int(time.time() * 1000)}
        self.messages.append((event, stamped))
        return stamped

    def _progress(self, node_id: str, value: float, maximum: float, state: str) -> None:
        about = {"value": value, "max": maximum, "state": state, **self._about(node_id)}
        if len(self.job.graph) > MOST_PROGRESS_NODES:
            self.progress.clear()
        self.progress[node_id] = about
        if self.hub.listening(self.job.client_id):
            self.hub.send("progress_state", {"prompt_id": self.job.prompt_id, "nodes": self.progress}, self.job.client_id)

    def _about(self, node_id: str) -> dict[str, Any]:
        ids = {"node_id": node_id, "prompt_id": self.job.prompt_id}
        return {**ids, "display_node_id": node_id, "parent_node_id": None, "real_node_id": node_id}

    def report(self, value: int, maximum: int, preview: Callable[[], Image] | None) -> None:
        """Send how far the current node is, with a preview when a client would see it; raises when interrupted."""
        self.stop_if_interrupted()
        client = self.job.client_id
        self._progress(self.current, value, maximum, "running")
        image = preview() if preview is not None and self.hub.wants_preview(client) else None
        about = self._about(self.current)
        if image is not None:
            self.executor.stats.previews += 1
            self.hub.send_picture(image, "JPEG", about, client, metadata=True)
        data = {"value": value, "max": maximum, "prompt_id": self.job.prompt_id, "node": self.current}
        self.hub.send("progress", data, client)
        if image is not None:  # clients without metadata get the picture after the number, as ComfyUI sends it
            self.hub.send_picture(image, "JPEG", about, client, metadata=False)

    def note_unpainted(self, words: Collection[str]) -> None:
        """Keep the words that the current node left out of its pictures."""
        self.unpainted += tuple(words)

    def send_image(self, image: Image) -> None:
        """Send a whole picture over the websocket."""
        for metadata in (True, False):
            self.hub.send_picture(image, "PNG", self._about(self.current), self.job.client_id, metadata)

    def stop_if_interrupted(self) -> None:
        """Raise when this prompt was interrupted."""
        if self.job.interrupted.is_set():
            raise NodeInterrupted

    def wait(self, seconds: float) -> None:
        """Wait for a number of seconds, unless interrupted."""
        if seconds > 0:
            self.job.interrupted.wait(seconds)
        self.stop_if_interrupted()

    # Running -----------------------------------------------------------------------------------------------------

    def execute(self, cache: Cache) -> None:
        """Run the prompt with the results of the last one, and leave its own in ``cache``, as far as it got."""
        self.say("execution_start", timestamp=self.note("execution_start")["timestamp"])
        load_nodes()
        graph = self.job.graph
        inputs = needed_inputs(graph, self.schemas, self.job.outputs)
        names = signatures(graph, inputs, lambda node_id: self._fingerprint(node_id, inputs[node_id]))
        self.results = {node_id: cache[name] for node_id, name in names.items() if name in cache}
        cache.clear()  # before the work begins, so that the last prompt's pictures do not stay beside the new ones
        cached = [node_id for node_id in graph if node_id in self.results]
        self.say("execution_cached", nodes=cached, timestamp=self.note("execution_cached", nodes=cached)["timestamp"])
        plan = ExecutionPlan(inputs, frozenset(self.job.outputs), lambda node_id: self._unneeded_inputs(node_id, inputs[node_id]))
        plan.find(self.job.outputs, set(self.results))
        try:
            self.wait(self.knobs.silent_seconds)
            for node_id in plan:
                self._one(node_id, inputs[node_id])
        finally:
            cache.update((names[node_id], result) for node_id, result in self.results.items())

    def _one(self, node_id: str, inputs: Mapping[str, Any]) -> None:
        self.current, self.current_inputs, self.unpainted = node_id, {}, ()
        if node_id in self.results:
            self._report_ui(node_id, self.results[node_id].ui)
            self._progress(node_id, 1, 1, "finished")
            return
        self._progress(node_id, 0.0, 1.0, "running")
        self.hub_executing(node_id)
        self.wait(self.knobs.delay_per_node)
        while self.knobs.hold_nodes:
            self.wait(0.01)
        if self.knobs.out_of_memory_at == self.job.graph[node_id]["class_type"]:
            raise OutOfMemoryError("Allocation on device 0 would exceed allowed memory. (out of memory)")
        if self.knobs.raise_at == self.job.graph[node_id]["class_type"]:
            raise ValueError("this node was told to fail")
        result = self._call(node_id, inputs)
        self.results[node_id] = _Cached(tuple(result.outputs), result.ui, self.unpainted)
        self.executed.append(node_id)
        self.executor.stats.executed += 1
        self._report_ui(node_id, result.ui)
        maximum = self.progress[node_id]["max"] if node_id in self.progress else 1.0
        self._progress(node_id, maximum, maximum, "finished")

    def hub_executing(self, node_id: str) -> None:
        """Send which node runs now, and keep it for a client that reconnects."""
        self.executor.running_node = (self.job.client_id, node_id)
        self.say("executing", node=node_id, display_node=node_id)

    def _call(self, node_id: str, inputs: Mapping[str, Any]) -> NodeResult:
        class_type = self.job.graph[node_id]["class_type"]
        without = self._unneeded_inputs(node_id, inputs)
        values = {name: self._value(value) if is_link(value) else value for name, value in inputs.items() if name not in without}
        self.current_inputs = values
        emulated = NODES.get(class_type)
        pnginfo = self.job.extra_data.get("extra_pnginfo") or {}
        executor = self.executor
        says = (self.report, self.send_image, executor.log, self.note_unpainted)
        context = Context(node_id, executor.folders, self.job.graph, pnginfo, *says)
        result = self._stand_in(class_type, inputs, values) if emulated is None else emulated.run(context, **nest_inputs(values))
        if not isinstance(result, NodeResult):
            raise TypeError(f"{class_type} returned {type(result).__name__}, not a NodeResult")
        self.size += len(json.dumps(dict(result.ui)))  # what cannot be sent fails here, as this node's fault
        self._mark(result.ui)
        return result

    def _mark(self, ui: Mapping[str, Any]) -> None:
        if ui:
            from .origin_marks import mark_files  # imported late, as below

            mark_files(ui, self.job.graph, self.executor.folders)

    def _stand_in(self, class_type: str, inputs: Mapping[str, Any], values: Mapping[str, Any]) -> NodeResult:
        from ..nodes.plain_values import stand_in  # imported late: it loads what nodes need, and the server is up before

        schema = self.schemas[class_type]
        return stand_in(schema, self.types.of_inputs(inputs, schema), values)

    def _unneeded_inputs(self, node_id: str, inputs: Mapping[str, Any]) -> Collection[str]:
        """Return the inputs whose sources a node does not need, as far as the values computed so far show."""
        emulated = NODES.get(self.job.graph[node_id]["class_type"])
        if emulated is None or emulated.unneeded is None:
            return ()
        open_ones = {name for name, value in inputs.items() if is_link(value) and value[0] not in self.results}
        known = {name: self._value(v) if is_link(v) else v for name, v in inputs.items() if name not in open_ones}
        return emulated.unneeded(known, inputs)

    def _value(self, link: list[Any]) -> Any:
        source, slot = link
        return self.results[source].outputs[slot]

    def _fingerprint(self, node_id: str, inputs: Mapping[str, Any]) -> str:
        emulated = NODES.get(self.job.graph[node_id]["class_type"])
        if emulated is None or emulated.fingerprint is None:
            return ""
        literals = {name: value for name, value in inputs.items() if not is_link(value)}
        try:
            return emulated.fingerprint(self.executor.folders, **literals)
        except (OSError, ValueError) as problem:  # the node itself will raise the error; until then it is never cached
            _log.debug("no fingerprint of node %s: %s", node_id, problem)
            return f"never the same: {time.monotonic_ns()}"

    def _report_ui(self, node_id: str, ui: Mapping[str, Any]) -> None:
        notices = self._notices() if node_id in self.job.outputs else []
        if notices:
            ui = {**ui, "emulated": notices}
        if ui:
            self.outputs[node_id] = dict(ui)
            self.say("executed", node=node_id, display_node=node_id, output=dict(ui))

    def _notices(self) -> list[dict[str, str]]:
        """Return what is known so far of stand-ins, and of words that no picture shows."""
        results = [self.results[node_id] for node_id in self.job.graph if node_id in self.results]
        words = list(dict.fromkeys(word for result in results for word in result.unpainted))
        return [*self.job.notices, words_notice(words)] if words else self.job.notices

    # Ending ------------------------------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """Send that a node raised."""
        node = self.job.graph.get(self.current, {})
        data = self.note(
            "execution_error",
            node_id=self.current,
            node_type=node.get("class_type", ""),
            executed=list(self.executed),
            exception_message=f"{error}\n",
            exception_type=_type_name(error),
            traceback=traceback.format_tb(error.__traceback__),
            current_inputs={name: [_short_text(value)] for name, value in self.current_inputs.items()},
            current_outputs=list(self.results),
        )
        # ComfyUI's words, and the trace, without which nobody finds a fault in a node.
        self.executor.log(f"!!! Exception during processing !!! {error}\n{''.join(traceback.format_exception(error)).rstrip()}")
        self._end("error")
        self.say("execution_error", **data)

    def say_interrupted(self) -> None:
        """Send that the prompt was interrupted: to its client, or to all clients when it has none."""
        class_type = self.job.graph.get(self.current, {}).get("class_type", "")
        executed = list(self.executed)
        data = self.note("execution_interrupted", node_id=self.current, node_type=class_type, executed=executed)
        self._end("error")
        self.hub.send("execution_interrupted", data, self.job.client_id)

    def succeed(self) -> None:
        """Send that everything ran."""
        data = self.note("execution_success")
        self._end("success")
        self.say("execution_success", timestamp=data["timestamp"])

    def _end(self, status: str) -> None:
        meta = {
            node_id: {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}
            for node_id in self.outputs
        }
        entry = {
            "prompt": self.job.to_data(),
            "outputs": self.outputs,
            "status": {"status_str": status, "completed": status == "success", "messages": self.messages},
            "meta": meta,
        }
        if not self.knobs.lose_history:
            self.executor.queue.remember(self.job.prompt_id, entry, self.size)


class Executor:
    """The worker: takes prompts from the queue until it is closed."""

    def __init__(self, queue: PromptQueue, hub: Hub, folders: Folders, knobs: Knobs, stats: Stats) -> None:
        self.queue = queue
        self.hub = hub
        self.folders = folders
        self.knobs = knobs
        self.stats = stats
        self.running_node: tuple[str | None, str] | None = None
        """Client and id of the node that runs now."""
        self.schemas: Callable[[Mapping[str, Any]], Mapping[str, Mapping[str, Any]]] = lambda _graph: {}
        """Gives the schemas of a graph's classes; set by the server."""
        self.die: Callable[[], None] = lambda: None
        """Makes the server vanish; set by the server."""
        self.log: Callable[[str], None] = _log.info
        """Takes each line that ComfyUI would write to its log; set by the server."""
        self._cache: Cache = {}
        self._free = False

    def free(self) -> None:
        """Forget cached results before the next prompt runs."""
        self._free = True

    def work(self) -> None:
        """Run prompts until the queue is closed. No node can end this thread."""
        with contextlib.suppress(ImportError):  # the first prompt will raise the error
            load_nodes()  # slow, so on this thread: the server answers meanwhile
        while (job := self.queue.take()) is not None:
            try:
                self._run(job)
            except Died:
                return
            except BaseException:
                _log.exception("the emulator failed outside of a node")
            self.running_node = None
            # Before the message below: a client that receives it asks the queue, which must not show the prompt as running.
            self.queue.done()
            if job.client_id is not None:
                self.hub.send("executing", {"node": None, "prompt_id": job.prompt_id}, job.client_id)

    def _run(self, job: QueuedPrompt) -> None:
        if self._free:
            self._free = False
            self._cache.clear()
        run = PromptRun(self, job, self.schemas(job.graph))
        if self.knobs.die_on_prompt:
            self.die()
            raise Died
        if self.knobs.thread_dies:
            run.say("execution_start", timestamp=run.note("execution_start")["timestamp"])
            raise Died
        began = time.monotonic()
        try:
            run.execute(self._cache)
        except NodeInterrupted:
            run.say_interrupted()
        except BaseException as error:  # SystemExit too: otherwise the server would answer, but never run a prompt again
            run.fail(error)
        else:
            run.succeed()
        self.log(f"Prompt executed in {time.monotonic() - began:.2f} seconds")  # ComfyUI's words


def load_nodes() -> None:
    """Register every emulated node class, and load what marks their files; quick when that was done before."""
    for module in ("ryla_gen.emulator.nodes", "ryla_gen.emulator.server.origin_marks"):
        importlib.import_module(module)


def covered_by_emulator(graph: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]], outputs: Collection[str]) -> Coverage:
    """Report what of a valid graph is emulated; waits until the nodes are loaded."""
    load_nodes()
    return coverage(graph, schemas, outputs, NODES)


def _type_name(error: BaseException) -> str:
    kind = type(error)
    plain = kind.__module__ == "builtins" or kind.__module__.startswith("ryla_gen.")
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def _short_text(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= SHOWN_VALUE else f"{text[:SHOWN_VALUE]}… ({len(text)} characters)"
