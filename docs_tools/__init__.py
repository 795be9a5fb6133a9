"""Generates everything that is derived from the classes: pages, tables, parts of sources, the record of a deploy.

Outside the wheel. Knows no workflow by heart: ``python -m docs_tools`` writes it all, ``--check`` says what is stale.
"""
