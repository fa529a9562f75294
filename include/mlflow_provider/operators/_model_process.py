"""What runs inside a model's own environment.

The whole module is sent there as source, hence it imports neither Airflow nor anything of this package, and
it has no ``from __future__`` line: the script that it becomes part of has one.
"""

import gc
import json
import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any


def load_and_predict(folder: str, output: str | None, suppress_warnings: bool, limit: int) -> Any:
    """Apply a model to an input, both of which arrive in a folder while this process starts.

    :param folder: the folder; a file ``model`` in it names the model's folder, a file ``input`` that of the
        input, and a file ``failed`` says that they will not come
    :param output: name of the Parquet or CSV file to write to the folder, or None to return the result
    :param suppress_warnings: as in ``mlflow.pyfunc.load_model``
    :param limit: bytes of JSON that a returned result may have
    :return: None with ``output``, else lists, numbers or strings; frames and series as pandas' JSON
    """
    model = load_model(Path(folder), suppress_warnings)
    data = read_input(Path(wait_for("input", Path(folder))))
    result = model.predict(data)
    if output is None:
        return small(plain(result), limit)
    write_table(as_frame(result, getattr(data, "index", None)), Path(folder) / output)
    return None


def load_model(folder: Path, suppress_warnings: bool) -> Any:
    # What the imports create lives to the end; looking for garbage in it takes 0.4 s here and at exit.
    gc.disable()
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(wait_for("model", folder), suppress_warnings=suppress_warnings)
    gc.freeze()
    gc.enable()
    return model


def wait_for(name: str, folder: Path) -> str:
    parent = os.getppid()
    while not (folder / name).exists():
        if (folder / "failed").exists() or os.getppid() != parent:
            sys.exit(f"the {name} did not arrive")
        time.sleep(0.01)
    return (folder / name).read_text()


def read_input(path: Path) -> Any:
    import numpy as np
    import pandas as pd

    if path.suffix == ".pickle":
        data = pickle.loads(path.read_bytes())  # noqa: S301 # written by the task that started this process
        if not isinstance(data, list):
            return data
        is_records = bool(data) and isinstance(data[0], dict)
        return pd.DataFrame(data) if is_records else np.array(data)
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".csv":
        return pd.read_csv(path)
    table = pd.read_parquet(path)
    return table.iloc[:, 0] if path.suffix == ".series" else table


def plain(result: Any) -> Any:
    if hasattr(result, "to_json"):
        return result.to_json()
    return result.tolist() if hasattr(result, "tolist") else result


def small(result: Any, limit: int) -> Any:
    size = len(json.dumps(result, default=str))
    if size > limit:
        raise ValueError(
            f"the result has {size} bytes of JSON, more than the {limit} that a task may return: "
            "name a Parquet or CSV object in output_uri"
        )
    return result


def as_frame(result: Any, index: Any) -> Any:
    import numpy as np
    import pandas as pd

    if isinstance(result, pd.DataFrame):
        frame = result
    else:
        values = np.asarray(result)
        values = values.reshape(len(values), -1)
        width = values.shape[1]
        names = ["prediction"] if width == 1 else [f"prediction_{i}" for i in range(width)]
        frame = pd.DataFrame(values, columns=names)
    if index is not None and len(index) == len(frame):
        frame = frame.set_axis(index, axis=0)
    return frame


def write_table(frame: Any, path: Path) -> None:
    import pandas as pd

    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        is_plain = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
        frame.to_csv(path, index=not is_plain)
