"""Describe and fetch model files: weights and their licences, ComfyUI's node schemas, downloads, LoRA files and headers.

Must not know a workflow, a backend or a job.
"""
