"""The client: run, submit, map and find jobs. Async is the implementation; the plain client drives it on a private thread.

``asynchronous`` is the implementation, ``plain`` the same for scripts and notebooks, ``jobs`` finds jobs again.
"""

from __future__ import annotations

from ..jobs import AsyncJob, Job
from .asynchronous import IN_FLIGHT, AsyncClient, OnEvent
from .jobs import AsyncJobs, Jobs
from .plain import Client

__all__ = ["IN_FLIGHT", "AsyncClient", "AsyncJob", "AsyncJobs", "Client", "Job", "Jobs", "OnEvent"]
