"""Writes the example of a workflow's class as Python, for the shell and as TypeScript. The tests run or compile every one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.facts import Example
from ryla_gen.workflows.fields import held_media
from ryla_gen.workflows.registry import workflow_class
from ryla_gen_cli.options import fields_of

from .typescript_parts import camel, method_name

LONGEST = 84
"""Columns of a line before it is broken at its arguments."""


def example_of(cls: type[Workflow]) -> Example:
    """Return the example of a built-in workflow.

    Raises:
        LookupError: it has none.

    """
    if cls.example is None:
        raise LookupError(f"{cls.__name__} has no example: set its ClassVar example")
    return cls.example


def python_block(name: str) -> str:
    """Return the Python example, whole."""
    cls = workflow_class(name)
    found = example_of(cls)
    fields = [f"{key}={_python(cls, key, value)}" for key, value in found.fields.items()]
    lines = [_call(f"generation = client.{cls.name}(", fields, ")", "    ")]
    if lora := found.fields.get("lora_id"):
        words = f", trigger_words={json.dumps(found.fields['trigger_word'])}" if "trigger_word" in found.fields else ""
        lines.insert(0, f'    client.loras.push("{lora}.safetensors", id="{lora}"{words})')
    imports = "import json\nfrom pathlib import Path\n\n" if cls.own_graph else ""
    return (
        f"{imports}from ryla_gen import Client\n\nwith Client() as client:\n"
        + "\n".join(lines)
        + f'\n    generation.save("{{workflow}}-{{job}}{PurePosixPath(found.output).suffix}")\n'
        + "    print(generation.seed, generation.timings.running, generation.cost.total_usd)\n"
    )


def _python(cls: type[Workflow], name: str, value: Any) -> str:
    if name == "graph" and cls.own_graph:
        return f"json.loads(Path({json.dumps(value)}).read_text())"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | list) else repr(value)


def shell_line(name: str) -> str:
    """Return the command that runs the example."""
    cls = workflow_class(name)
    found = example_of(cls)
    fields = dict(found.fields)
    options = fields_of(cls)
    words = ["ryla-gen", "graph", "run", str(fields.pop("graph"))] if cls.own_graph else ["ryla-gen", "run", hyphenate(name)]
    for key, value in fields.items():
        option = [] if key == "prompt" and not cls.own_graph else [options[key].option]
        for item in value if isinstance(value, list) else [value]:
            words += [*option, f'"{item}"' if key == "prompt" else shlex.quote(str(item))]
    return " ".join([*words, "-o", found.output])


def stored_loras(name: str) -> list[str]:
    """Return the commands that store the LoRA of the example, when it has one."""
    lora = example_of(workflow_class(name)).fields.get("lora_id")
    return [f"ryla-gen lora push {lora}.safetensors --id {lora}"] if lora else []


def shell_block(name: str) -> str:
    """Return the shell example: the command, or commands."""
    line = shell_line(name)
    cut = line.index(" --") if len(line) > LONGEST else 0
    return "\n".join([*stored_loras(name), f"{line[:cut]} \\\n    {line[cut + 1 :]}" if cut else line])


def typescript_block(name: str) -> str:
    """Return the TypeScript example, whole."""
    cls = workflow_class(name)
    found = example_of(cls)
    kind = cls.output_kind or "image"
    held = [item for key in cls.media_fields() for item in held_media(key, found.fields.get(key))]
    reads = [f'const {PurePosixPath(file).stem} = await readFile("{file}");\n' for _, file in held]
    if cls.own_graph:
        reads = [f'const graph = JSON.parse(await readFile("{found.fields["graph"]}", "utf8"));\n']
    functions = "readFile, writeFile" if reads else "writeFile"
    sure = "" if cls.output_kind else f"if (result.{kind}) "  # what decides is the request: its result's type says so
    values = [_typescript(cls, key, value) for key, value in found.fields.items()]
    call = _call(f"const result = await ryla.{method_name(cls)}({{ ", values, " });", "")
    return (
        f'import {{ {functions} }} from "node:fs/promises";\nimport {{ ModalClient }} from "./ryla.js";\n\n'
        f"{''.join(reads)}const ryla = new ModalClient();\n{call}\n"
        f'{sure}await writeFile("{found.output}", result.{kind});\nryla.close();\n'
    )


def _typescript(cls: type[Workflow], name: str, value: Any) -> str:
    if name == "graph" and cls.own_graph:
        return "graph"
    if name not in cls.media_fields():
        return f"{camel(name)}: {json.dumps(value, ensure_ascii=False)}"
    names = ", ".join(PurePosixPath(file).stem for _, file in held_media(name, value))
    return f"{camel(name)}: [{names}]" if isinstance(value, list) else f"{camel(name)}: {names}"


def hyphenate(name: str) -> str:
    """Return the name as the command line writes it."""
    return name.replace("_", "-")


def _call(start: str, arguments: Sequence[str], end: str, indent: str) -> str:
    """A call, its arguments on lines of their own where it is too long for one."""
    line = f"{indent}{start}{', '.join(arguments)}{end}"
    if len(line) <= LONGEST:
        return line
    inner = "".join(f"{indent}    {argument},\n" for argument in arguments)
    return f"{indent}{start.rstrip()}\n{inner}{indent}{end.lstrip()}"
