"""Lies beside the app and is not part of it: no container may see it."""
