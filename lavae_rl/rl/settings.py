"""What a training of an agent is: the flags it was given, defaults for the others, and what config.json keeps."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavae_rl.model.checkpoint import find, fingerprint, read_facts
from lavae_rl.registration import task_name
from lavae_rl.rl.agents import POLICIES
from lavae_rl.rl.presets import PRESETS, Preset
from lavae_rl.rl.vec_envs import find_model
from lavae_rl.runs.provenance import provenance

DEFAULTS = {
    "task": "OddOneOut",
    "observation": "lavae",
    "seed": 0,
    "model": None,
    "eval_every": 100_000,
    "eval_episodes": 200,
}
"""What a run is, where the command line does not say; all else is the task's preset."""

PRESET_FLAGS = ("algorithm", "steps", "num_envs", "num_objects", "reward", "arch")
"""What the command line can change of a preset."""


def given_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What the flags of ``agents/train_agent.py`` say of a run, by the names of config.json and of presets.

    Raises:
        ValueError: values that make no sense by themselves.
    """
    flags = {**flags, "task": flags["env"], "algorithm": flags["algo"]}
    flags = {name: flags[name] for name in (*DEFAULTS, *PRESET_FLAGS)}
    given = {name: value for name, value in flags.items() if value is not None}
    if "task" in given:
        given["task"] = task_name(given["task"])
    if "num_objects" in given:
        if len(given["num_objects"]) > 2:
            raise ValueError(f"expected --num-objects as a number or two, got {given['num_objects']}")
        given["num_objects"] = given["num_objects"] if len(given["num_objects"]) == 2 else given["num_objects"][0]
    if "model" in given and Path(given["model"]).is_dir() and find(given["model"]) == Path(given["model"]):
        given["model"] = str(Path(given["model"]).resolve())  # no bundled one; the agent may be loaded elsewhere
    for name in ("eval_every", "eval_episodes"):
        if given.get(name, 1) < 1:
            raise ValueError(f"expected --{name.replace('_', '-')} of at least 1, got {given[name]}")
    if not 0 <= given.get("seed", 0) < 2**32:
        raise ValueError(f"expected --seed of 0 to {2**32 - 1}, got {given['seed']}")
    return given


def fresh_facts(given: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json says of a new run.

    Raises:
        ValueError: settings that do not go together.
    """
    facts = {name: given.get(name, default) for name, default in DEFAULTS.items()}
    changed = {name: given[name] for name in PRESET_FLAGS if name in given}
    if "arch" in changed and facts["observation"] in POLICIES:
        raise ValueError(f"expected --arch with tokens (lavae or oracle), got it with {facts['observation']}")
    if facts["model"] is not None and facts["observation"] not in ("lavae", "vae"):
        raise ValueError(f"expected --model with lavae or vae, got it with {facts['observation']}")
    usual = PRESETS[facts["task"]]
    preset = dataclasses.replace(usual, **changed)
    if preset.episode_steps is not None:
        # Each object that there is to point at may take a step.
        longer = preset.episode_steps + max(preset.most_objects - usual.most_objects, 0)
        preset = dataclasses.replace(preset, episode_steps=longer)
    folder = find_model(facts["task"], facts["observation"], facts["model"])
    facts["model_fingerprint"] = None if folder is None else fingerprint(folder)
    return facts | {"preset": dataclasses.asdict(preset), "evaluations": [], "seconds": 0.0} | provenance()


def check_model(facts: Mapping[str, Any]) -> None:
    """Refuses to let an agent see by another model than it learned to see by, under the same name.

    Raises:
        FileNotFoundError: the model is gone.
        ValueError: its weights have changed since.
    """
    folder = find_model(facts["task"], facts["observation"], facts["model"])
    learned = facts.get("model_fingerprint")
    if folder is None or learned is None:  # nothing to see by, or trained before fingerprints were kept
        return
    if (found := fingerprint(folder)) != learned:
        raise ValueError(
            f"expected the model that the agent was trained on, of fingerprint {learned}, got {found} in {folder}: its "
            f"weights have changed; train the agent again, or test it on these on purpose: --model {folder}"
        )


def resumed_facts(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json says of the run in the folder; flags given again must agree with it.

    Raises:
        ValueError: they do not, or the run is none of this program.
    """
    facts = read_facts(folder)
    try:
        Preset(**facts["preset"])
        stored = {name: facts[name] for name in DEFAULTS} | {name: facts["preset"][name] for name in PRESET_FLAGS}
    except (KeyError, TypeError) as error:
        raise ValueError(f"the run in {folder} was made by another version of this program: {error}") from error
    for name, value in given.items():
        if value != stored[name]:
            raise ValueError(
                f"the run in {folder} has {name} {stored[name]!r}, got {value!r}; resume without that flag, or start "
                "another run in another --out"
            )
    check_model(facts)
    facts.setdefault("resumed", []).append(provenance())
    return facts
