"""Small words that every room may use: shapes of foreign data, control characters, file locks, the thread that runs the loop.

Must not know anything of images, graphs or jobs.
"""
