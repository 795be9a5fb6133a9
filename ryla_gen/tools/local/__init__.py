"""A ComfyUI on this machine: installed at the pins of the table, started and stopped. Knows no workflow's fields and no job."""
