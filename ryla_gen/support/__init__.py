"""Provide helpers for every package: shapes of foreign data, control characters, file locks, the thread that runs the loop.

Must not know anything of images, graphs or jobs.
"""
