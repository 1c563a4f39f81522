"""Each task has a page; its table of facts, its options and its picture are those of the code."""

from inspect import signature
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from lavae_rl.envs import task_class
from lavae_rl.registration import TASKS

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {name: DOCS / "tasks" / f"{spec.entry.partition(':')[0]}.md" for name, spec in TASKS.items()}
PAGES["OddOneOutProperty"] = DOCS / "tasks" / "odd_one_out_property.md"


def facts(name: str) -> str:
    """The table of facts of a page, as the code has them."""
    env_id, spec = f"LAVAE/{name}-v0", TASKS[name]
    env: Any = gym.make(env_id)
    true_state, tokens = gym.make(env_id, observation="oracle"), tokens_space(name)
    rows = {
        "id": f"`{env_id}`",
        "id with object tokens": f"`LAVAE/{name}Tokens-v0`, model `{spec.model}`",
        "action space": f"`{env.action_space}`",
        "observation space, frames": f"`{env.observation_space}`",
        'observation space, `observation="oracle"`': f"`{shapes(true_state.observation_space)}`",
        "observation space, object tokens": f"`{tokens}`",
        "objects": str(env.unwrapped.simulation.range[0]),
        "steps at most": str(env.spec.max_episode_steps),
        "random baseline": f"{env.unwrapped.chance:.0%}".replace("%", " %"),
    }
    return "\n".join(["| fact | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])


def tokens_space(name: str) -> str:
    return shapes(gym.make(f"LAVAE/{name}Tokens-v0").observation_space)


def shapes(space: Any) -> str:
    """Tokens and mask by their shapes: bounds differ from number to number."""
    tokens, mask = space["tokens"], space["mask"]
    return f"{{tokens: {tokens.dtype} {tokens.shape}, mask: {mask.dtype} {mask.shape}}}"


@pytest.mark.parametrize("name", TASKS)
def test_facts_of_a_page_are_those_of_the_code(name: str):
    assert facts(name) in PAGES[name].read_text()


@pytest.mark.parametrize("name", TASKS)
def test_page_begins_with_the_picture_and_has_all_sections(name: str):
    lines = [line for line in PAGES[name].read_text().splitlines() if line]
    assert lines[0] == f"# {name}"
    assert f"(../images/tasks/{name}.gif)" in lines[1]
    headings = [line for line in lines if line.startswith("## ")]
    expected = ("Description", "Facts", "Rewards", "Start of an episode", "End of an episode", "Options", "Held out")
    assert headings == [f"## {heading}" for heading in (*expected, "Random baseline", "Try it")]


@pytest.mark.parametrize("name", TASKS)
def test_page_names_the_options_of_the_task(name: str):
    own = [option for option in signature(task_class(name)).parameters if option != "mode"]
    page = PAGES[name].read_text()
    assert all(f"`{option}`" in page for option in own)
    assert "(../tasks.md#options)" in page
