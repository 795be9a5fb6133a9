"""One small example call of each workflow in Python, in the shell and in TypeScript. The tests run or compile every one."""

from __future__ import annotations

import re
from dataclasses import dataclass

ARGUMENT = re.compile(r", (?=\w+[=:]|graph,|prompt:)")
FACE_NOTE = "`face.png` is a picture of one person, face to the camera."


@dataclass(frozen=True, slots=True)
class Calls:
    """The same request three times."""

    python: str
    shell: str
    typescript: str
    """The body; imports and client are put around it."""
    note: str = ""
    after: str = ""
    """Words below the examples: what usually comes next."""


EXAMPLES: dict[str, Calls] = {
    "flux": Calls(
        'client.flux(prompt="a fox in the snow", width=512, height=512, seed=7)',
        'ryla-gen run flux "a fox in the snow" --width 512 --height 512 --seed 7 -o fox.png',
        'generateFlux({ prompt: "a fox in the snow", width: 512, height: 512, seed: 7 })',
        after="For drafts: find the prompt here, then make the picture with [flux-dev](flux-dev.md).",
    ),
    "flux_dev": Calls(
        'client.flux_dev(prompt="a lighthouse at dusk, red roof", width=512, height=512, speed="turbo", seed=7)',
        'ryla-gen run flux-dev "a lighthouse at dusk, red roof" --width 512 --height 512 --speed turbo --seed 7 -o lighthouse.png',
        'generateFluxDev({ prompt: "a lighthouse at dusk, red roof", width: 512, height: 512, speed: "turbo", seed: 7 })',
        after="`speed` is the first thing to try when it is too slow, `steps` and `guidance` when it is not good enough.",
    ),
    "flux_lora": Calls(
        'client.loras.push("mira.safetensors", id="mira", trigger_words="mira")\n'
        'generation = client.flux_lora(prompt="reading in a cafe", lora_id="mira", trigger_word="mira", width=512, height=512)',
        "ryla-gen lora push mira.safetensors --id mira\n"
        'ryla-gen run flux-lora "mira reading in a cafe" --lora-id mira --width 512 --height 512 -o mira.png',
        'generateFluxLoRA({ prompt: "reading in a cafe", loraId: "mira", triggerWord: "mira", width: 512, height: 512 })',
        note="`mira.safetensors` is a LoRA trained on FLUX.1 dev. It is stored once, under an id, and named by that id afterwards.",
        after="Everything about storing, checking and removing LoRAs: [LoRAs](../loras.md).",
    ),
    "instantid": Calls(
        'client.instantid(prompt="an astronaut", reference_image="face.png", width=512, height=512, steps=8, seed=7)',
        'ryla-gen run instantid "an astronaut" --reference-image face.png --width 512 --height 512 --steps 8 -o astronaut.png',
        'generateInstantID({ prompt: "an astronaut", referenceImage: face, width: 512, height: 512, steps: 8, seed: 7 })',
        note=FACE_NOTE,
        after="A face swap or a whole sheet of angles from one picture: [Characters](../characters.md).",
    ),
    "flux_instantid": Calls(
        'client.flux_instantid(prompt="an astronaut", reference_image="face.png", '
        "width=512, height=512, instantid_steps=8, seed=7)",
        'ryla-gen run flux-instantid "an astronaut" --reference-image face.png '
        "--width 512 --height 512 --instantid-steps 8 -o both.png",
        'generateFluxInstantID({ prompt: "an astronaut", referenceImage: face, '
        "width: 512, height: 512, instantidSteps: 8, seed: 7 })",
        note=FACE_NOTE,
        after="InstantID works on SDXL only. This graph makes the SDXL picture first and lets FLUX.1 dev redraw it a little: the "
        "higher `refine_denoise`, the more Flux and the less likeness.",
    ),
    "flux_pulid": Calls(
        'client.flux_pulid(prompt="an astronaut", reference_image="face.png", width=512, height=512, steps=8, seed=7)',
        'ryla-gen run flux-pulid "an astronaut" --reference-image face.png --width 512 --height 512 --steps 8 -o pulid.png',
        'generateFluxPuLID({ prompt: "an astronaut", referenceImage: face, width: 512, height: 512, steps: 8, seed: 7 })',
        note=FACE_NOTE,
        after="PuLID's node only warns when it finds no face. On Modal the worker looks first, and answers `face_not_found`.",
    ),
    "wan2": Calls(
        'client.wan2(prompt="waves at dusk", width=416, height=256, length=9, steps=4, seed=7)',
        'ryla-gen run wan2 "waves at dusk" --width 416 --height 256 --length 9 --steps 4 -o waves.mp4',
        'generateWan2({ prompt: "waves at dusk", width: 416, height: 256, length: 9, steps: 4, seed: 7 })',
        after='`model="14B"` looks better and takes several times as long; with it, `speed="turbo"` needs four steps.',
    ),
    "seedvr2": Calls(
        'client.seedvr2(image="small.png", scale=2, seed=7)',
        "ryla-gen run seedvr2 --image small.png --scale 2 -o large.png",
        "generateSeedVR2({ image: small, scale: 2, seed: 7 })",
        after="A video goes in as `video=`, keeps its sound, and comes out as mp4.",
    ),
    "workflow": Calls(
        'client.workflow(graph=json.loads(Path("my_graph_api.json").read_text()), prompt="a fox", seed=7)',
        'ryla-gen graph run my_graph_api.json --prompt "a fox" --seed 7 -o fox.png',
        'generateWorkflow({ graph, prompt: "a fox", seed: 7 })',
        note="`my_graph_api.json` comes from ComfyUI's menu: Workflow, Export (API).",
        after="From an exported graph to a typed workflow of your own: [Your own graphs](../your-own-graphs.md) and "
        "[Adding a workflow](../adding-a-workflow.md).",
    ),
}


