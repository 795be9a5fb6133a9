"""The Modal side: what runs in the GPU containers, what a deploy registers, and the words that both sides share (claims, errors).

Must not import a backend or the client: callers import this, never the reverse.
"""
