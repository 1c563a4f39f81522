"""Flags of ``agents/train_agent.py`` turned into a run: a new one, or one that is resumed."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavae_rl.model.checkpoint import find, fingerprint
from lavae_rl.registration import task_name
from lavae_rl.rl.observations import require
from lavae_rl.rl.presets import preset_for
from lavae_rl.rl.run import AgentRun, read_run
from lavae_rl.runs.provenance import Provenance
from lavae_rl.runs.settings import check_agreement

DEFAULTS: Mapping[str, Any] = {
    "task": "OddOneOut",
    "observation": "lavae",
    "seed": 0,
    "model": None,
    "eval_every": 100_000,
    "eval_episodes": 200,
}
"""Settings of a run that have no flag; all others are those of the task's preset."""

PRESET_FLAGS = ("algorithm", "steps", "num_envs", "num_objects", "reward", "arch")
"""Fields of a preset that have a flag."""


def given_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that flags give, by the names of ``AgentRun`` and ``Preset``.

    Raises:
        ValueError: an unknown task, or more than two numbers of objects.
    """
    given = {name: flags[name] for name in (*DEFAULTS, *PRESET_FLAGS) if flags[name] is not None}
    if "task" in given:
        given["task"] = task_name(given["task"])
    if numbers := given.get("num_objects"):
        if len(numbers) > 2:
            raise ValueError(f"expected --num-objects as a number or two, got {numbers}")
        given["num_objects"] = tuple(numbers) if len(numbers) == 2 else numbers[0]
    if (model := given.get("model")) and Path(model).is_dir() and find(model) == Path(model):
        given["model"] = str(Path(model).resolve())  # a folder: the agent may be loaded from elsewhere
    return given


def new_run(given: Mapping[str, Any]) -> AgentRun:
    """A run at its beginning.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: values out of their range, or settings that contradict each other.
    """
    settings = {name: given.get(name, default) for name, default in DEFAULTS.items()}
    changed = {name: given[name] for name in PRESET_FLAGS if name in given}
    if "arch" in changed:
        require("--arch", settings["observation"], lambda kind: kind.reads_tokens)
    if settings["model"] is not None:
        require("--model", settings["observation"], lambda kind: kind.wrap)
    usual = preset_for(settings["task"])
    preset = dataclasses.replace(usual, **changed)
    if preset.episode_steps is not None:
        # An agent that points may need a step for each object.
        longer = preset.episode_steps + max(preset.most_objects - usual.most_objects, 0)
        preset = dataclasses.replace(preset, episode_steps=longer)
    run = AgentRun(**settings, preset=preset, provenance=Provenance.here())
    if (folder := run.model_folder()) is not None:
        run.model_fingerprint = fingerprint(folder)
    return run


def resumed_run(folder: Path, given: Mapping[str, Any]) -> AgentRun:
    """The run in a folder, resumed by this process.

    Raises:
        OSError: ``config.json`` or the model cannot be read.
        ValueError: flags contradict the run, its model has changed, or ``config.json`` describes no agent.
    """
    run = read_run(folder)
    check_agreement(folder, vars(run) | vars(run.preset), given)
    run.check_model()
    run.resumed.append(Provenance.here())
    return run
