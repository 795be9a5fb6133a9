"""Measurements: ratios within one run, printed for people. Tests never assert a wall time."""
