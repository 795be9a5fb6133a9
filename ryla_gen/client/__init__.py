"""The client: run, submit, map and find jobs. Async is the implementation; the plain client drives it on a private thread.

``asynchronous`` is the implementation, ``plain`` the same for scripts and notebooks, ``jobs`` finds jobs again.
"""

from __future__ import annotations

from .async_client import IN_FLIGHT, AsyncClient, OnEvent
from .job_base import AsyncJob, Job
from .jobs import AsyncJobs, Jobs
from .sync_client import Client

__all__ = ["IN_FLIGHT", "AsyncClient", "AsyncJob", "AsyncJobs", "Client", "Job", "Jobs", "OnEvent"]
