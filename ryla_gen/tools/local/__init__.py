"""Install a ComfyUI on this machine at the pinned versions, start it and stop it. Knows no workflow's fields and no job."""
