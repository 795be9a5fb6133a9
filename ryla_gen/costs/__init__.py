"""What a job will cost, and whether the budgets allow it: prices, durations, estimates, admission. Sends nothing."""
