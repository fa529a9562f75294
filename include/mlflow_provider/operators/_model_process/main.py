"""Load a model, apply it to its input and write the result to a folder."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .inputs import Chunk, read_chunks
from .outputs import write
from .results import collect
from .signature import columns_of, fit


class RowsError(Exception):
    """A model failed on some rows of a table."""


def main() -> None:
    """Call :func:`predict` with the arguments in the file ``job``; write a file ``result`` or ``error``."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job").read_text())
    try:
        result = json.dumps(predict(folder, **job))
    except Exception as error:
        (folder / "error").write_text(message(error))
        raise
    (folder / "result").write_text(result)


def predict(
    folder: Path, parent: int, output: str | None, suppress_warnings: bool, limit: int | None, chunk_size: int | None
) -> Any:
    """Apply a model to an input; both arrive while this process starts.

    The files ``model`` and ``input`` in the folder contain their paths; a file ``failed`` means that they will not
    come. The result is returned as JSON values, or written to ``output`` in the folder. ``parent`` is the task's
    process id.
    """
    model = load_model(folder, parent, suppress_warnings)
    size = chunk_size if output else None
    results = apply(model, read_chunks(Path(wait_for("input", folder, parent)), size, columns_of(model)))
    if output is None:
        return collect(next(results)[1], limit)
    write(results, folder / output)
    return None


def load_model(folder: Path, parent: int, suppress_warnings: bool) -> Any:
    """Import mlflow while the model is fetched, then load it."""
    # Imported objects live to the end; collecting garbage among them takes 0.4 s here and at exit.
    gc.disable()
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(wait_for("model", folder, parent), suppress_warnings=suppress_warnings)
    gc.freeze()
    gc.enable()
    return model


def wait_for(name: str, folder: Path, parent: int) -> str:
    """Wait for a file of the folder, and return the path in it."""
    while not (folder / name).exists():
        if (folder / "failed").exists() or os.getppid() != parent:
            sys.exit(f"the {name} did not arrive")
        time.sleep(0.01)
    return (folder / name).read_text()


def apply(model: Any, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Any]]:
    """Yield each chunk with the model's result."""
    for chunk in chunks:
        try:
            result = model.predict(fit(chunk.data, model))
        except Exception as error:
            if chunk.total is None:
                raise
            raise RowsError(f"{chunk.rows}: {message(error)}") from error
        yield chunk, result


def message(error: Exception) -> str:
    """Return the message of an error."""
    return str(error) if isinstance(error, RowsError) else f"{type(error).__name__}: {error}"
