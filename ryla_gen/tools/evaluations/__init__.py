"""How well generations work, measured: how many succeed, how like a face stays, how long they take and what they cost.

``funnel`` counts what the journal has seen; the others run workflows through a client. Nothing here prints.
"""
