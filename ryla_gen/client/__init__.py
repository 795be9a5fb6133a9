"""The client: run, submit, map, and find jobs again. Async is the implementation; the synchronous client drives it on a thread.

Must not know a workflow's fields beyond the typed methods, nor how a backend carries a job.
"""

from __future__ import annotations

from .async_client import IN_FLIGHT, AsyncClient, OnEvent
from .job_base import AsyncJob
from .jobs import AsyncJobs
from .sync_client import Client, Job, Jobs

__all__ = ["IN_FLIGHT", "AsyncClient", "AsyncJob", "AsyncJobs", "Client", "Job", "Jobs", "OnEvent"]
