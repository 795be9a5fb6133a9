"""Speaking with one ComfyUI server: protocol, messages, node schemas. Knows no workflow and no cost."""
