"""How many containers a function gets, and how many inputs each of them takes: one rule, for the loopback and for simulations.

Modal does not publish the rule of its own autoscaler. This one is what its client's documentation says in words: containers are
started so that each runs ``target_inputs``, and they take more, up to ``max_inputs``, where no further container can be had.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scaling:
    """What a function was deployed with."""

    max_inputs: int
    """Inputs a container takes at most."""
    max_containers: int
    """Containers there are at most, the idle ones included."""
    target_inputs: int = 0
    """Inputs a container shall run; 0 is ``max_inputs``."""
    min_containers: int = 0
    """Containers that are kept without any input."""
    buffer_containers: int = 0
    """Idle containers more than the inputs ask for, while there are inputs."""

    @property
    def target(self) -> int:
        """Inputs by which containers are counted."""
        return self.target_inputs or self.max_inputs

    def containers(self, load: int) -> int:
        """Count the containers that so many inputs, waiting and running, ask for."""
        spare = self.buffer_containers if load else 0
        return min(self.max_containers, max(self.min_containers, math.ceil(load / self.target) + spare))

    def places(self, load: int) -> int:
        """Count the inputs that one container takes at once: more than the target only where all containers are too few."""
        return min(self.max_inputs, max(self.target, math.ceil(load / self.max_containers)))
