"""A loopback control plane under Modal's real client, CLI and container runtime, for tests only. Knows nothing of ryla_gen."""

from tests.modal_loopback.client import connected
from tests.modal_loopback.environments import minimal_environment
from tests.modal_loopback.knobs import Knobs
from tests.modal_loopback.server import Loopback

__all__ = ["Knobs", "Loopback", "connected", "minimal_environment"]
