"""The run of an agent, as ``config.json`` in its run folder describes it: begun with flags, read, resumed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from lavae_rl.model.checkpoint import bundled_names, find, fingerprint, lasting_name
from lavae_rl.policies.set_extractor import ARCHITECTURES
from lavae_rl.registration import TASKS
from lavae_rl.rl.environments import environment_name, is_atari, is_task
from lavae_rl.rl.observations import observation_kind, require, screen_view
from lavae_rl.rl.presets import Preset, preset_for
from lavae_rl.runs.config import CONFIG_FILE, check_agreement, parse, read_json, write_json
from lavae_rl.runs.provenance import Provenance

DEFAULTS: Mapping[str, Any] = {
    "task": "OddOneOut",
    "observation": "lavae",
    "seed": 0,
    "model": None,
    "eval_every": 100_000,
    "eval_episodes": 200,
}
"""Settings of a run whose flags are not given; all others are those of the environment's preset."""
SCREEN_DEFAULTS: Mapping[str, Any] = {"eval_every": 250_000, "eval_episodes": 10}
"""Those that are others where the environment is none of our tasks: episodes may be long there."""
ENGINES: Mapping[str, str] = {"sb3": "train_agent.py", "rllib": "train_rllib.py"}
"""Engines that train agents, Stable-Baselines3 and Ray RLlib, and the program of each."""
PRESET_FLAGS = ("algorithm", "steps", "num_envs", "num_objects", "reward", "arch", "permute_colors", "episodic_life")
"""Fields of a preset that have a flag."""


@dataclass(frozen=True)
class Evaluation:
    """The score of an agent at one step of its training."""

    step: int
    """Environment steps so far."""
    success_rate: float | None = None
    """Share of episodes that succeeded; None where the environment is none of our tasks."""
    seconds: float = 0.0
    """Duration of the training so far, evaluations included."""
    mean_return: float | None = None
    """Mean return of the episodes, of plain rewards, where there is no success."""

    def __post_init__(self) -> None:
        if (self.success_rate is None) == (self.mean_return is None):
            raise ValueError(f"expected success_rate or mean_return, and not both, got {self}")

    @property
    def score(self) -> float:
        """Success rate, or else the mean return."""
        return float(self.success_rate if self.mean_return is None else self.mean_return)  # type: ignore[arg-type]


@dataclass
class AgentRun:
    """The run of an agent: task, settings, provenance and results.

    Unknown tasks or observations and numbers out of range are ValueErrors.
    """

    task: str
    """Name of ``lavae_rl.registration.TASKS``, or the id of another environment."""
    observation: str
    """Name of ``OBSERVATIONS``."""
    seed: int
    """Seed of weights, actions and environments, below 2^32."""
    model: str | None
    """Bundled name or folder of the model that makes the observations; None is the bundled one of the task, or none."""
    eval_every: int
    """Environment steps between evaluations."""
    eval_episodes: int
    """Episodes of an evaluation."""
    preset: Preset
    """Settings of the algorithm."""
    provenance: Provenance
    """Provenance of the process that started the run."""
    model_fingerprint: str | None = None
    """Fingerprint of the model's weights; None without a model, and for agents from before there were fingerprints."""
    evaluations: list[Evaluation] = field(default_factory=list)
    """In the order of their steps."""
    seconds: float = 0.0
    """Duration of the training so far."""
    resumed: list[Provenance] = field(default_factory=list)
    """Provenance of the processes that resumed the run."""
    engine: str = "sb3"
    """Engine that trains the agent, a name of ``ENGINES``."""

    def __post_init__(self) -> None:
        environment_name(self.task)
        if self.engine not in ENGINES:
            raise ValueError(f"expected engine of {', '.join(ENGINES)}, got {self.engine!r}")
        observation_kind(self.observation)
        for name in ("eval_every", "eval_episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")
        if self.preset.arch not in ARCHITECTURES:
            raise ValueError(f"expected arch of {', '.join(ARCHITECTURES)}, got {self.preset.arch!r}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"expected seed of 0 to {2**32 - 1}, got {self.seed}")

    def model_folder(self) -> Path | None:
        """Find the folder of the model that makes the observations; None where no model does."""
        name = observation_kind(self.observation).model(self.task, self.model)
        return None if name is None else find(name)

    def check_model(self) -> None:
        """Refuse, with a ValueError, a model whose weights are not those that the agent was trained on."""
        try:
            folder = self.model_folder()
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}; if it is elsewhere now: --model FOLDER") from error
        if folder is None or self.model_fingerprint in (None, fingerprint(folder)):
            return
        raise ValueError(
            f"expected the model that the agent was trained on, of fingerprint {self.model_fingerprint}, got "
            f"{fingerprint(folder)} in {folder}: its weights have changed; train the agent again, or test it on these "
            f"on purpose: --model {folder}"
        )


