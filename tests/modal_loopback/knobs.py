"""What a test can switch on, faults above all, in one place. Says what goes wrong, never how: the other modules look here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase

from grpclib import Status

BUILDER_VERSION = "2025.06"
"""The image builder from which on functions accept CBOR."""
QUEUE_CAPACITY = 5000
"""Items one partition of a Modal queue holds (Modal's guide on queues)."""


@dataclass
class Knobs:
    """Turned while the server runs; names of calls are Modal's own (``FunctionMap``), or patterns (``Queue*``).

    ``PUT blob`` is the upload of a payload that is too large for a call.
    """

    refuse_token: bool = False
    """Every client is told that its token is not valid. Containers have none and go on."""
    confirm_token: bool = True
    """The person in the browser agrees to a new token at once; else ``modal token new`` waits."""
    refuse: dict[str, Status] = field(default_factory=dict)
    """Calls answered with this status and not done, for as long as they stand here."""
    delay: dict[str, float] = field(default_factory=dict)
    """Seconds that pass before a call is looked at."""
    delay_answer: dict[str, float] = field(default_factory=dict)
    """Seconds that pass between the doing of a call and its answer."""
    lose_request_of: Counter[str] = field(default_factory=Counter)
    """How many of the next calls break their connection before anything is done."""
    lose_answer_of: Counter[str] = field(default_factory=Counter)
    """How many of the next calls are done and then break their connection: the caller cannot know."""
    remember_requests: bool = False
    """Answer a repeated request (same idempotency key) from memory. Modal documents nothing of it: the worst is the default."""
    queue_unavailable: bool = False
    """Every call to a queue fails with UNAVAILABLE."""
    queue_capacity: int = QUEUE_CAPACITY
    """Items in a partition before ``put`` is refused as full."""
    missing_classes: set[str] = field(default_factory=set)
    """Classes that the deployed app pretends not to have."""
    missing_methods: set[str] = field(default_factory=set)
    """``Class.method`` names that the deployed app pretends not to have: an older deployment."""
    expire_results: bool = False
    """Results are gone, as they are seven days after the call."""
    image_builder: str = BUILDER_VERSION
    """The workspace's image builder."""
    build_lines: list[str] = field(default_factory=list)
    """What the build of a new image writes; without any, images are there at once."""
    fail_build: bool = False
    """A build ends as failed, after it wrote its lines."""
    kill_at_input: int = 0
    """The container that is handed the n-th input from now on is killed as it receives it; 0 is never."""

    restores_elsewhere: bool = False
    """A container goes on from its snapshot under another name, as one does that did not take the snapshot itself."""
    interrupted_ends: bool = False
    """What becomes of an input that a preempted container answers with a cancellation: it is over, or (False) it is restarted
    elsewhere under the same call. Modal documents the restart; what its service does with the answer is unknown."""

    autoscale: bool = False
    """Whether containers are started and filled by ``target_inputs`` and ``buffer_containers``, as Modal's autoscaler does. Without
    it a container is filled up before another one starts, whatever the app asks for: fewer processes."""
    cold_start: float = 0.0
    """Seconds between the order for a container and its process: a machine is found and the image pulled."""

    def reset(self) -> None:
        """Switch everything off."""
        for item in fields(self):
            setattr(self, item.name, getattr(Knobs(), item.name))

    def status_for(self, rpc: str) -> Status | None:
        """The status with which this call is refused, if it is."""
        if self.queue_unavailable and rpc.startswith("Queue"):
            return Status.UNAVAILABLE
        return next((status for pattern, status in self.refuse.items() if fnmatchcase(rpc, pattern)), None)

    def delay_for(self, rpc: str) -> float:
        """Seconds to wait before this call is looked at."""
        return _seconds(self.delay, rpc)

    def answer_delay_for(self, rpc: str) -> float:
        """Seconds to wait before this call, which is done, is answered."""
        return _seconds(self.delay_answer, rpc)

    def loses(self, counter: Counter[str], rpc: str) -> bool:
        """Whether this call is one of those whose connection breaks; counts it off."""
        for pattern, left in counter.items():
            if left > 0 and fnmatchcase(rpc, pattern):
                counter[pattern] -= 1
                return True
        return False

    def kills_now(self) -> bool:
        """Counts one handed-over input; true when its container has to die of it."""
        if self.kill_at_input > 0:
            self.kill_at_input -= 1
            return self.kill_at_input == 0
        return False


def _seconds(delays: dict[str, float], rpc: str) -> float:
    return sum(seconds for pattern, seconds in delays.items() if fnmatchcase(rpc, pattern))
