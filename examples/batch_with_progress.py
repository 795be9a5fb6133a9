"""Many requests, a few at a time, with a progress bar; a request that fails does not stop the others.

python examples/batch_with_progress.py [FOLDER]

For lists in files there is `ryla-gen batch`, which also remembers what is done.
"""

from __future__ import annotations

import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from ryla_gen import Client, Flux, RylaGenError

ANIMALS = ("a fox", "a hare", "an owl", "a stag", "a heron", "a badger")


def main(folder: str = "animals/") -> None:
    requests = (Flux(prompt=f"{animal} in the snow", width=256, height=256) for animal in ANIMALS)
    failures: list[RylaGenError] = []
    spent = 0.0
    with Client() as client, Progress("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as progress:
        bar = progress.add_task("pictures", total=len(ANIMALS))
        # In the order in which they finish: requests is read as needed, and may be endless.
        for result in client.map(requests, in_flight=3, ordered=False, return_exceptions=True):
            if isinstance(result, RylaGenError):
                failures.append(result)
            else:
                result.save(folder.rstrip("/") + "/{workflow}-{seed}.png")
                spent += result.cost.total_usd
            progress.update(bar, advance=1, description=f"${spent:.4f}")
    for failure in failures:
        print(f"{failure.code}: {failure.message} {failure.hint}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main(*sys.argv[1:2])
