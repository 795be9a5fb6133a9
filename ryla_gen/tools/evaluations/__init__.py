"""Measure how well generations work: how many succeed, how similar a face stays, how long they take and what they cost.

``funnel`` counts what the journal has seen; the others run workflows through a client. Nothing here prints.
"""
