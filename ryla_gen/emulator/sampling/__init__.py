"""Sampling: noise levels and schedules, the samplers, and one run of them over an emulated model. Knows no node."""
