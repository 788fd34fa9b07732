"""Threads that are given tasks as there is memory for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from heavytail.analysis.memory import written

__all__ = ["admitted", "refusal"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def admitted(
    work: Callable[[Task], Result], tasks: Sequence[Task], threads: int, needs: Callable[[Task], int], memory: float
) -> Iterator[Result]:
    """Run tasks in threads, as many at once as there is memory for; a failure, or an end of interest, ends the rest.

    Args:
        work: does a task.
        tasks: the tasks; of those that there is memory for, earlier ones come first.
        threads: number of threads.
        needs: gives the bytes that a task takes.
        memory: bytes that the tasks may take together; one that needs more runs alone.

    Returns:
        The results as they come.

    Example:
        >>> sorted(admitted(lambda n: n * n, [1, 2, 3], 2, lambda n: n, 3))
        [1, 4, 9]
    """
    waiting = list(tasks)
    running: dict[Future[Result], int] = {}
    with ThreadPoolExecutor(threads) as pool:
        try:
            while waiting or running:
                while len(running) < threads:
                    left = memory - sum(running.values())
                    place = next((i for i, task in enumerate(waiting) if needs(task) <= left or not running), None)
                    if place is None:
                        break
                    task = waiting.pop(place)
                    running[pool.submit(work, task)] = needs(task)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    del running[future]
                    yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def refusal(needed: float, room: float) -> str:
    """Say why a task that needs more memory than there is is not done.

    Example:
        >>> refusal(120_000_000, 59_500_000)
        'exact work needs 120 MB at once, and there is room for 59.5 MB'
    """
    return f"exact work needs {written(needed)} at once, and there is room for {written(max(room, 0))}"
