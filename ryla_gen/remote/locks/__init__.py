"""The committed locks of the images, and the command that writes them: ``python -m ryla_gen.remote.locks``. For maintainers."""
