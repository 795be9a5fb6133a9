"""Talk to one ComfyUI server: protocol, messages, node schemas. Must not know a workflow or a cost."""
