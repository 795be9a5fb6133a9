"""The TypeScript away from this repository, as its README promises: the folder and its modules build and test alone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from .conftest import SOURCES, execute, good

NEEDS_NEST = "nest.test.ts"
"""The one test of an example; a backend that copies the modules has neither."""


def passed(printed: str) -> int:
    """How many tests node ran; all of them passed."""
    counts = {name: int(count) for name, count in re.findall(r"^\D* (tests|pass) (\d+)$", printed, re.MULTILINE)}
    assert counts["tests"] == counts["pass"], printed
    return counts["pass"]


def copied(folder: Path, node_modules: Path, pattern: str) -> Path:
    """A folder with the modules that match, the tests, and what package.json installs."""
    for path in [*SOURCES.glob(pattern), *SOURCES.glob("test/*"), *SOURCES.glob("*.json")]:
        target = folder / path.relative_to(SOURCES)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    (folder / "node_modules").symlink_to(node_modules)
    return folder


def test_the_folder_copied_out_of_the_repository_builds_and_tests_alone(node_modules: Path, tmp_path: Path) -> None:
    folder = copied(tmp_path, node_modules, "src/**/*.ts")
    assert passed(good(execute("npm", "test", cwd=folder))) >= 17


def test_the_modules_without_the_examples_build_and_test_in_a_backend(node_modules: Path, tmp_path: Path) -> None:
    folder = copied(tmp_path, node_modules, "src/*.ts")
    (folder / "test" / NEEDS_NEST).unlink()
    assert passed(good(execute("npm", "test", cwd=folder))) >= 16


COMMONJS = {
    "compilerOptions": {
        **dict.fromkeys(("strict", "experimentalDecorators", "emitDecoratorMetadata", "skipLibCheck"), True),
        "target": "es2022",
        "module": "commonjs",
        "moduleResolution": "node10",
        "rootDir": "src",
        "outDir": "dist",
    },
    "include": ["src"],
}
"""What a NestJS project sets."""
ASK = 'new (require("./dist/jobRunner.js").ModalJobRunner)().getJobStatus("x").then(({ status }) => console.log(status))'


def test_the_modules_compile_and_load_as_commonjs(node_modules: Path, tmp_path: Path) -> None:
    folder = copied(tmp_path, node_modules, "src/*.ts")
    (folder / "package.json").write_text("{}", encoding="utf-8")
    (folder / "tsconfig.json").write_text(json.dumps(COMMONJS), encoding="utf-8")
    good(execute("node", "node_modules/typescript/bin/tsc", cwd=folder))
    assert good(execute("node", "-e", ASK, cwd=folder)) == "FAILED\n"


def test_the_modules_need_modals_sdk_and_nothing_else() -> None:
    sources = {path.name: path.read_text(encoding="utf-8") for path in SOURCES.glob("src/*.ts")}
    foreign = {
        imported
        for text in sources.values()
        for imported in re.findall(r"^(?:import|export)\b[^;]*?from \"([^\"]+)\"", text, re.MULTILINE)
        if not imported.startswith(("./", "node:"))
    }
    assert foreign == {"modal"}
