"""The memory that a task may have, and what happens to one that needs more."""

import resource
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

from include.services import lineage
from include.settings import TASK_MEMORY


def limit_memory(context: Any) -> None:
    """Limit the data of this process, and of each that it starts, as Airflow's ``pre_execute``.

    A request for more is a MemoryError in the task, and not the end of another process of the machine. Linux counts
    what is allocated, used or not; macOS does not keep to the limit.
    """
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    least = min([int(TASK_MEMORY), *(limit for limit in limits if limit != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_DATA, (least, limits[1]))


class OutOfMemoryPolicy(RetryPolicy):
    """Does not repeat a task that ran out of memory, and says how much it may have and what it had read."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Return the decision; the message of the exception, which alerts quote, becomes the reason."""
        if not (isinstance(exception, MemoryError) or "MemoryError" in str(exception)):
            return RetryDecision.default()
        reason = describe(exception)
        exception.args = (reason,)
        return RetryDecision.fail(reason)


def describe(error: BaseException) -> str:
    """Return what a task that ran out of memory had, what it had read, and the remedy."""
    read = ", ".join(f"{table.rows:,} rows of {dataset.name}" for dataset, table in lineage.tables_read().items())
    return (
        f"more memory is needed than the {TASK_MEMORY / 1e6:,.0f} MB that a process of a task may have "
        f"(TASK_MEMORY_MB, to be raised where the machine has more){f'; it had read {read}' if read else ''}: "
        f"{error or type(error).__name__}"
    )
