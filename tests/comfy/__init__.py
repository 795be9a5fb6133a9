"""Tests of the ComfyUI client, and the stub server they talk to."""
