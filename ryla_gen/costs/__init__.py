"""Predict and limit what a request costs: prices, estimates, budgets, and the admission that a job passes before it is sent.

Must not send or spend anything; the price of a second on a backend is passed in.
"""