def read_run(folder: Path) -> AgentRun:
    """Read ``config.json``, of this version or of 0.1.0.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, of a newer version, or does not describe an agent.
    """
    content = read_json(folder)
    if content.pop("format") == 1:  # provenance was not an object of its own
        names = {entry.name for entry in fields(Provenance)} & content.keys()
        content["provenance"] = {name: content.pop(name) for name in names}
    run = parse(AgentRun, content, folder / CONFIG_FILE)
    if run.model is not None and not Path(run.model).is_dir() and run.model not in bundled_names():
        # A relative path holds in the folder in which the agent was trained, which is one of those around the run.
        around = (parent / run.model for parent in folder.resolve().parents)
        run.model = str(next((path for path in around if path.is_dir()), run.model))
    return run


def write_run(folder: Path, run: AgentRun) -> None:
    """Write ``config.json``; a crash leaves the previous one whole."""
    write_json(folder, asdict(run))


def given_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that flags give, by the names of ``AgentRun`` and ``Preset``.

    Raises:
        ValueError: an unknown task, or more than two numbers of objects.
    """
    given = {name: flags[name] for name in (*DEFAULTS, *PRESET_FLAGS) if flags.get(name) is not None}
    if "task" in given:
        given["task"] = environment_name(given["task"])
    if numbers := given.get("num_objects"):
        if len(numbers) > 2:
            raise ValueError(f"expected --num-objects as a number or two, got {numbers}")
        given["num_objects"] = tuple(numbers) if len(numbers) == 2 else numbers[0]
    if "model" in given:
        given["model"] = lasting_name(given["model"])  # the agent may be loaded from elsewhere
    return given


def defaults_for(name: str) -> dict[str, Any]:
    """``DEFAULTS`` for an environment."""
    return {**DEFAULTS, "task": name} | ({} if is_task(name) else dict(SCREEN_DEFAULTS))


def usual_episodes(name: str) -> int:
    """Episodes that an agent is tested on, unless other numbers are asked for."""
    return 500 if is_task(name) else 20


def check_flags(name: str, observation: str, given: Mapping[str, Any]) -> None:
    """Refuse, with a ValueError, flags that an environment or an observation cannot follow."""
    if "arch" in given:
        require("--arch", observation, lambda kind: kind.reads_tokens)
    if given.get("model") is not None:
        require("--model", observation, lambda kind: kind.wrap)
    rewards = ("sparse", "shaped") if is_task(name) else ("plain", "clipped")
    if given.get("reward", rewards[0]) not in rewards:
        raise ValueError(f"expected --reward {' or '.join(rewards)} for {name}, got {given['reward']}")
    if not is_atari(name) and given.get("episodic_life"):
        raise ValueError(f"expected --episodic-life with an Atari game, got {name}")
    if given.get("permute_colors"):
        require("--permute-colors", observation, lambda kind: kind.view == "pixels")
        _check_colors(name)
    if not is_task(name):
        screen_view(name, observation)
        if "num_objects" in given:
            raise ValueError(f"expected --num-objects with one of our tasks, got it with {name}")


def _check_colors(name: str) -> None:
    """Refuse, with a ValueError, to exchange colours where that would be another task, or there are none."""
    possible = [task for task, spec in TASKS.items() if spec.model == "multi-dsprites" and not spec.names_colors]
    if name not in possible:
        raise ValueError(f"expected --permute-colors with {' or '.join(possible)}, got it with {name}")


def new_run(given: Mapping[str, Any], engine: str = "sb3") -> AgentRun:
    """Begin a run with ``given_settings``, which ``engine`` trains.

    Raises:
        ValueError: values out of their range, or settings that contradict each other.
    """
    settings = defaults_for(given.get("task", DEFAULTS["task"])) | {
        name: given[name] for name in DEFAULTS if name in given
    }
    name, observation = settings["task"], settings["observation"]
    check_flags(name, observation, given)
    usual = preset_for(name)
    preset = replace(usual, **{flag: given[flag] for flag in PRESET_FLAGS if flag in given})
    if preset.episode_steps is not None:
        # An agent that points may need a step for each object.
        most, often = (int(np.max(cast("Any", each.num_objects))) for each in (preset, usual))
        more = max(most - often, 0)
        preset = replace(preset, episode_steps=preset.episode_steps + more)
    if settings["model"] is not None:
        settings["model"] = lasting_name(settings["model"])
    run = AgentRun(**settings, preset=preset, provenance=Provenance.here(), engine=engine)
    if (folder := run.model_folder()) is not None:
        run.model_fingerprint = fingerprint(folder)
    return run


def resumed_run(folder: Path, given: Mapping[str, Any], engine: str = "sb3") -> AgentRun:
    """Resume the run in a folder by this process.

    Raises:
        ValueError: flags contradict the run, another engine trains it, its model has changed, or ``config.json``
            describes no agent.
    """
    run = read_run(folder)
    if run.engine != engine:
        raise ValueError(f"{folder} is a run of {ENGINES[run.engine]}: continue it with that program")
    if (moved := given.get("model")) is not None and fingerprint(find(moved)) == run.model_fingerprint:
        run.model = moved
    check_agreement(folder, vars(run) | vars(run.preset), given)
    run.check_model()
    run.resumed.append(Provenance.here())
    return run
