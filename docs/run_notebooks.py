"""Runs the notebooks of docs/notebooks/ and keeps what they print and draw (``make notebooks``).

Each runs in an empty folder; one that raises ends this with its traceback.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent / "notebooks"
SECONDS = 300


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as empty:
            place = {"metadata": {"path": empty}}
            NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=place).execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # when it ran
        nbformat.write(notebook, path)
        print(path)


if __name__ == "__main__":
    main()
