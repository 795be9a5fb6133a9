"""Runs the notebooks of ``examples/notebooks`` from a clean kernel on the emulator, and saves what they show. Changes no source.

``python -m docs_tools.notebooks`` runs all of them, and with names only those. What is different on every machine is left out.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "notebooks"
SECONDS = 110
"""A cell takes one or two; more means that it hangs."""
FOREIGN = ("RYLA_GEN_", "COMFYUI_", "MODAL_", "RUNPOD_", "HF_", "JPY_", "MPLBACKEND")
"""Beginnings of variables that must not reach a notebook."""
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def execute(path: Path, folder: Path) -> NotebookNode:
    """Run a notebook from a clean kernel in a folder that is its working folder, home and temporary folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.

    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    roots = os.pathsep.join([str(ROOT), str(ROOT / "cli")])
    home = {"RYLA_GEN_HOME": str(folder / "home"), "TMPDIR": str(folder), "IPYTHONDIR": str(folder / "ipython")}
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env={**kept, **home, "PYTHONPATH": roots})
    return notebook


def clean(notebook: NotebookNode) -> NotebookNode:
    """Leave out what is different on every machine and at every time; keep sources, ids, counts and what is shown."""
    notebook.metadata = NotebookNode(kernelspec=NotebookNode(KERNEL), language_info=NotebookNode(name="python"))
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = NotebookNode()
    return notebook


def main(names: list[str]) -> None:
    """Run the notebooks of these names, or all, and write them back."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names and path.name not in names:
            continue
        with TemporaryDirectory(prefix="ryla-gen-notebook-") as folder:
            notebook = clean(execute(path, Path(folder)))
            text = nbformat.writes(notebook, version=4) + "\n"
            if folder in text:
                raise SystemExit(f"{path.name}: an output names a folder of this machine; print less.")
        path.with_suffix(".tmp").write_text(text, encoding="utf-8")
        path.with_suffix(".tmp").replace(path)
        sys.stdout.write(f"{path.relative_to(ROOT)}: {len(text) / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main(sys.argv[1:])