LONGEST = 84
"""Columns of a line of an example, so that it need not be scrolled."""


def wrapped(call: str, indent: str) -> str:
    """Return a call with its arguments on lines of their own, where it is too long for one."""
    if len(indent) + len(call) <= LONGEST:
        return f"{indent}{call}"
    start, end = (call.index("({ ") + 3, call.rindex(" })")) if "({ " in call else (call.index("(") + 1, call.rindex(")"))
    arguments = ARGUMENT.split(call[start:end])
    inner = "".join(f"{indent}    {argument},\n" for argument in arguments)
    return f"{indent}{call[:start].rstrip()}\n{inner}{indent}{call[end:].lstrip()}"


def wrapped_line(line: str) -> str:
    """Return a command line, its options on a second line where it is too long for one."""
    if len(line) <= LONGEST:
        return line
    cut = line.index(" --")
    return f"{line[:cut]} \\\n    {line[cut + 1 :]}"


def shell_block(name: str) -> str:
    """Return the command, or commands."""
    return "\n".join(wrapped_line(line) for line in EXAMPLES[name].shell.splitlines())


def python_block(name: str) -> str:
    """Return the Python example, whole."""
    call = EXAMPLES[name].python
    if "generation = " not in call:
        call = f"generation = {call}"
    body = "\n".join(wrapped(line, "    ") for line in call.splitlines())
    imports = "from ryla_gen import Client\n"
    if name == "workflow":
        imports = f"import json\nfrom pathlib import Path\n\n{imports}"
    suffix = "mp4" if name == "wan2" else "png"
    return (
        f"{imports}\nwith Client() as client:\n{body}\n"
        f'    generation.save("{{workflow}}-{{seed}}.{suffix}")\n'
        "    print(generation.seed, generation.timings.running, generation.cost.total_usd)\n"
    )


def typescript_block(name: str) -> str:
    """Return the TypeScript example, whole."""
    call = EXAMPLES[name].typescript
    kind, suffix = ("video", "mp4") if name == "wan2" else ("image", "png")
    files = {"face": "face.png", "small": "small.png"}
    reads = [f'const {word} = await readFile("{path}");\n' for word, path in files.items() if f": {word}," in call]
    if name == "workflow":
        reads = ['const graph = JSON.parse(await readFile("my_graph_api.json", "utf8"));\n']
    functions = "readFile, writeFile" if reads else "writeFile"
    # A graph of one's own, and an upscale, may give something else: their results say so by type.
    sure = "" if name not in ("seedvr2", "workflow") else f"if (result.{kind}) "
    return (
        f'import {{ {functions} }} from "node:fs/promises";\nimport {{ ModalClient }} from "./ryla.js";\n\n'
        f"{''.join(reads)}const ryla = new ModalClient();\n{wrapped(f'const result = await ryla.{call};', '')}\n"
        f'{sure}await writeFile("result.{suffix}", result.{kind});\nryla.close();\n'
    )
