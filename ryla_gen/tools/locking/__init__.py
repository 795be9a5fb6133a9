"""Make the lock of a graph: find its ComfyUI, packs, packages, models, inputs and outputs, each answer with its source."""
