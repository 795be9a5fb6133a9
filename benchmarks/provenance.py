"""What saying where a picture comes from adds to taking it from a server, in the same run.

    python benchmarks/provenance.py [ROUNDS]

Every way gets the same PNG of 1024×1024 in turn, an emulated picture with the grain of a photograph. "plain" describes it as an
output, with the checks that every output gets; "marked" adds the mark in XMP; "signed" adds a C2PA manifest too (ES256, a local
certificate, no network).
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from ryla_gen import Client, FluxDev
from ryla_gen.results import Output
from ryla_gen.results.output_files import as_output
from ryla_gen.results.provenance import mark_of
from ryla_gen.results.signing import claim_of, read_signer
from ryla_gen.tools.provenance import make_certificate


def grainy(picture: Image.Image) -> bytes:
    """Encode a picture with grain, which makes its file as large as a photograph's; as a server sends it, without a mark."""
    buffer = io.BytesIO()
    noise = Image.effect_noise(picture.size, 40).convert("RGB")
    Image.blend(picture.convert("RGB"), noise, 0.1).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def main(rounds: int) -> None:
    """Take the picture in the three ways in turn; print medians and what each adds."""
    with Client("emulator") as client:
        generation = client.run(FluxDev(prompt="a red fox", steps=4, seed=7))
    mark, claim = mark_of(generation.graph, emulated=True), claim_of(generation, include_prompt=False)
    data = grainy(generation.image)
    with tempfile.TemporaryDirectory() as folder:
        made = make_certificate(Path(folder))
        signer = read_signer(made.certificate, made.key, None)

    def taken(*, marked: bool, signed: bool) -> tuple[float, Output]:
        began = time.perf_counter()
        output = as_output(data, "a.png", "fox", "png", {}, mark=mark if marked else None)
        if signed:
            signer.sign(output, claim)
        return time.perf_counter() - began, output

    ways = {"plain": (False, False), "marked": (True, False), "signed": (True, True)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 2):
        for name, (marked, signed) in ways.items():
            seconds, _ = taken(marked=marked, signed=signed)
            if turn >= 2:
                times[name].append(seconds)
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        adds = (median - medians["plain"]) * 1000
        print(
            f"{name:7} {median * 1000:6.1f} ms · adds {adds:5.1f} ms · ratio {median / medians['plain']:.2f} ({len(data):,} bytes)"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
