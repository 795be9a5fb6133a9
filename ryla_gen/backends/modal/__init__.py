"""Run jobs on Modal: class methods called by name. Must not know GPU code; what runs in the containers is ``remote``."""
