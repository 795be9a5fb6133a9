"""A short video with Wan2.1, as mp4, and what it is: size, frames, rate.

python examples/video.py "waves against a lighthouse"

The sizes are small to be quick. Leave width, height, length and steps out for the model's own: 832×480, 33 frames, 30 steps.
"""

from __future__ import annotations

import sys

from ryla_gen import Client, Event, Preview, Progress, Wan2


def heard(event: Event) -> None:
    """Show the progress on one line; a preview is a small JPEG in event.data."""
    if isinstance(event, Progress):
        print(f"\r{event.fraction:4.0%} {event.node:<24}", end="", flush=True)
    elif isinstance(event, Preview):
        print(f" preview: {len(event.data):,} bytes", end="", flush=True)


def main(prompt: str = "waves against a lighthouse") -> None:
    request = Wan2(prompt=prompt, width=320, height=256, length=17, steps=4)
    with Client() as client:
        generation = client.run(request, on_event=heard)
    video = generation.video
    (file,) = generation.save("waves-{seed}.mp4")
    print(f"\n{file}: {video.width}×{video.height}, {video.frames} frames at {video.fps:g} a second")


if __name__ == "__main__":
    main(*sys.argv[1:2])
