"""Hold what only the command line uses: gallery, evaluations, a local ComfyUI, new workflow files. Nothing else imports it."""
