"""Money is spent once: processes killed at every step around a spend, with the runs counted at the server."""
