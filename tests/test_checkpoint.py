"""Models on disk: what ``save_pretrained`` writes, what 0.1.0 wrote, what is refused, and the Hub."""

import json
import sys
import types

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lavae_rl.model import checkpoint
from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.model.checkpoint import load_model
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretrain import evaluate_lavae

# config.json of models that version 0.1.0 saved: its own text, run metadata shortened.
LAVAE_0_1_0 = """{
  "model": {"channels": 1, "sprite_size": 21, "latents": 4, "max_objects": 3, "networks": "fast"}
}
"""
LAVAE_RUN_0_1_0 = """{
  "model": {"channels": 1, "sprite_size": 21, "latents": 4, "max_objects": 3, "networks": "fast"},
  "dataset": "multi-mnist-10k",
  "model_name": "lavae",
  "recipe_name": "long",
  "recipe": {"steps": 20000, "kl_warmup_steps": 200, "canvas_size": 64, "patch_size": 18, "max_objects": 3,
             "networks": "fast", "sprite_size": 21, "joint_steps": 0},
  "seed": 0,
  "mnist_dir": null,
  "mixed_precision": "no",
  "command": "python pretrain/train_lavae.py --dataset multi-mnist-10k --recipe long",
  "commit": "e5e6503def59",
  "versions": {"python": "3.11.7", "lavae-rl": "0.1.0"},
  "machine": {"processor": "AMD EPYC", "threads": 1},
  "metrics": {"count_accuracy_0_3": 1.0}
}
"""
VAE_0_1_0 = """{
  "model": {"channels": 3, "latents": 2}
}
"""
VAE_RUN_0_1_0 = """{
  "model": {"channels": 3, "latents": 2},
  "dataset": "multi-dsprites",
  "model_name": "baseline",
  "recipe_name": "fast",
  "recipe": {"steps": 3000, "latents": 2, "learning_rate": 0.001},
  "seed": 0,
  "metrics": {"elbo": -95.0}
}
"""


@pytest.fixture(scope="module")
def baseline():
    """A small ConvVAE with fixed random weights."""
    torch.manual_seed(0)
    return ConvVAE(BaselineConfig(latents=2))


@pytest.fixture
def saved(untrained, tmp_path):
    """The folder of a LAVAE."""
    untrained.save_pretrained(tmp_path)
    return tmp_path


def _assert_same(loaded, model):
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def _edit(folder, **changes):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | changes))


def test_saved_models_come_back_the_same(untrained, tmp_path):
    untrained.save_pretrained(tmp_path, {"seed": 3})
    _assert_same(LAVAE.from_pretrained(tmp_path), untrained)
    content = json.loads((tmp_path / "config.json").read_text())
    assert (content["format"], content["model_type"], content["seed"]) == (2, "lavae", 3)


def test_models_of_either_type_are_loaded_by_what_their_folder_states(untrained, baseline, tmp_path):
    untrained.save_pretrained(tmp_path / "lavae")
    baseline.save_pretrained(tmp_path / "vae")
    _assert_same(load_model(tmp_path / "lavae"), untrained)
    _assert_same(load_model(str(tmp_path / "vae")), baseline)
    assert isinstance(load_model("multi-dsprites"), LAVAE)


def test_a_model_of_the_other_type_is_refused_with_the_way_to_load_it(untrained, baseline, tmp_path):
    untrained.save_pretrained(tmp_path / "lavae")
    baseline.save_pretrained(tmp_path / "vae")
    with pytest.raises(ValueError, match=r"type 'lavae' in .*, got 'conv-vae': .*checkpoint.load_model loads either"):
        LAVAE.from_pretrained(tmp_path / "vae")
    with pytest.raises(ValueError, match=r"type 'conv-vae' in .*, got 'lavae': .*checkpoint.load_model loads either"):
        ConvVAE.from_pretrained(tmp_path / "lavae")


@pytest.mark.parametrize("config", [LAVAE_0_1_0, LAVAE_RUN_0_1_0], ids=["model", "run"])
def test_a_lavae_of_the_first_version_loads(config, saved, untrained):
    (saved / "config.json").write_text(config)
    _assert_same(LAVAE.from_pretrained(saved), untrained)
    _assert_same(load_model(saved), untrained)


