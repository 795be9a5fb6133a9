"""Generates everything that is derived from the classes: pages, tables, the parts of sources that name every workflow, a deploy's record.

Outside the wheel. Knows no workflow by heart: ``python -m docs_tools`` writes it all, ``--check`` says what is stale.
"""
