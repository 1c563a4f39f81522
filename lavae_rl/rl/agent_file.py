"""agent.zip as Stable-Baselines3 writes it, read without running code from it.

Stable-Baselines3 itself unpickles parts of the member ``data``, and with them any code that somebody has put there.
Here, the settings come from config.json, tensors are read by ``torch.load(weights_only=True)``, and of ``data`` the
numbers that a training counts are read as JSON.
"""

import json
import math
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from lavae_rl.runs.archives import open_zip
from lavae_rl.runs.reading import shortened
from lavae_rl.runs.weights import check_optimizer, check_tensors, check_weights, read_torch

_VARIABLES = "pytorch_variables"
_COUNTS = ("num_timesteps", "_total_timesteps", "_num_timesteps_at_start", "_episode_num", "_n_updates", "_n_calls")
_SHARES = ("_current_progress_remaining", "exploration_rate")
"""Whole numbers and others that a training goes on with; some algorithms lack some."""
_MOST_DATA = 2**28
"""Bytes of the largest ``data`` that is read: it holds the last observations."""


def take_up(agent: BaseAlgorithm, path: Path) -> None:
    """Give an agent that was just made the weights, optimisers and counts of a saved one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or is of another agent.
    """
    names, variables = agent._get_torch_save_params()
    with open_zip(path, "agent of Stable-Baselines3") as archive:
        counts = _read_counts(archive, agent, path)
        most = 2**20 + 16 * sum(value.nbytes for value in agent.policy.state_dict().values())
        parts = {name: _read_part(archive, name, most, agent.device, path) for name in (*names, _VARIABLES)}
    held = parts.pop(_VARIABLES)
    for name, found in parts.items():
        part = attrgetter(name)(agent)
        check = check_optimizer if isinstance(part, torch.optim.Optimizer) else check_weights
        check(found, part, f"{name} in {path}")
    own: Mapping[str, Tensor] = {name: attrgetter(name)(agent) for name in variables}
    check_tensors(held, own, f"{_VARIABLES} in {path}")
    agent.set_parameters(parts, exact_match=True, device=agent.device)
    for name, variable in own.items():
        variable.data.copy_(held[name].data)
    vars(agent).update(counts)


def _read_part(archive: ZipFile, name: str, most: int, device: torch.device, path: Path) -> Any:
    return read_torch(_read(archive, f"{name}.pth", most, path), f"{name} in {path}", device)


def _read(archive: ZipFile, member: str, most: int, path: Path) -> bytes:
    if member not in archive.namelist():
        raise ValueError(f"expected {member} in {path}, got {shortened(', '.join(archive.namelist()))}")
    if (size := archive.getinfo(member).file_size) > most:
        raise ValueError(f"expected {member} in {path} to have at most {most:,} bytes, got {size:,}")
    return archive.read(member)


def _read_counts(archive: ZipFile, agent: BaseAlgorithm, path: Path) -> dict[str, int | float]:
    """The numbers that a training goes on with."""
    try:
        data = json.loads(_read(archive, "data", _MOST_DATA, path))
    except RecursionError as error:
        raise ValueError(f"data in {path} is nested too deeply") from error
    if not isinstance(data, dict):
        raise ValueError(f"expected data in {path} to be a JSON object, got {type(data).__name__}")
    found: dict[str, Any] = {name: data.get(name) for name in (*_COUNTS, *_SHARES) if hasattr(agent, name)}
    for name, value in found.items():
        whole = name in _COUNTS
        # The share of steps that remain is below 0 where rollouts are longer than the training.
        if type(value) not in ((int,) if whole else (int, float)) or (whole and not 0 <= value < 2**63):
            raise ValueError(f"expected {name} in {path} to be a number that a training counts, got {value!r}")
        if not math.isfinite(value):
            raise ValueError(f"expected {name} in {path} to be finite, got {value}")
    return found
