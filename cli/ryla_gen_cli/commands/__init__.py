"""Hold the commands of ``ryla-gen``, one file or folder each.

A module is loaded only when its command is used. What several commands need stands in the package above; a command imports
another one only where it continues that one's work.
"""
