"""Define the Modal side: what runs in GPU containers, what a deploy registers, and what both sides share (claims, errors).

Must not import a backend or the client: callers import this, never the reverse.
"""
