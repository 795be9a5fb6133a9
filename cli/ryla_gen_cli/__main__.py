"""``python -m ryla_gen_cli`` is ``ryla-gen``."""

from . import main

main()
