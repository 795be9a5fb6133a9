"""The backend that calls the deployed Modal app by name. Knows no ComfyUI; the app's own side is ``ryla_gen.remote``."""
