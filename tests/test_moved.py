"""Import paths of version 0.1.0 work, with a note that names the new one."""

import pickle
import subprocess
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec

import pytest

from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.moved import MOVED

# Public names of each module at commit d3e5dcb, the last before modules moved.
NAMES = {
    "datasets": "CANVAS_SIZE Split SPLITS POOLS SceneDataset load_bank load_dataset save_npz load_npz",
    "devices": "DEVICES choose_device",
    "evaluation": "",
    "evaluation.animation": "write_gif",
    "evaluation.figures": "reconstruction_figure to_bytes frame_rows mark_centres save_png",
    "evaluation.floor": "ImpossibleBoundError entropy_floor scene_entropy measure_bounds check_bound",
    "evaluation.gallery": "STEPS inference samples counted_samples interventions",
    "evaluation.interventions": "Change MoveErrors move swap_locations change_appearance pixel_means measure_moves",
    "evaluation.metrics": "MATCH_RADIUS METRICS Agreement match_locations measure_agreement evaluate",
    "exits": "clean_exit",
    "learning": "",
    "learning.agents": (
        "AGENT_FILE BUNDLED_AGENTS Algorithm ALGORITHMS POLICIES SavedAgent make_agent algorithm_settings "
        "policy_kwargs save_agent find_run load_agent"
    ),
    "learning.evaluation": "SuccessRate Predict success_rate",
    "learning.presets": "Preset PRESETS",
    "learning.report": (
        "TESTS_FILE TEST_COLUMNS CURVE_COLUMNS KINDS Key Item write_report updated agent label identity tests_of "
        "curve_of markdown spread grouped plot_steps plot_objects"
    ),
    "learning.run_settings": "DEFAULTS PRESET_FLAGS given_settings fresh_facts check_model resumed_facts",
    "learning.vec_envs": "OBSERVATIONS SLOTS make_task_vec_env make_run_vec_env make_task_env find_model",
    "learning.zoo": "hyperparams",
    "model": "",
    "model.auxiliary": "STRIDE HOT KLMap AuxiliaryVAE",
    "model.baseline": "STRIDE LatentMap BaselineConfig Means ConvVAE",
    "model.canvas": "EPSILON crop_windows compose empty_scene bernoulli_log_likelihood gaussian_blur",
    "model.config": "LAVAEConfig",
    "model.fast_networks": "FastLocationNetwork FastAppearanceNetwork FastSpriteDecoder",
    "model.frames": "to_images",
    "model.lavae": "LAVAE",
    "model.networks": "Networks FAMILIES fold_batch_norms",
    "model.objective": (
        "PerImage ELBOTerms kl_to_standard_normal sum_by_image kl_count log_prior_locations reconstruct "
        "elbo_terms score_function_loss importance_weighted_bound"
    ),
    "model.objects": "Array Objects",
    "model.paper_networks": "PaperLocationNetwork PaperAppearanceNetwork PaperSpriteDecoder",
    "model.posterior": (
        "PEAK_WINDOW MIN_PRESENCE LOG_VARIANCE_RANGE mean_and_log_variance Detections find_peaks "
        "location_log_probs ordered_log_prob sample_locations gumbel_noise"
    ),
    "model.pretrained": "Config BUNDLED find fingerprint push read_facts read_config read_world load_weights save",
    "model.relaxed": "TAKEN RelaxedLocations relax_locations compose_relaxed relaxed_elbo_terms",
    "model.residual": "conv layer Residual",
    "model.shapes": "AnyFrames Images LogitMaps ObjectIndex ObjectLocations AppearanceVectors Sprites Presences",
    "perception": "",
    "perception.adapter": "Infos GymVectorToSB3 split_infos",
    "perception.encoder": "EncoderConfig FrameEncoder",
    "perception.overlay": "draw_objects",
    "perception.preprocessing": "Color Preprocessing",
    "perception.sb3": "VecLAVAEObservation LAVAEFeaturesExtractor",
    "perception.set_extractor": "ARCHITECTURES SetFeaturesExtractor",
    "perception.set_networks": (
        "Tokens Mask Features Nodes Turns ATTENTION_HEADS SELECTED VIEWS RelationNetwork AttentionNetwork "
        "DeepSetsNetwork FlatNetwork"
    ),
    "perception.tokens": "APPEARANCE_RANGE Observations TokenLayout normalised_xy",
    "perception.tracking": "TrackingConfig SlotTracker track",
    "perception.vae_vector": "VecVAEObservation",
    "perception.wrappers": "ObservationPort take replace LAVAEObservation VectorLAVAEObservation encode_with_finals",
    "registration": "TaskSpec TASKS register_envs task_name",
    "scenes": "GAP Scenes sample_scenes grown_boxes apart render_scenes",
    "shapes": "Frames Picture Patches Boxes Counts Locations SlotIndices Mask",
    "sprites": "PATCH_SIZE DIGIT_SIZE SHAPES SCALES ANGLES COLORS SpriteBank dsprites_bank digits_bank load_mnist_idx",
    "sweep": "RunError Cell AnyCell sweep check_steps running log_file",
    "tables": "Row report_folder read_rows write_rows",
    "training": "",
    "training.base": "ELBO_SCENES Model Settings Network Progress Training make_seeded make_accelerator",
    "training.dreams": "MASK_LEVEL SpriteMemory cut_out recentre thicken dream centre_loss location_loss",
    "training.lavae": "Settings LAVAETraining",
    "training.loop": "LOG_EVERY TrainingDivergedError train",
    "training.paper": "PaperTraining",
    "training.proposals": "MIN_NATS propose_by_surprise",
    "training.provenance": "provenance",
    "training.recipes": (
        "Recipe LAVAERecipe PaperRecipe BaselineRecipe FAST LONG JOINT SMOKE PAPER PAPER_SMALL PAPER_SMOKE "
        "DREAMS_SMALL LATENTS BASELINE BASELINE_LONG BASELINE_SMOKE RECIPES"
    ),
    "training.run_folder": "claimed RunFolder",
    "training.sharpness": "TEMPERATURES fit_sharpness",
    "training.vae": "VAETraining",
    "training.wake_sleep": "WakeSleepTraining",
}

