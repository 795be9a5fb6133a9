"""A look-alike of RunPod's serverless API on a loopback port: queue, workers, limits, faults by knobs."""

from tests.runpod_loopback.server import ENDPOINT, KEY, RunpodLoopback
from tests.runpod_loopback.worker import ComfyWorker

__all__ = ["ENDPOINT", "KEY", "ComfyWorker", "RunpodLoopback"]
