"""Forgetting jobs, users and characters."""
