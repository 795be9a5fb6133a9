"""The house rule, read from the source: imports run down the floors, files and functions stay small, names are documented."""

from __future__ import annotations

import ast
import functools
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ryla_gen"
COMMANDS = ROOT / "cli" / "ryla_gen_cli"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "version", "names", "support", "events"),
    ("settings", "media", "notebook", "models", "graphs", "locks", "comfy"),
    ("workflows", "results"),
    ("history", "delivery", "contract", "costs", "telemetry", "engine", "emulator", "faces"),
    ("remote", "backends"),
    ("forgetting", "client", "characters", "batches"),
    ("tools",),
)
"""Rooms of ``ryla_gen``, floor by floor from the ground up. A module imports from floors below its own, and on its own floor from
rooms named before its room."""
ORDER = {room: at for at, room in enumerate(room for floor in FLOORS for room in floor)}

GROUND = {"base", "graph", "messages", "abilities"}
"""Modules that the others of their folder build on."""
BELOW = {"workflows": {"fields", "facts", "parts", "presets"}}
"""Folder → what lies below its ground: types and tables that ``base`` is made of, which import nothing else of the folder."""

SOURCES = sorted([*PACKAGE.rglob("*.py"), *COMMANDS.rglob("*.py")])


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def part(dotted: str) -> str:
    """The floor's name in ``ryla_gen.workflows.base``: ``workflows``."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else ""


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The source of a file, parsed once for all tests of it."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Every module of ours that a file imports, as a dotted name, and whether only type checkers see it."""
    return tuple(read_imports(path))


def read_imports(path: Path) -> Iterator[tuple[str, bool]]:
    tree = parsed(path)
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    folder = package if path.name == "__init__.py" else package.rpartition(".")[0]
    guarded = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in {part.removeprefix(".") for part in identifiers(node.test)}
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((item.name, node in guarded) for item in node.names if item.name.split(".")[0].startswith("ryla_gen"))
        if isinstance(node, ast.ImportFrom):
            base = ".".join(folder.split(".")[: len(folder.split(".")) - node.level + 1]) if node.level else ""
            module = f"{base}.{node.module}" if base and node.module else base or (node.module or "")
            if module.split(".")[0] in ("ryla_gen", "ryla_gen_cli", "cli"):
                for item in node.names:  # ``from . import media`` is the module, ``from .media import read`` too
                    inner = f"{module}.{item.name}".removeprefix("cli.")
                    yield (inner if is_module(inner) else module.removeprefix("cli.")), node in guarded


