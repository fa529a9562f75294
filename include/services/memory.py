"""The memory limit of tasks, and no retries for a task that exceeds it."""

import resource
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

from include.services import lineage
from include.settings import TASK_MEMORY


def limit_memory(context: Any) -> None:
    """Limit the memory of this process and of its child processes; a ``pre_execute`` of Airflow.

    Beyond the limit the task gets a MemoryError, instead of the kernel killing some process of the machine. Linux
    counts all allocated memory, used or not; macOS does not enforce the limit.
    """
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    least = min([int(TASK_MEMORY), *(limit for limit in limits if limit != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_DATA, (least, limits[1]))


class OutOfMemoryPolicy(RetryPolicy):
    """Does not retry a task that ran out of memory; the reason names the limit and what the task had read."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Return the decision; its reason also becomes the message of the exception, which alerts quote."""
        if not (isinstance(exception, MemoryError) or "MemoryError" in str(exception)):
            return RetryDecision.default()
        read = ", ".join(f"{table.rows:,} rows of {dataset.name}" for dataset, table in lineage.tables_read().items())
        reason = (
            f"more memory is needed than the {TASK_MEMORY / 1e6:,.0f} MB that a process of a task may have "
            f"(TASK_MEMORY_MB, to be raised where the machine has more){f'; it had read {read}' if read else ''}: "
            f"{str(exception) or type(exception).__name__}"
        )
        exception.args = (reason,)
        return RetryDecision.fail(reason)
