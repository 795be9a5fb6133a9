"""Run jobs on a RunPod endpoint that serves worker-comfyui, over its REST API. Must not send the key anywhere else."""
