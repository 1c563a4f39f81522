"""Model cards: their contents, when they are written, and that a README.md of the user's own is never replaced."""

import json
import os

import pytest

from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.model.card import MARK, card
from lavae_rl.model.checkpoint import BUNDLED
from lavae_rl.model.lavae import LAVAE


def front_matter(text):
    """The lines between the first two lines of dashes, which the Hub reads as YAML."""
    start, inside, _ = text.split("---\n", 2)
    assert start == ""
    return inside.splitlines()


def test_an_exported_model_has_a_card_that_says_how_to_load_it(untrained, tmp_path):
    untrained.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert {"license: mit", "library_name: lavae-rl", "tags:"} <= set(front_matter(text))
    code = text.split("```python\n")[1].split("```")[0].replace("FOLDER", str(tmp_path))
    exec("\n".join(line for line in code.splitlines() if "objects" not in line), {})


def test_the_card_of_a_baseline_loads_it_as_one(tmp_path):
    ConvVAE(BaselineConfig(latents=2)).save_pretrained(tmp_path)
    assert "load_model(" in (tmp_path / "README.md").read_text()


def test_a_card_states_data_recipe_seed_commit_and_metrics():
    facts = json.loads((BUNDLED / "multi-dsprites" / "config.json").read_text())
    text = card("lavae", facts)
    assert "# LAVAE of multi-dsprites\n" in text
    for row in ("| recipe | prototypes |", "| seed | 0 |", "| count_accuracy_7 | 0.9999 |", "| steps | 20000 |"):
        assert row in text
    assert facts["provenance"]["commit"] in text


def test_no_card_is_written_while_a_training_goes_on(untrained, tmp_path):
    untrained.save_pretrained(tmp_path, {"metrics": None})
    assert not (tmp_path / "README.md").exists()
    untrained.save_pretrained(tmp_path, {"metrics": {"elbo": -3.0, "note": "text"}})
    assert "| elbo | -3 |" in (tmp_path / "README.md").read_text()


def test_our_card_is_replaced_and_one_of_the_user_never(untrained, tmp_path):
    path = tmp_path / "README.md"
    untrained.save_pretrained(tmp_path, {"seed": 1})
    untrained.save_pretrained(tmp_path, {"seed": 2})
    assert "| seed | 2 |" in path.read_text()
    mine = path.read_text().replace(MARK, "")
    path.write_text(mine)
    untrained.save_pretrained(tmp_path, {"seed": 3})
    assert path.read_text() == mine


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_something_else_of_that_name_stays_and_the_model_is_whole(make, untrained, tmp_path):
    make(tmp_path / "README.md")
    untrained.save_pretrained(tmp_path)
    assert not (tmp_path / "README.md").is_file()
    LAVAE.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "facts",
    [{"data": "multi-dsprites"}, {"provenance": 3, "recipe": None}, {"seed": "a | b\nc"}, {"metrics": [1]}],
    ids=str,
)
def test_any_run_metadata_make_a_card(facts):
    text = card("lavae", facts)
    assert all(line.count("|") - line.count("\\|") in (0, 3, 4) for line in text.splitlines())
