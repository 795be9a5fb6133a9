"""What a request will cost and may cost: prices, estimates, budgets, and the room that a job must pass before it is sent.

Spends nothing and sends nothing; what a second costs on a backend is told by that backend.
"""