@pytest.mark.parametrize("config", [VAE_0_1_0, VAE_RUN_0_1_0], ids=["model", "run"])
def test_a_baseline_of_the_first_version_loads(config, baseline, tmp_path):
    baseline.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(config)
    _assert_same(ConvVAE.from_pretrained(tmp_path), baseline)
    _assert_same(load_model(tmp_path), baseline)


@pytest.mark.parametrize("number", [3, 0, "2", None], ids=str)
def test_a_format_that_this_version_does_not_have_is_refused(number, saved):
    _edit(saved, format=number)
    for load in (LAVAE.from_pretrained, load_model):
        with pytest.raises(ValueError, match=rf"has format {number!r}, .* reads formats 1 to 2: update lavae-rl"):
            load(saved)


def test_a_type_of_model_that_this_version_does_not_have_is_refused(saved):
    _edit(saved, model_type="slot-attention")
    with pytest.raises(ValueError, match=r"of type lavae or conv-vae in .*, got 'slot-attention'"):
        load_model(saved)


CONFIG = {"channels": 1, "sprite_size": 21, "latents": 4, "max_objects": 3, "networks": "fast"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (CONFIG | {"depth": 3}, "LAVAEConfig of channels, .*, networks, .*; got .*depth"),
        (CONFIG | {"latents": "4"}, 'got .*"latents"'),
        (CONFIG | {"latents": 4.5}, 'got .*"latents"'),
        (CONFIG | {"networks": None}, 'got .*"networks"'),
        (CONFIG | {"sprite_size": 20}, "got expected an odd sprite_size of at least 5, got 20"),
        (
            CONFIG | {"networks": "huge"},
            r"got expected networks to be one of .*'paper-small', 'prototypes', 'world'\], got 'huge'",
        ),
    ],
    ids=["unknown", "text for a number", "fraction", "none", "out of range", "unknown networks"],
)
def test_fields_of_the_configuration_that_cannot_be_are_refused_by_name(values, message, saved):
    _edit(saved, model=values)
    for load in (LAVAE.from_pretrained, load_model):
        with pytest.raises(ValueError, match=message):
            load(saved)


def _damage_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def _cut_weights(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), FileNotFoundError, "model.safetensors is missing"),
        (lambda f: (f / "config.json").unlink(), FileNotFoundError, "config.json is missing"),
        (lambda f: (f / "config.json").write_text("{"), ValueError, "config.json is damaged"),
        (lambda f: (f / "config.json").write_text("[1]"), ValueError, "config.json is damaged"),
        (lambda f: (f / "config.json").write_text('{"architecture": "x"}'), ValueError, 'an object "model", got'),
        (lambda f: (f / "config.json").write_text('{"model": null}'), ValueError, 'an object "model", got'),
        (lambda f: _edit(f, model=CONFIG | {"channels": 3}), ValueError, "does not fit its config.json"),
        (_cut_weights, ValueError, "damaged"),
        (lambda f: (f / "model.safetensors").write_bytes(b"not weights"), ValueError, "damaged"),
        (lambda f: _damage_weights(f, lambda w: w.pop("count_logits")), ValueError, "count_logits"),
        (lambda f: _damage_weights(f, lambda w: w["count_logits"].fill_(np.nan)), ValueError, "NaN.*count_logits"),
    ],
    ids=[
        "no weights",
        "no config",
        "bad JSON",
        "no object",
        "foreign",
        "no configuration",
        "other model",
        "cut",
        "no weights in it",
        "missing weight",
        "NaN",
    ],
)
def test_damaged_models_are_refused(damage, error, message, saved):
    damage(saved)
    for load in (LAVAE.from_pretrained, load_model):
        with pytest.raises(error, match=message):
            load(saved)


def test_an_unknown_name_lists_the_bundled_models():
    for load in (LAVAE.from_pretrained, load_model):
        with pytest.raises(FileNotFoundError, match=r"bundled models .*'multi-dsprites'.*, got 'multi-cats'"):
            load("multi-cats")


def test_weights_are_told_apart_by_their_fingerprint(saved, untrained, tmp_path):
    before = checkpoint.fingerprint(saved)
    untrained.save_pretrained(saved, {"seed": 3})
    assert checkpoint.fingerprint(saved) == before
    with torch.no_grad():
        untrained.count_logits[0] += 1e-3
    untrained.save_pretrained(saved)
    assert checkpoint.fingerprint(saved) != before