# Names without a successor: what they did is done in another shape, which the comment names.
GONE = {
    "datasets": {"POOLS", "Split"},  # data.sources: DATASETS makes banks, SPLITS holds numbers of scenes
    "learning.agents": {"POLICIES"},  # fields of the kinds in rl.observations
    "learning.evaluation": {"Predict"},  # the type of one argument
    "learning.report": {"plot_steps", "plot_objects", "KINDS", "Key", "Item", "agent"},  # plot draws both; TEXTS
    "learning.run_settings": {"fresh_facts", "check_model", "resumed_facts"},  # rl.run: a dataclass, not a dictionary
    "learning.vec_envs": {"find_model"},  # rl.observations
    "model.baseline": {"Means"},  # ConvVAE.decode
    "model.canvas": {"compose", "empty_scene", "bernoulli_log_likelihood"},  # objects of model.image
    "model.frames": {"to_images"},  # model.image.likelihood: Bernoulli.images
    "model.objective": {"kl_to_standard_normal"},  # model.gaussian
    "model.posterior": {"LOG_VARIANCE_RANGE", "mean_and_log_variance"},  # model.gaussian
    "model.pretrained": {"Config", "read_facts", "read_world", "save"},  # runs.config: typed, with a format number
    "model.relaxed": {"RelaxedLocations", "compose_relaxed"},  # a tuple; add_relaxed_sprites
    "model.shapes": {"Presences"},
    "perception.set_networks": {"Turns", "VIEWS"},  # named features and rotations now
    "perception.tokens": {"normalised_xy"},  # data.coordinates
    "perception.wrappers": {"replace", "encode_with_finals"},  # parts of the one encoder interface
    "sweep": {"AnyCell"},  # runs have their names as keys
    "training.provenance": {"provenance"},  # runs.provenance: Provenance.here()
    "training.base": {"ELBO_SCENES", "Model", "Settings"},  # a field of the recipe; methods are not generic
    "training.dreams": {"thicken"},  # SpriteMemory dilates
    "training.lavae": {"LAVAETraining", "Settings"},  # methods instead of a hierarchy of trainings
    "training.paper": {"PaperTraining"},
    "training.recipes": {"LATENTS", "RECIPES"},  # PRESETS
    "training.vae": {"VAETraining"},
    "training.wake_sleep": {"WakeSleepTraining"},
}


