"""Run ``ryla-gen`` as ``python -m ryla_gen_cli``."""

from . import main

main()
