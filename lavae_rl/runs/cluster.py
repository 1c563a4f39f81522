"""Ray: a cluster of this machine or of many, joined for as long as it is needed."""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Generic, ParamSpec

# Read by Ray when it is imported, so before that: a cluster of this machine alone would listen on all networks.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

LOCAL = "local"
"""Address that stands for this machine alone."""
RETRIES = 2
"""Times that work is begun again after its machine was lost."""

Given = ParamSpec("Given")


def require_ray() -> None:
    """Raise a ValueError that says how to install Ray where it is not."""
    if find_spec("ray") is None:
        raise ValueError("expected Ray, which is not installed: pip install 'lavae-rl[rllib]'")


@contextmanager
def ray_cluster(address: str, cores: int) -> Iterator[int]:
    """Join the Ray cluster at an address, or start one of this machine alone; leave it at the end.

    Yields its number of cores.

    Args:
        address: HOST:PORT, "auto" for the cluster that this machine is part of, or "local".
        cores: number of cores needed at the same time. On this machine they are promised even where there are less.

    Raises:
        ValueError: Ray is not installed, there is no such cluster, or it has less cores.
    """
    require_ray()
    ray: Any = importlib.import_module("ray")
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address == LOCAL:
        promised = max(cores, os.cpu_count() or 1)
        ray.init(LOCAL, _node_ip_address="127.0.0.1", num_cpus=promised, include_dashboard=False, **quiet)
    else:
        try:
            ray.init(address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            start = "start one with `ray start --head`, see docs/distributed.md"
            raise ValueError(f"expected a Ray cluster at {address}, got none ({error}): {start}") from error
    try:
        if (there := int(ray.cluster_resources().get("CPU", 0))) < cores:
            raise ValueError(
                f"expected a cluster of at least {cores} cores, got {there}: ask for less, or add machines"
            )
        yield there
    finally:
        ray.shutdown()


class WorkLostError(Exception):
    """Work that was cancelled, or whose machines were lost too often."""


class RemoteWork(Generic[Given]):
    """Work that is done on a core of the cluster, and again elsewhere where its machine is lost.

    A call waits for the end of the work, and raises what it raised, or WorkLostError.
    """

    def __init__(self, work: Callable[Given, None]) -> None:
        self._ray: Any = importlib.import_module("ray")
        self._remote = self._ray.remote(num_cpus=1, max_retries=RETRIES)(work)
        self._at_work: set[Any] = set()

    def __call__(self, *args: Given.args, **kwargs: Given.kwargs) -> None:
        """Have the work done."""
        reference = self._remote.remote(*args, **kwargs)
        self._at_work.add(reference)
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            raise WorkLostError(f"cancelled, or its machines were lost {RETRIES + 1} times: {error}") from error
        finally:
            self._at_work.discard(reference)

    def cancel(self) -> None:
        """End all work."""
        for reference in list(self._at_work):
            self._ray.cancel(reference, force=True)
