"""Sample from an emulated model: noise levels and schedules, the samplers, and one run of them. Must not know a node."""
