"""Bring what a job made to buckets and signed addresses, and tell a webhook of its end. Runs and journals no job."""

from __future__ import annotations

from .destinations import Addresses, Bucket, Destination, OutputTo, is_bucket, read_destination

__all__ = ["Addresses", "Bucket", "Destination", "OutputTo", "is_bucket", "read_destination"]
