"""The embedded ComfyUI look-alike. Knows no workflow, no client, no cost."""
