"""A cluster that the user already has, by the address of its Dask scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from heavytail.errors import RequestError, visible

__all__ = ["cluster"]

_PATIENCE = 10  # seconds for a scheduler to answer, and for a first worker to be there
_RETRIES = 2  # of Dask's own, of a job whose worker died


@contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """Give the executor of a Dask cluster, and leave the cluster as it was.

    Args:
        address: of its scheduler, such as "tcp://10.0.0.1:8786".

    Raises:
        RequestError: if it is no address, nothing answers there, or there is no worker.
    """
    if find_spec("distributed") is None:
        raise RequestError("--scheduler needs dask: pip install 'heavytail[dask]'")
    from distributed import Client
    from distributed.comm.addressing import get_address_host_port

    try:
        get_address_host_port(address, strict=True)
    except ValueError as error:
        raise RequestError(f"scheduler '{visible(address)}' is no address such as tcp://10.0.0.1:8786") from error
    try:
        client: Any = Client(address, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise RequestError(f"scheduler {visible(address)}: no Dask scheduler answers there") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise RequestError(f"scheduler {visible(address)}: it has no workers") from error
        yield client.get_executor(pure=False, retries=_RETRIES)
