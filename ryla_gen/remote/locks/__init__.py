"""Lock the images' packages: the committed locks, and ``python -m ryla_gen.remote.locks``, which writes them."""
