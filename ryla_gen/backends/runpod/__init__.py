"""The backend that sends graphs to a RunPod serverless endpoint with worker-comfyui. Knows no other backend."""