@pytest.fixture
def hub(monkeypatch, tmp_path, untrained):
    """The calls of a stand-in for huggingface_hub, which has one repository."""
    untrained.save_pretrained(tmp_path / "snapshot")
    calls: list[tuple[object, ...]] = []

    class HfApi:
        def create_repo(self, repository, exist_ok):
            calls.append(("create", repository, exist_ok))

        def upload_folder(self, repo_id, folder_path, allow_patterns):
            calls.append(("upload", repo_id, folder_path, allow_patterns))

    def snapshot_download(repository, allow_patterns):
        calls.append(("download", repository, allow_patterns))
        return str(tmp_path / "snapshot")

    stand_in = types.ModuleType("huggingface_hub")
    stand_in.__dict__.update(HfApi=HfApi, snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", stand_in)
    return calls


def test_a_repository_of_the_hub_is_downloaded_and_loaded(hub, untrained):
    model = LAVAE.from_pretrained("somebody/digits")
    assert model.config == untrained.config
    assert hub == [("download", "somebody/digits", ["config.json", "model.safetensors"])]


def test_a_model_is_uploaded_without_its_checkpoints(hub, tmp_path):
    checkpoint.push(tmp_path / "snapshot", "me/digits")
    files = ["config.json", "model.safetensors", "README.md"]
    assert hub == [("create", "me/digits", True), ("upload", "me/digits", tmp_path / "snapshot", files)]


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"somebody/digits.*pip install .lavae-rl\[hub\]"):
        LAVAE.from_pretrained("somebody/digits")


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere", "a/b/c", "multi-cats"])
def test_names_that_cannot_be_a_repository_never_reach_the_hub(name, hub):
    with pytest.raises(FileNotFoundError, match="expected a folder or one of the bundled models"):
        LAVAE.from_pretrained(name)
    assert hub == []


@pytest.mark.parametrize(
    "name",
    [
        "mine/digitz",
        "runs/digitz",
        "frames/digits",
        "~/digits",
        "~me/digits",
        "my runs/digits",
        "mine/",
        "nobody/digits/",
        "..\\mine\\digits",
        "C:\\mine/digits",
        "mine-too/model.safetensors",
        "-mine/digits",
        "über/digits",
    ],
)
def test_mistyped_folders_never_reach_the_hub_and_are_named_as_given(name, hub, tmp_path, monkeypatch, untrained):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    untrained.save_pretrained("mine/digits")
    for load in (LAVAE.from_pretrained, load_model):
        with pytest.raises(FileNotFoundError) as refused:
            load(name)
        assert name in str(refused.value)
        assert "folder" in str(refused.value)
    if name.startswith("mine/"):
        assert str(refused.value).endswith("mine holds digits")
    assert hub == []


def test_the_home_folder_may_be_written_as_a_tilde(untrained, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    untrained.save_pretrained(tmp_path / "digits")
    _assert_same(LAVAE.from_pretrained("~/digits"), untrained)


def test_a_file_in_place_of_its_folder_is_refused_with_the_folder(saved):
    with pytest.raises(FileNotFoundError, match=rf"it is a file; name the folder that holds it, {saved}$"):
        LAVAE.from_pretrained(str(saved / "model.safetensors"))


@pytest.mark.parametrize("error", [OSError("404"), FileNotFoundError("no snapshot"), ValueError("no repository")])
def test_a_repository_that_the_hub_does_not_give_is_an_error_about_both(error, hub, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(sys.modules["huggingface_hub"], "snapshot_download", fail)
    message = r"got 'somebody/digits': there is no such folder here, and the Hub did not give it"
    with pytest.raises(FileNotFoundError, match=message):
        LAVAE.from_pretrained("somebody/digits")


def test_programs_say_in_one_line_what_they_lack_for_the_hub(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SystemExit) as end:
        evaluate_lavae.main(["somebody/digits"])
    assert end.value.code == 1
    assert capsys.readouterr().out.startswith("error: 'somebody/digits' is no folder here")


def test_a_pointer_in_place_of_weights_is_refused_with_the_command_that_fetches_them(saved):
    (saved / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(ValueError, match="holds no weights: fetch them, by git lfs pull"):
        LAVAE.from_pretrained(saved)
