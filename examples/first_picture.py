"""The first picture: a request, its result, a file, and the request back from the file.

python examples/first_picture.py "a lighthouse at dusk, red roof"

Without a GPU configured this runs on the embedded emulator, and the picture says so. Nothing else changes on a real one.
"""

from __future__ import annotations

import sys

from ryla_gen import Client, load


def main(prompt: str = "a lighthouse at dusk, red roof") -> None:
    with Client() as client:
        generation = client.z_image(prompt=prompt, width=512, height=512)

    # No seed was given, so one was drawn. It is in the result, and here in the file's name: a second run overwrites nothing.
    (file,) = generation.save("first-picture-{seed}.png")
    print(f"{file}: {generation.image.width}×{generation.image.height}, seed {generation.seed}, on {generation.backend}")
    print(f"{generation.timings.running:.1f} s, ${generation.cost.total_usd:.4f}")
    for warning in generation.warnings:
        print(f"note: {warning.message}")

    # The file knows its request. client.run(request) would make the same picture again.
    request = load(file, width=1024, height=1024)
    print(f"again, but larger: {request!r}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
