import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.runs.config import parse

WORLD: dict[str, Any] = {"networks": "world", "composition": "over", "likelihood": "normal"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scales": ()}, r"ascending scales of at least 1, got \(\)"),
        ({"scales": (0, 1)}, r"ascending scales of at least 1, got \(0, 1\)"),
        (WORLD | {"scales": (2, 1)}, r"ascending scales of at least 1, got \(2, 1\)"),
        (WORLD | {"scales": (1, 1)}, r"ascending scales of at least 1, got \(1, 1\)"),
        ({"scales": (1, 2)}, r"scale 1 with others, got 'fast', 'sum' and \(1, 2\)"),
        ({"scales": (2,)}, r"scale 1 with others, got 'fast', 'sum' and \(2,\)"),
        ({"likelihood": "poisson"}, '"bernoulli" or "normal" .*, got \'poisson\' and 0.1'),
        ({"likelihood": "normal", "pixel_scale": 0.0}, "pixel_scale above 0, got 'normal' and 0.0"),
        ({"composition": "over"}, "\"sum\" and scale 1 with others, got 'fast', 'over'"),
        ({"composition": "max"}, "\"sum\" and scale 1 with others, got 'fast', 'max'"),
        ({"networks": "world"}, "composition \"over\" with networks \"world\", .* got 'world', 'sum'"),
        ({"background_states": 2}, "a canvas_size just for a background with .*, got 2, 0 and None"),
        ({"canvas_size": (64, 48)}, r"a canvas_size just for a background with .*, got 0, 0 and \(64, 48\)"),
        ({"background_states": -1, "canvas_size": (64, 48)}, "got -1, 0 and"),
        ({"background_states": 1, "background_directions": 2, "canvas_size": (64, 48)}, "got 1, 2 and"),
        ({"background_directions": 2}, "got 0, 2 and None"),
        ({"peak_window": 4}, "an odd peak_window, got 4"),
        ({"peak_window": -1}, "an odd peak_window, got -1"),
        ({"presence_window": 2}, "an odd presence_window .*, got 2"),
        (WORLD | {"presence_window": 7}, r"at most peak_window \(5\).*, got 7"),
        ({"presence_window": 3}, "1 but with networks \"world\", got 3 with 'fast'"),
        ({"min_prominence": 1.0}, "min_prominence in"),
        ({"min_prominence": -0.1}, "min_prominence in"),
        ({"min_prominence": 0.1, "networks": "world", "composition": "over"}, "min_prominence in"),
    ],
    ids=str,
)
def test_image_models_that_do_not_exist_are_refused(values: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        LAVAEConfig(**values)


def test_configurations_as_they_were_stored_before_describe_the_same_model():
    stored: dict[str, Any] = {"channels": 1, "sprite_size": 21, "latents": 4, "max_objects": 3, "networks": "paper"}
    config = parse(LAVAEConfig, stored, Path("config.json"))
    assert config == LAVAEConfig(**stored)
    assert (config.scales, config.likelihood, config.composition, config.canvas_size) == (
        (1,),
        "bernoulli",
        "sum",
        None,
    )


def test_a_configuration_survives_json():
    config = LAVAEConfig(
        3, 9, 8, 20, **WORLD, scales=(1, 2, 4), background_states=3, canvas_size=(210, 160), pixel_scale=0.2
    )
    again = parse(LAVAEConfig, json.loads(json.dumps(asdict(config))), Path("config.json"))
    assert again == config
    assert hash(again) == hash(config)
