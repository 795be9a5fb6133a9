"""Define the journal's tables, their versions, and the SQL that takes a file from one to the next. Must not open a file."""

from __future__ import annotations

SCHEMA = 4
"""Version of the tables, in ``PRAGMA user_version``."""

_CREATE = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, handle TEXT, backend TEXT NOT NULL, workflow TEXT NOT NULL, inputs TEXT NOT NULL, state TEXT NOT NULL,
    error TEXT, seed TEXT, created_at TEXT NOT NULL, started_at TEXT, finished_at TEXT, gpu TEXT, gpu_seconds REAL, cost_usd REAL,
    outputs TEXT, tags TEXT NOT NULL, parent TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created_at);
CREATE INDEX IF NOT EXISTS jobs_by_handle ON jobs (handle);
"""
_RESERVATIONS = """
ALTER TABLE jobs ADD COLUMN reserved_usd REAL;
ALTER TABLE jobs ADD COLUMN expires_at TEXT;
ALTER TABLE jobs ADD COLUMN skipped TEXT;
ALTER TABLE jobs ADD COLUMN saved TEXT;
CREATE INDEX IF NOT EXISTS jobs_by_reservation ON jobs (expires_at) WHERE reserved_usd IS NOT NULL;
"""
_PLACES = """
ALTER TABLE jobs ADD COLUMN server TEXT;
ALTER TABLE jobs ADD COLUMN process TEXT;
CREATE INDEX IF NOT EXISTS jobs_by_workflow ON jobs (workflow, created_at);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, created_at);
CREATE INDEX IF NOT EXISTS jobs_by_parent ON jobs (parent, created_at) WHERE parent IS NOT NULL;
"""
_WEBHOOKS = """
CREATE TABLE IF NOT EXISTS webhooks (
    job TEXT NOT NULL, url TEXT NOT NULL, include_prompt INTEGER NOT NULL, event TEXT, added_at TEXT,
    tries INTEGER NOT NULL DEFAULT 0, next_try TEXT, told_at TEXT, given_up_at TEXT, reason TEXT, PRIMARY KEY (job, url)
);
ALTER TABLE jobs ADD COLUMN output_to TEXT;
CREATE INDEX IF NOT EXISTS webhooks_by_next_try ON webhooks (next_try) WHERE next_try IS NOT NULL;
"""
_USERS = """
ALTER TABLE jobs ADD COLUMN user TEXT;
CREATE INDEX IF NOT EXISTS jobs_by_user ON jobs (user, created_at) WHERE user IS NOT NULL;
"""
MIGRATIONS: dict[int, str] = {0: _CREATE, 1: _RESERVATIONS, 2: _PLACES, 3: _WEBHOOKS + _USERS}
"""SQL that takes a file from a version to the next one."""
