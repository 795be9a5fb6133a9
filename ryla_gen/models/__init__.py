"""Model files: the table of weights and their licences, ComfyUI's node schemas, downloads, LoRA files and their headers.

Must not know a workflow, a backend or a job.
"""
