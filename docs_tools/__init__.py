"""Writes the generated pages of ``docs/`` and reads Markdown for their checks. Outside the wheel; knows no workflow by heart."""
