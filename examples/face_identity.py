"""One face in several pictures, from a single reference picture and without training.

python examples/face_identity.py [FACE.png]

Without a picture, one is made first. The reference is sent to the backend and kept nowhere: journal and files hold its hash alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ryla_gen import Client
from ryla_gen.errors import FaceNotFoundError


def main(face: str | None = None) -> None:
    with Client() as client:
        reference: Path | bytes = Path(face) if face else b""
        if not face:
            portrait = client.flux_dev(prompt="portrait of a young woman, red hair", width=384, height=384, steps=8)
            reference = portrait.output.data  # a path, bytes, a PIL image, a data URL or an address: all will do
            print("reference:", *portrait.save("face-{seed}.png"))
        try:
            # PuLID brings the face into FLUX.1 dev; InstantID is SDXL's way. A picture without a face is refused.
            pulid = client.flux_pulid(prompt="an astronaut", reference_image=reference, width=384, height=384, steps=8)
            sdxl = client.instantid(prompt="a woman in a garden", reference_image=reference, width=384, height=384, steps=8)
        except FaceNotFoundError as error:
            sys.exit(f"{error.message} {error.hint}")
        for generation in (pulid, sdxl):
            print(generation.workflow.name, *generation.save("{workflow}-{seed}.png"))
            for warning in generation.warnings:
                print(f"  note: {warning.message}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
