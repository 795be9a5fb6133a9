"""Emulate a ComfyUI server without a GPU or models. Must not know a workflow, a client or a cost."""
