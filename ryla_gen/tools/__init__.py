"""What only the command line uses: gallery, evaluations, a local ComfyUI, the files of a new workflow. Nothing imports it."""