@functools.cache
def is_module(dotted: str) -> bool:
    place = (COMMANDS.parent if dotted.startswith("ryla_gen_cli") else ROOT).joinpath(*dotted.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


INSIDE = [path for path in SOURCES if path.is_relative_to(PACKAGE) and path != PACKAGE / "__init__.py"]
"""All but the package's own ``__init__``, which stands above every floor: it hands out names from all of them."""


@pytest.mark.parametrize("path", INSIDE, ids=name)
def test_imports_run_down_the_floors(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in ORDER, f"{own} stands on no floor"
    for module, _ in imports(path):
        assert not module.startswith("ryla_gen_cli"), f"{name(path)} imports the command line"
        other = part(module)
        if other != own and module != "ryla_gen":
            assert other in ORDER, f"{name(path)} imports {module}, which stands on no floor"
            assert ORDER[other] < ORDER[own], f"{name(path)} imports {module}, which stands above it"


def test_the_list_of_floors_names_what_is_there_and_nothing_else() -> None:
    there = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in INSIDE}
    assert set(ORDER) == there


def test_every_folder_says_what_it_is_for() -> None:
    folders = {path.parent for path in SOURCES}
    assert [name(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def within(path: Path) -> set[str]:
    """What a module imports from its own folder, type checkers' imports left out."""
    folder = ".".join(path.parent.relative_to(ROOT).parts)
    return {module for module, typing_only in imports(path) if module.startswith(f"{folder}.") and not typing_only}


def ground_of(folder: Path) -> set[str]:
    return GROUND | BELOW.get(folder.name, set())


@pytest.mark.parametrize(
    "path", [path for path in INSIDE if path.parent != PACKAGE and path.stem in ground_of(path.parent)], ids=name
)
def test_inside_a_folder_the_ground_stands_on_ground_alone(path: Path) -> None:
    below = BELOW.get(path.parent.name, set())
    allowed = below if path.stem in below else ground_of(path.parent)
    assert {module.rpartition(".")[2] for module in within(path)} <= allowed


def test_no_circles() -> None:
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix("cli.").removesuffix(".__init__")
        graph[module] = {target for target, typing_only in imports(path) if not typing_only} - {module}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " → ".join((*way, module))
        if module not in done:
            for target in graph.get(module, ()):
                if target in graph and not module.startswith(f"{target}.") and target != "ryla_gen":
                    visit(target, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_files_and_functions_stay_small() -> None:
    lines = {name(path): path.read_text(encoding="utf-8").count("\n") for path in SOURCES}
    assert {file: count for file, count in lines.items() if count > 400} == {}
    assert lines["ryla_gen/remote/app.py"] < 300, "the Modal app is thin"
    assert statistics.median(lines.values()) <= 150
    sizes = sorted((length(node), f"{name(path)}:{node.name}") for path in SOURCES for node in functions(path))
    assert [item for item in sizes if item[0] > 60] == []
    assert sizes[int(len(sizes) * 0.95)][0] <= 30
    assert statistics.median(count for count, _ in sizes) <= 9


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_every_public_name_has_a_docstring_and_every_parameter_a_type(path: Path) -> None:
    tree = parsed(path)
    assert ast.get_docstring(tree), "no module docstring"
    missing = []
    for owner in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))]:
        for node in owner.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                overloaded = any(ast.unparse(item) == "overload" for item in getattr(node, "decorator_list", []))
                if not ast.get_docstring(node) and not overloaded:
                    missing.append(node.name)
    assert missing == []
    for node in functions(path):
        parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        assert [item.arg for item in parameters if item.annotation is None and item.arg not in ("self", "cls")] == [], node.name
        assert node.returns is not None, node.name


HOLDS_NOTHING = {"events", "iter_any", "iter_chunked", "multipart"}
"""Methods whose iterators may be left to the garbage collector: they read a list in memory, or a response that has an owner."""


def left_open(path: Path) -> Iterator[str]:
    """Yield every loop over an asynchronous generator that is left open where the loop ends early: Python closes it some time."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.AsyncFor):
            call = node.iter.value if isinstance(node.iter, ast.Await) else node.iter
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") not in HOLDS_NOTHING:
                yield f"line {node.lineno}: {ast.unparse(node.iter)}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_loop_over_a_generator_closes_it(path: Path) -> None:
    assert list(left_open(path)) == [], "async with aclosing(…) as items: async for item in items"


@pytest.mark.parametrize(
    ("line", "count"),
    [("async for x in read(path): y(x)", 1), ("async for x in await read(): pass", 1), ("async for x in stream: pass", 0)],
)
def test_such_a_loop_is_noticed(line: str, count: int, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(f"async def f():\n    {line}\n", encoding="utf-8")
    assert len(list(left_open(file))) == count


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_plain_code_waits_where_an_interrupt_is_always_seen(path: Path) -> None:
    """A loop of asyncio.run sleeps through an interrupt that comes just before it; one with handlers of its own is woken."""
    if name(path) != "ryla_gen/tools/mcp/__init__.py":
        assert "asyncio.run(" not in path.read_text(encoding="utf-8"), "run_async of support/loop_thread.py"


def test_the_package_says_what_it_exports() -> None:
    import ryla_gen

    assert len(ryla_gen.__all__) == len(set(ryla_gen.__all__)), "each once; their order is ruff's to check"
    assert set(ryla_gen.__all__) == {"__version__", "errors", *ryla_gen._MODULE_OF}
    for exported in ryla_gen.__all__:
        assert getattr(ryla_gen, exported) is not None
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imported = [node for node in guarded.body if isinstance(node, ast.ImportFrom) and node.level]
    shown = {item.asname or item.name for node in imported for item in node.names}
    assert {"__version__", *shown} == set(ryla_gen.__all__), "type checkers and editors see what there is"
    with pytest.raises(AttributeError, match="nothing_like_it"):
        ryla_gen.nothing_like_it  # noqa: B018


def test_the_page_of_dependencies_names_every_one_and_no_other() -> None:
    import re
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {extra: package_names(wanted) for extra, wanted in project["optional-dependencies"].items()}
    others = set().union(*(names for extra, names in extras.items() if extra != "dev"))
    extras["dev"] -= others  # the tests need some of the extras; the table names them once
    table = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    named: dict[str, set[str]] = {}
    for cell in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE):
        words, _, extra = cell.partition(" (extra `")
        if not cell.startswith(("package", "---")):
            named.setdefault(extra.removesuffix("`)"), set()).update(re.split(r", (?:with )?", words))
    assert named.pop("") == package_names(project["dependencies"])
    assert named == extras


def package_names(wanted: list[str]) -> set[str]:
    """The names in requirements such as ``pyright[nodejs]>=1.1``."""
    return {re.split(r"[\[<>=!~ ]", item)[0] for item in wanted}


OTHER_WORDS = {"flux": {".name", "workflow"}, "sdxl": {".name"}, "workflow": {".name", "name", "workflow"}}
"""Names of workflows that are words of other things too (a base model and a family; what a completion is about) → what makes a
comparison with one a question about a workflow."""


NO_WORKFLOW = {"ryla_gen/graphs/graph_file.py": {"name.lower() in ('prompt', 'workflow')"}}
"""File → comparisons in it with such a word that are about something else: the texts inside a picture are called so."""


def identifiers(node: ast.AST) -> set[str]:
    """The names in an expression, attributes with their dot."""
    return {
        item.id if isinstance(item, ast.Name) else f".{item.attr}"
        for item in ast.walk(node)
        if isinstance(item, ast.Name | ast.Attribute)
    }


def about_one_workflow(path: Path) -> Iterator[str]:
    """Every question of a module about one built-in workflow: by its class, or by comparing something with its name."""
    from ryla_gen.workflows.registry import BUILT_IN

    classes = {place.partition(":")[2] for place in BUILT_IN.values()}
    for node in ast.walk(parsed(path)):
        asks = isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass")
        if asks and {item.removeprefix(".") for item in identifiers(node)} & classes:
            yield f"line {node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.Compare):
            words = {item.value for item in ast.walk(node) if isinstance(item, ast.Constant) and isinstance(item.value, str)}
            found = words & set(BUILT_IN)
            if any(word not in OTHER_WORDS or OTHER_WORDS[word] & identifiers(node) for word in found):
                yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parent != PACKAGE / "workflows"], ids=name)
def test_no_module_outside_the_workflows_asks_which_one_it_is(path: Path) -> None:
    """An ability is asked of the workflow, or read from its graph: so plug-ins and graphs of one's own have it too."""
    allowed = NO_WORKFLOW.get(name(path), set())
    assert [question for question in about_one_workflow(path) if question.partition(": ")[2] not in allowed] == []


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("isinstance(x, FluxPulid)", 1),
        ("isinstance(x, (int, flux.FluxLora))", 1),
        ("issubclass(cls, CustomWorkflow)", 1),
        ("isinstance(x, Workflow)", 0),
        ("x.name == 'workflow'", 1),
        ("name != 'seedvr2'", 1),
        ("workflow in ('wan2', 'x')", 1),
        ("workflow.name == 'flux'", 1),
        ("name == 'workflow'", 1),
        ("card.base == 'flux'", 0),
        ("kind == 'workflow'", 0),
    ],
)
def test_such_a_question_is_noticed(line: str, count: int, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(line, encoding="utf-8")
    assert len(list(about_one_workflow(file))) == count


def test_every_tracked_file_has_a_name_that_every_system_takes() -> None:
    import subprocess

    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout
    names = [item.decode("utf-8", "replace") for item in listed.split(b"\0") if item]
    assert [item for item in names if not item.isascii() or set(item) & set('<>:"|?*\\')] == []
