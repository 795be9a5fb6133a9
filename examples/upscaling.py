"""A picture (or a video) made larger with SeedVR2.

python examples/upscaling.py [PICTURE or VIDEO]

Without one, a small picture is made first. `scale` is a factor, `resolution` the shortest edge in pixels: give one of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ryla_gen import Client, SeedVR2

VIDEOS = (".mp4", ".webm", ".mov", ".mkv")


def request_for(client: Client, path: str | None) -> SeedVR2:
    if path is None:
        small = client.flux(prompt="a fox in the snow", width=256, height=256)
        print("small:", *small.save("small-{seed}.png"))
        return SeedVR2(image=small.output.data, scale=2)
    return SeedVR2(video=path, scale=2) if Path(path).suffix.lower() in VIDEOS else SeedVR2(image=path, scale=2)


def main(path: str | None = None) -> None:
    with Client() as client:
        generation = client.run(request_for(client, path))
    large = generation.output
    (file,) = generation.save("large-{seed}")  # the suffix follows from what it is
    print(f"{file}: {large.width}×{large.height}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
