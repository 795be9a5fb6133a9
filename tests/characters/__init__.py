"""Character jobs, their contact sheets, and the command."""