def names_of(module: str) -> list[str]:
    """Names of a module that have to be found."""
    return [name for name in NAMES[module].split() if name not in GONE.get(module, ())]


def take(module: str, name: str) -> list[str]:
    """Import a name of a module and return the notes that this gave."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert hasattr(import_module(f"lavae_rl.{module}"), name), f"lavae_rl.{module} has lost {name}"
    assert all(issubclass(warning.category, DeprecationWarning) for warning in caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("module", NAMES)
def test_names_of_the_first_version_are_found_where_they_were(module):
    for name in names_of(module):
        notes = take(module, name)
        assert len(notes) <= 1
        assert all(f"lavae_rl.{module}.{name} is deprecated: use lavae_rl." in note for note in notes)


@pytest.mark.parametrize("module", sorted(MOVED))
def test_every_successor_exists_and_gives_the_module_at_least_one_name(module):
    successors = {f"lavae_rl.{home}" for home in MOVED[module]}
    assert all(find_spec(successor) for successor in successors)
    names = names_of(module)
    used = {note.split(": use ")[1].rpartition(".")[0] for name in names for note in take(module, name)}
    assert used == (successors if names else set())


@pytest.mark.parametrize("module", GONE)
def test_name_called_gone_is_gone(module):
    if find_spec(f"lavae_rl.{module}"):
        assert not [name for name in GONE[module] if hasattr(import_module(f"lavae_rl.{module}"), name)]


def test_note_names_the_new_place_and_points_to_the_line_that_imports():
    program = "import lavae_rl\nfrom lavae_rl.scenes import Scenes\nprint(Scenes.__module__)"
    command = [sys.executable, "-W", "always::DeprecationWarning:__main__", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    note = "DeprecationWarning: lavae_rl.scenes.Scenes is deprecated: use lavae_rl.data.scenes.Scenes"
    assert done.stderr.splitlines() == [f"<string>:2: {note}"]
    assert done.stdout == "lavae_rl.data.scenes\n"


def test_objects_pickled_by_the_first_version_load():
    kept = pickle.dumps(Preprocessing(), protocol=0).replace(b"lavae_rl.data.pre", b"lavae_rl.perception.pre")
    with pytest.warns(DeprecationWarning, match=r"use lavae_rl\.data\.preprocessing\.Preprocessing"):
        assert pickle.loads(kept) == Preprocessing()


@pytest.mark.parametrize("module", ["scene", "scenes.random", "training.waking", "data.datasets", "moved.scenes"])
def test_module_that_never_existed_is_not_found(module):
    with pytest.raises(ModuleNotFoundError):
        import_module(f"lavae_rl.{module}")


def test_name_that_never_existed_is_an_import_error():
    with pytest.raises(ImportError, match=r"cannot import name 'Scene' from 'lavae_rl\.scenes'"):
        from lavae_rl.scenes import Scene  # type: ignore[import-not-found]  # noqa: F401


def test_importing_an_old_module_loads_nothing_until_a_name_is_taken():
    program = "import sys, lavae_rl.training, lavae_rl.model.pretrained; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
