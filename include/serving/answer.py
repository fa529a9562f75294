"""An answer of the model server, as its observers get it: request log, shadow and metrics."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """The rows of one request, and what a version predicted for them.

    :param version: the version that predicted
    :param inputs: the checked cells by the names of ``problem.inputs``; None for a missing one
    :param outputs: by name ``prediction``, ``warnings`` and, of a model that gives them, ``lower`` and ``upper``
    :param ids: the ``prediction_id`` of each row: that of the request in the header ``X-Prediction-Id``, ``-``, and the
        number of the row, from 1
    """

    version: str
    inputs: Mapping[str, Sequence[Any]]
    outputs: Mapping[str, Sequence[Any]]
    ids: Sequence[str]


Observer = Callable[[Answer], None]  # called on the event loop after the response: must return at once
