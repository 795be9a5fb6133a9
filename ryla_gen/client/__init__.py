"""Run and submit workflows, and find jobs again. The synchronous client drives the asynchronous one on a thread.

Must not know a workflow's fields beyond the typed methods, nor how a backend carries a job.
"""

from __future__ import annotations

from .async_client import IN_FLIGHT, AsyncClient
from .job_base import AsyncJob, OnEvent
from .jobs import AsyncJobs
from .sync_client import Client, Job, Jobs

__all__ = ["IN_FLIGHT", "AsyncClient", "AsyncJob", "AsyncJobs", "Client", "Job", "Jobs", "OnEvent"]
