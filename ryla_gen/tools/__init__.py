"""What only the command line uses: gallery, evaluations, a local ComfyUI, scaffolding. Nothing else imports it."""
