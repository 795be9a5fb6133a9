"""Small helpers that every room may use. They know nothing of workflows, servers or jobs."""
