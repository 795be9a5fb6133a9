"""The Modal side: what runs in the GPU containers, and what a deploy registers. No caller's code imports this."""
