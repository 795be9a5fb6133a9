"""Hold what only the command line uses: gallery, evaluations, a local ComfyUI, new workflows, samples. Nothing else imports it."""
