"""config.json of a pretraining: what is written is read again, and what cannot be is refused."""

import dataclasses
import json
from typing import Any

import pytest

from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.data.sources import SceneSpec
from lavae_rl.model.baseline import BaselineConfig
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.pretraining.recipes import PRESETS
from lavae_rl.pretraining.run import METHODS, new_run, read_data, read_run
from lavae_rl.pretraining.state import make_accelerator
from lavae_rl.runs.config import write_json
from lavae_rl.runs.provenance import Provenance

HERE = Provenance.here()

# What version 0.1.0 wrote of a run, shortened.
RUN_0_1_0: dict[str, Any] = {
    "model": {"channels": 3, "sprite_size": 13, "latents": 8, "max_objects": 2, "networks": "paper-small"},
    "dataset": "multi-dsprites",
    "model_name": "lavae",
    "recipe_name": "paper-small",
    "recipe": {"steps": 1200, "canvas_size": 24, "patch_size": 10, "max_objects": 2, "sprite_size": 13},
    "seed": 0,
    "mnist_dir": None,
    "mixed_precision": "no",
    "command": "python pretrain/train_lavae.py",
    "commit": "e5e6503def59",
}


def _write(folder, run):
    write_json(folder, run.content())
    return folder


SCENE_PRESETS = [
    (model, name) for model in PRESETS for name in PRESETS[model] if PRESETS[model][name].method != "world"
]


@pytest.mark.parametrize(("model", "name"), SCENE_PRESETS)
def test_a_written_run_is_read_again_the_same(model, name, tmp_path):
    run = new_run(model, name, "multi-dsprites", seed=5)
    assert read_run(_write(tmp_path, run)) == run


def test_every_field_of_a_run_is_read_again_the_same(tmp_path):
    run = _whole_run()
    assert read_run(_write(tmp_path, run)) == run


def _whole_run():
    """A run without a default."""
    smoke = new_run("lavae", "smoke", "multi-dsprites", steps=40, seed=2**63 - 1)
    return dataclasses.replace(
        smoke,
        data=SceneSpec("multi-mnist-1k", "/digits", 32, 10, 2, 7),
        mixed_precision="bf16",
        compile=True,
        preprocessing=Preprocessing("chw", (((255, 0, 0), (0, 0, 255)),), 1, (48, 64), 100),
        processes=2,
        device="NVIDIA",
        resumed=[HERE, HERE],
        training_seconds=1.5,
        skipped_steps=0,
        metrics={"elbo": -30.5, "location_error_px": None},
    )


@pytest.mark.parametrize(
    ("model", "name", "dataset", "config"),
    [
        ("lavae", "fast", "multi-dsprites", LAVAEConfig(3, 21, 8, 3, "fast")),
        ("lavae", "fast", "multi-mnist-10k", LAVAEConfig(1, 21, 16, 3, "fast")),
        ("lavae", "paper-small", "multi-dsprites", LAVAEConfig(3, 13, 8, 2, "paper-small", min_prominence=0.14)),
        ("baseline", "fast", "multi-mnist-1k", BaselineConfig(1, 16)),
    ],
)
def test_a_new_run_has_the_model_of_its_preset_and_data(model, name, dataset, config):
    run = new_run(model, name, dataset, seed=0)
    assert run.model == config
    assert run.data == SceneSpec(dataset, **PRESETS[model][name].data)
    assert run.data.bank().channels == config.channels


@pytest.mark.parametrize("method", METHODS.keys() - {"world"})
def test_every_method_is_made_of_a_run_of_it(method):
    presets = [(model, name) for model in PRESETS for name in PRESETS[model] if PRESETS[model][name].method == method]
    made: Any = new_run(*presets[0], "multi-dsprites", seed=0).make_method(make_accelerator(cpu=True))
    assert isinstance(made, METHODS[method])
    assert isinstance(made.model, METHODS[method].model_class)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="--recipe of fast, long, smoke for --model baseline, got joint"):
        new_run("baseline", "joint", "multi-dsprites", seed=0)


def test_a_run_of_the_first_version_is_refused_with_what_can_be_done(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(RUN_0_1_0))
    with pytest.raises(ValueError, match=r"written by lavae-rl 0\.1\.0: its weights can be used.*start another one"):
        read_run(tmp_path)


def _without(name):
    def change(content):
        del content[name]

    return change


def _inside(name, **values):
    return lambda content: content[name].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(colour="blue"), "PretrainingRun of .*; got .*colour"),
        (lambda content: content.update(seed="three"), 'got .*"seed"'),
        (lambda content: content.update(seed=-1), "--seed of 0 to"),
        (lambda content: content.update(resumed=[{"command": "x"}]), "got .*commit"),
        (
            lambda content: content.update(method="diffusion"),
            "a pretraining by wake-sleep or world or paper or vae, got",
        ),
        (_without("provenance"), 'got .*"provenance"'),
        (_without("recipe"), "a pretraining by wake-sleep or world or paper or vae, got"),
        (_without("method"), "a pretraining by wake-sleep or world or paper or vae, got"),
        (_inside("recipe", depth=3), "LAVAERecipe of .*; got .*depth"),
        (_inside("recipe", steps="many"), 'got .*"steps"'),
        (_inside("recipe", steps=0), "expected steps of at least 1, got 0"),
        (_inside("model", depth=3), "LAVAEConfig of .*; got .*depth"),
        (_inside("data", dataset="multi-cats"), "expected a data set of .*, got 'multi-cats'"),
        (_inside("data", width=3), "got .*width"),
        (_inside("preprocessing", layout="whc"), "expected layout"),
        (lambda content: content.update(format=3), "has format 3, .*update lavae-rl"),
    ],
)
def test_fields_of_a_run_that_cannot_be_are_refused_by_name(change, message, tmp_path):
    _write(tmp_path, new_run("lavae", "smoke", "multi-dsprites", seed=0))
    content = json.loads((tmp_path / "config.json").read_text())
    change(content)
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_run(tmp_path)


def test_the_data_of_a_model_are_those_of_its_training_in_either_format(tmp_path):
    expected = SceneSpec("multi-dsprites", None, 24, 10, 2)
    assert read_data(_write(tmp_path, new_run("lavae", "paper-small", "multi-dsprites", seed=0))) == expected
    (tmp_path / "config.json").write_text(json.dumps(RUN_0_1_0))
    assert read_data(tmp_path) == expected
    (tmp_path / "config.json").write_text(json.dumps(RUN_0_1_0 | {"dataset": "multi-mnist-1k", "mnist_dir": "/digits"}))
    assert read_data(tmp_path) == dataclasses.replace(expected, dataset="multi-mnist-1k", mnist_dir="/digits")


def test_data_of_another_name_keep_the_sizes_but_not_the_digits(tmp_path):
    run = new_run("lavae", "fast", "multi-mnist-1k", seed=0)
    run.data = SceneSpec("multi-mnist-1k", mnist_dir="/digits", canvas_size=32)
    _write(tmp_path, run)
    assert read_data(tmp_path, "multi-mnist-1k") == run.data
    assert read_data(tmp_path, "multi-dsprites") == SceneSpec("multi-dsprites", canvas_size=32)
    assert read_data(tmp_path, mnist_dir="/elsewhere").mnist_dir == "/elsewhere"


@pytest.mark.parametrize("content", [{"model": {}}, {"model": {}, "recipe": None}, {"format": 2, "model": {}}], ids=str)
def test_without_a_training_the_data_have_to_be_named(content, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"expected --dataset, since .* does not say"):
        read_data(tmp_path)
    assert read_data(tmp_path, "multi-mnist-1k") == SceneSpec("multi-mnist-1k")
