"""Runs the code blocks of a page as a reader would: in order, in one folder, Python in one namespace, the shell line by line."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from docs_tools.markdown import Block
from ryla_gen.errors import InvalidInputError
from ryla_gen_cli import app

SHELL = ("sh", "bash", "shell")
PLAIN_COMMANDS = ("ls", "cat", "cp", "mkdir", "head", "rm")
"""Commands beside ours that a page may show; anything else needs a marker with its reason."""
SECONDS = 100
SAVES = re.compile(r"\.save\w*\(")
"""What a script does that must not keep it from running a second time."""
EXIT = re.compile(r"#.*\bexit (\d+)\b")
PLACEHOLDER = re.compile(r"[A-Z]{2,}|…|\.\.\.|<")

LANGUAGES = {
    "python": "python",
    "py": "python",
    "json": "json",
    "jsonl": "jsonl",
    "toml": "toml",
    "csv": "text",
    "text": "text",
    "mermaid": "text",
    "typescript": "typescript",
    "ts": "typescript",
    **dict.fromkeys(SHELL, "shell"),
}


COMMANDS = re.compile(r"^(?:\$ |export |[A-Z_]+=\S+ )?(?:\S*/)?(?:ryla-gen|pip|python3?|modal|comfy|mkdocs|npm)\b", re.MULTILINE)


def kind(block: Block) -> str:
    """What to do with a block; one without a language is for the shell when it has a command, else something that was said."""
    assert block.language in LANGUAGES or not block.language, f"{block.place}: no rule for {block.language!r} blocks"
    return LANGUAGES.get(block.language) or ("shell" if COMMANDS.search(block.text) else "text")


class Reader:
    """Somebody who tries every block of one page."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.environment = monkeypatch
        self.names: dict[str, Any] = {"__name__": "__main__"}

    def does(self, block: Block) -> None:
        """Run one block, or parse it where it cannot run here."""
        what = kind(block)
        if what == "typescript" or block.in_ci:
            return  # one compiler run takes all TypeScript; .ci/run runs what is marked for it
        if block.file:
            (self.folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / block.file).write_text(block.text + "\n", encoding="utf-8")
        if what == "json":
            json.loads(block.text)
        elif what == "jsonl":
            assert [json.loads(line) for line in block.text.splitlines() if line.strip()]
        elif what == "toml":
            tomllib.loads(block.text)
        elif what == "python":
            self._python(block)
        elif what == "shell" and not block.not_run:
            self._shell(block)
        elif what == "shell":
            for line in shell_lines(block.text):
                check_line(line, block.place)

    def _python(self, block: Block) -> None:
        source = "\n" * block.line + block.text  # so that a traceback names the line of the page
        code = compile(source, block.page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        check_imports(block)
        if block.not_run or block.file:
            return
        for _ in range(2 if SAVES.search(block.text) else 1):  # a reader runs a script again, in the same folder
            made = eval(code, self.names)  # the pages are ours
            if code.co_flags & inspect.CO_COROUTINE:
                asyncio.run(made)

    def _shell(self, block: Block) -> None:
        """Run a block; where it shows what an error says, it has to say just that."""
        refusals = re.findall(r"^\$ (.+)\n(error\[.+)$", block.text, re.MULTILINE)
        for line in shell_lines(block.text):
            said = next((words for command, words in refusals if command == line), None)
            if said is None:
                self._line(line, block.place)
                continue
            with redirect_stderr(io.StringIO()) as words:
                code, _ = self._command(shlex.split(line), block.place)
            assert code != 0, f"{block.place}: {line}: it did not fail"
            assert said in words.getvalue(), f"{block.place}: {line}: {words.getvalue()}"

    def _line(self, line: str, place: str) -> None:
        check_line(line, place)
        wanted = int(match[1]) if (match := EXIT.search(line)) else 0
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            self.environment.setenv(*words.pop(0).split("=", 1))
        if not words or words[0] == "export":
            for word in words[1:]:
                self.environment.setenv(*word.split("=", 1))
            return
        target = words.pop() if ">" in words else None
        if target is not None:
            assert words.pop() == ">", f"{place}: {line}: only one `> FILE`, at the end"
        code, out = self._command(words, place)
        assert code == wanted, f"{place}: {line}: exit {code}"
        if target is not None:
            (self.folder / target).write_bytes(out)

    def _command(self, words: list[str], place: str) -> tuple[int, bytes]:
        if words[0] == "cd":
            self.environment.chdir(words[1])
            return 0, b""
        if words[0] in PLAIN_COMMANDS:
            done = subprocess.run(words, capture_output=True, timeout=SECONDS)
            return done.returncode, done.stdout
        assert words[0] == "ryla-gen", f"{place}: {words[0]} does not run here: say why, <!-- not run: REASON -->"
        with captured() as sink:
            code = app.run(words[1:])
        return code, bytes(sink.kept)


class _Sink(io.RawIOBase):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.kept += bytes(data)
        return len(data)


@contextmanager
def captured() -> Iterator[_Sink]:
    """What a command of this process writes to standard output, as bytes."""
    sink, before = _Sink(), sys.stdout
    stream = io.TextIOWrapper(sink, encoding="utf-8", write_through=True)
    sys.stdout = stream
    try:
        yield sink
    finally:
        sys.stdout = before
        stream.flush()
        stream.detach()


def shell_lines(text: str) -> Iterator[str]:
    """Every command line, continued lines joined, comments and prompts dropped; where prompts are shown, the rest is output."""
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    prompted = any(line.startswith("$ ") for line in lines)
    for line in lines:
        if prompted and not line.startswith("$ "):
            continue
        bare = line.strip().removeprefix("$ ")
        if bare and not bare.startswith("#"):
            yield bare


def check_line(line: str, place: str) -> None:
    """Hold every ``ryla-gen`` of a line against the real parser: command, options, required arguments, nothing left over."""
    for part in re.split(r"\s(?:&&|\|)\s", line):
        words = shlex.split(part, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words and (words[0] == "ryla-gen" or words[0].endswith("/ryla-gen")):
            end = next((words.index(sign) for sign in (">", "2>", "&", ">>") if sign in words), len(words))
            problem = misfit(words[1:end])
            assert not problem, f"{place}: {line}: {problem}"


def misfit(words: list[str], *, whole: bool = True) -> str:
    """What the parser has against a command line; with ``whole=False`` placeholders and missing arguments are fine."""
    command: Any = typer.main.get_command(app.app)
    context: Any = None
    name, rest = "ryla-gen", list(words)
    while True:
        context = typer.Context(command, info_name=name, parent=context)
        if not hasattr(command, "get_command") or not rest or rest[0].startswith("-"):
            break
        if name == "deploy" and rest[0].endswith(".lock"):  # short for its subcommand
            rest.insert(0, "graph")
        try:
            found = command.get_command(context, rest[0])
        except InvalidInputError as error:
            return "" if not whole else str(error)
        if found is None:
            if not whole and (PLACEHOLDER.search(rest[0]) or "|" in rest[0]):
                return ""
            positional = any(item.param_type_name == "argument" for item in command.params)
            if positional:
                break
            return f"there is no command {rest[0]!r}"
        command, name, rest = found, rest[0], rest[1:]
    if hasattr(command, "get_command") and whole and not rest:
        return ""
    return _options(command, context, rest, whole)


def _options(command: Any, context: Any, rest: list[str], whole: bool) -> str:
    if not whole:
        known = {option for item in command.get_params(context) for option in (*item.opts, *item.secondary_opts)}
        given = [word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
        return ", ".join(f"there is no option {word}" for word in given if word not in known)
    try:
        found, left, _ = command.make_parser(context).parse_args(rest)
    except app.USAGE_ERROR as error:
        return str(error.format_message())
    if found.get("help") or left:
        return f"too much: {left}" if left else ""
    missing = [item.name for item in command.get_params(context) if item.required and _empty(found.get(item.name))]
    return f"missing: {missing}" if missing else ""


def _empty(value: object) -> bool:
    return value is None or value == () or "UNSET" in repr(value).upper()


def check_imports(block: Block) -> None:
    """Every name that a block takes from our packages is there."""
    for node in ast.walk(ast.parse(block.text)) if "await" not in block.text else ():
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ryla_gen":
            module = import_module(str(node.module))
            absent = [item.name for item in node.names if not hasattr(module, item.name) and not _is_module(node.module, item.name)]
            assert not absent, f"{block.place}: {node.module} has no {absent}"


def _is_module(package: str | None, name: str) -> bool:
    try:
        import_module(f"{package}.{name}")
    except ModuleNotFoundError:
        return False
    return True
