"""Count the functions and modules of ours that one warm ``client.flux_dev(prompt=…)`` walks through.

Comprehensions and the emulator are left out.

    python benchmarks/hops.py [--list]

The second call of a client is counted: the first one loads modules and opens connections.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from pathlib import Path
from types import CodeType, FrameType

import ryla_gen
from ryla_gen import Client

PACKAGE = Path(ryla_gen.__file__).parent


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name every function")
    arguments = parser.parse_args()
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and not frame.f_code.co_name.startswith("<"):
            seen.add(frame.f_code)

    with tempfile.TemporaryDirectory() as home:
        os.environ["RYLA_GEN_HOME"] = home
        threading.setprofile(note)  # the client's thread begins with its first call
        with Client("emulator") as client:
            client.flux_dev(prompt="a fox", width=256, height=256, steps=1, seed=1)
            seen.clear()
            sys.setprofile(note)
            client.flux_dev(prompt="a fox", width=256, height=256, steps=1, seed=2)
            sys.setprofile(None)
            request = set(seen)  # what closing the client calls is no part of a request
    ours = [code for code in request if PACKAGE in Path(code.co_filename).parents]
    counted = [code for code in ours if "emulator" not in Path(code.co_filename).relative_to(PACKAGE).parts[0]]
    modules = {code.co_filename for code in counted}
    if arguments.list:
        for code in sorted(counted, key=lambda code: (code.co_filename, code.co_firstlineno)):
            print(f"{Path(code.co_filename).relative_to(PACKAGE)}:{code.co_firstlineno} {code.co_qualname}")
    print(f"{len(counted)} functions in {len(modules)} modules")


if __name__ == "__main__":
    main()
