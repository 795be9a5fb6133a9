"""``python -m tests.fuzz 200000 [SEED [WORD]]``: the long run, over the parsers whose name holds a word."""

from __future__ import annotations

import sys

from .fuzzing import fuzz
from .parsers import PARSERS

if __name__ == "__main__":
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    chosen = [parser for parser in PARSERS if len(sys.argv) <= 3 or sys.argv[3] in parser.name]
    ran, findings = fuzz(cases, seed=seed, parsers=chosen)
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    sys.stdout.write(f"{ran} cases, {len(findings)} faults\n")
    sys.exit(bool(findings))
