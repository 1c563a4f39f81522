"""Command lines of our programs, as they work for the user at hand: in a checkout, or after an installation."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

_PRETRAIN: Mapping[str, str] = {
    "train_lavae": "lavae-train",
    "collect_frames": "lavae-collect",
    "evaluate_lavae": "lavae-evaluate",
    "reproduce_table1": "lavae-table1",
    "make_figures": "lavae-figures",
    "make_dataset": "lavae-make-dataset",
}
_AGENTS: Mapping[str, str] = {
    "train_agent": "lavae-train-agent",
    "evaluate_agent": "lavae-evaluate-agent",
    "train_rllib": "lavae-train-rllib",
    "benchmark": "lavae-benchmark-agents",
}
PROGRAMS: Mapping[str, str] = {**_PRETRAIN, **_AGENTS}
"""Installed name of each program of ``pretrain`` and ``agents``, by the name of its file."""

_CHECKOUT = Path(__file__).parents[2]
_LAUNCHED = re.compile(r"(accelerate launch [^\n]*?)(pretrain|agents)/(\w+)\.py")
_NAMED = re.compile(rf"(?:python )?\b(?:(pretrain|agents)/)?\b({'|'.join(PROGRAMS)})\.py")


def as_typed(text: str) -> str:
    """Replace names of programs by what can be typed here.

    In the root of the checkout that is ``python pretrain/train_lavae.py``, elsewhere the installed ``lavae-train``; and
    where no such command is found, as without the folder of an environment on PATH, ``python -m`` and the module.
    """
    if Path.cwd() == _CHECKOUT and (_CHECKOUT / "pretrain").is_dir():
        return text
    return _NAMED.sub(_installed, _LAUNCHED.sub(r"\1-m lavae_rl.\2.\3", text))


def _installed(found: re.Match[str]) -> str:
    name = found[2]
    if shutil.which(PROGRAMS[name]) is not None:
        return PROGRAMS[name]
    return f"python -m lavae_rl.{'pretrain' if name in _PRETRAIN else 'agents'}.{name}"
