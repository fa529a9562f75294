"""A model is loaded, applied to its input, and its result left in a folder."""

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
    """Call :func:`predict` with the arguments in the file ``job``; leave a file ``result`` or ``error``."""
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
    """Apply a model to an input, both of which arrive in the folder while this process starts.

    Files ``model`` and ``input`` in it name where they are; a file ``failed`` says that they will not come. The result
    is returned as JSON can hold it, or written to ``output`` in the folder. ``parent`` is the task's process id.
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
    # What the imports create lives to the end; looking for garbage in it takes 0.4 s here and at exit.
    gc.disable()
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(wait_for("model", folder, parent), suppress_warnings=suppress_warnings)
    gc.freeze()
    gc.enable()
    return model


def wait_for(name: str, folder: Path, parent: int) -> str:
    """Return the path that a file of the folder names, as soon as it is there."""
    while not (folder / name).exists():
        if (folder / "failed").exists() or os.getppid() != parent:
            sys.exit(f"the {name} did not arrive")
        time.sleep(0.01)
    return (folder / name).read_text()


def apply(model: Any, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Any]]:
    """Yield each chunk with what the model makes of it."""
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
