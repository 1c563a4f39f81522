"""Weights and states of optimisers that were read from files: checked before they are taken up."""

import io
import math
import pickle
from collections.abc import Mapping
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch
from torch import Tensor, nn

from lavae_rl.runs.reading import shortened

_MISFIT = " does not fit its config.json: "


def read_torch(content: bytes, name: str, device: str | torch.device) -> Any:
    """Read what ``torch.save`` wrote, without running code from it, in memory for what the file holds and no more.

    Raises:
        ValueError: it is truncated, damaged, or something else; ``name`` says what.
    """
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            if any(member.compress_type != ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed, as torch.save never does")
            if (damaged := archive.testzip()) is not None:  # PyTorch itself does not look
                raise ValueError(f"the checksum of {damaged} is another")
        return torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except (
        *(ArithmeticError, AssertionError, AttributeError, BadZipFile, EOFError, LookupError, MemoryError),
        *(NotImplementedError, OSError, pickle.UnpicklingError, RecursionError, RuntimeError, TypeError, ValueError),
    ) as error:
        raise ValueError(f"{name} is truncated or damaged: {shortened(error)}") from error


def check_weights(found: Any, module: nn.Module, name: str) -> None:
    """Refuse weights that are not those of a module: others, of whole numbers, not finite, or all zero.

    Raises:
        ValueError: such weights; ``name`` says whose.
    """
    expected = module.state_dict()
    check_tensors(found, {key: value for key, value in expected.items() if isinstance(value, Tensor)}, name)
    learned = [found[key] for key, parameter in module.named_parameters() if key in found and parameter.numel()]
    if learned and not any(bool(value.any()) for value in learned):
        raise ValueError(f"{name} holds nothing but zeros: it was never written whole, or is no model")


def check_tensors(found: Any, expected: Mapping[str, Tensor], name: str) -> None:
    """Refuse tensors of other names, shapes or kinds of numbers than expected, and such as are not finite.

    Raises:
        ValueError: such tensors; ``name`` says whose.
    """
    if not isinstance(found, Mapping):
        raise ValueError(f"expected {name} to hold tensors by name, got {type(found).__name__}")
    if different := sorted(map(str, found.keys() ^ expected.keys())):
        raise ValueError(f"{name}{_MISFIT}it has other tensors ({shortened(different)})")
    for key, value in found.items():
        wanted = expected[key]
        if not isinstance(value, Tensor) or value.shape != wanted.shape:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{name}{_MISFIT}expected {key} of shape {tuple(wanted.shape)}, got {got}")
        alike = value.is_floating_point() if wanted.is_floating_point() else value.dtype == wanted.dtype
        if not alike:
            raise ValueError(f"expected {key} as {wanted.dtype} in {name}, got {value.dtype}")
        if value.is_floating_point() and not torch.isfinite(value.float()).all():
            raise ValueError(f"{name} holds NaN or infinite weights: {key}")


def check_optimizer(found: Any, optimizer: torch.optim.Optimizer, name: str) -> None:
    """Refuse a state that is not one of an optimiser: of other parameters, settings of another type, or not finite.

    Raises:
        ValueError: such a state; ``name`` says whose.
    """
    own = optimizer.state_dict()
    groups, states = (found.get(key) for key in ("param_groups", "state")) if isinstance(found, Mapping) else (0, 0)
    if not isinstance(groups, list) or not isinstance(states, Mapping) or len(groups) != len(own["param_groups"]):
        raise ValueError(f"{name}{_MISFIT}expected the state of an optimiser of {len(own['param_groups'])} groups")
    for group, wanted in zip(groups, own["param_groups"], strict=True):
        if not isinstance(group, Mapping) or group.get("params") != wanted["params"] or not _alike(group, wanted):
            raise ValueError(f"{name}{_MISFIT}it is the state of another optimiser or of other parameters")
    parameters = dict(enumerate(parameter for group in optimizer.param_groups for parameter in group["params"]))
    names = {frozenset(state) for state in states.values() if isinstance(state, Mapping)}
    for index, state in states.items():
        if index not in parameters or not isinstance(state, Mapping) or len(names) > 1:
            raise ValueError(f"{name}{_MISFIT}it holds the state of a parameter that is not there")
        for key, value in state.items():
            _check_entry(key, value, parameters[index], name)


def _alike(group: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether settings have the kinds of others; what is None may be anything in another version of PyTorch."""

    def kind(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return tuple(map(kind, value))
        return type(value) if isinstance(value, bool) or not isinstance(value, int | float) else math.isfinite(value)

    pairs = [(group[key], value) for key, value in wanted.items() if key in group and key != "params"]
    return all(kind(found) == kind(value) for found, value in pairs if None not in (found, value))


def _check_entry(key: object, value: Any, parameter: Tensor, name: str) -> None:
    """Refuse what is neither a number nor as large as the parameter."""
    number = torch.as_tensor(value) if isinstance(value, int | float | Tensor) else None
    if number is None or number.shape not in ((), parameter.shape) or not torch.isfinite(number.float()).all():
        raise ValueError(f"{name}{_MISFIT}{key} is not what an optimiser notes of a parameter")
