"""The run of a pretraining, as ``config.json`` in its run folder describes it."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from accelerate import Accelerator

from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.data.recordings import FrameSpec
from lavae_rl.data.sources import DATASETS, SceneSpec, open_source
from lavae_rl.model.checkpoint import DIGESTS
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretraining.paper import PaperMethod
from lavae_rl.pretraining.recipes import DIGIT_LATENTS, DIGITS, PRESETS, Preset, WorldRecipe
from lavae_rl.pretraining.state import Method
from lavae_rl.pretraining.survey import Choices, Survey, survey
from lavae_rl.pretraining.vae import PlainVAE
from lavae_rl.pretraining.wake_sleep import WakeSleep
from lavae_rl.pretraining.world import WorldWakeSleep
from lavae_rl.runs.config import CONFIG_FILE, parse, read_json
from lavae_rl.runs.provenance import Provenance

ATARI_PIXELS = 210 * 160

METHODS: Mapping[str, Any] = {"wake-sleep": WakeSleep, "world": WorldWakeSleep, "paper": PaperMethod, "vae": PlainVAE}
"""Methods by the name that config.json states."""


@dataclass
class PretrainingRun:
    """A pretraining: its model, data, method and settings, its provenance and its results."""

    method: str
    """Key of ``METHODS``."""
    model_type: str
    model: Any
    """Configuration of the model."""
    data: FrameSpec | SceneSpec
    recipe_name: str
    """Name of the preset."""
    recipe: Any
    seed: int
    """Seed of weights, batches and noise, below 2^63; all seeds share the data."""
    provenance: Provenance
    """Provenance of the process that started the run."""
    choices: Choices | None = None
    """Choices of the recipe for environments."""
    mixed_precision: str = "no"
    """"no" or "bf16"."""
    compile: bool = False
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    """Preprocessing of the frames; it is stored with the weights."""
    learning_rate_scale: float = 1.0
    """Factor of the preset's learning rates; those of ``recipe`` are the products."""
    processes: int | None = None
    """Number of processes that train, each with a batch of its own."""
    device: str | None = None
    """Name of the GPU, or "cpu"."""
    resumed: list[Provenance] = field(default_factory=list)
    """Provenance of the processes that resumed the run."""
    training_seconds: float | None = None
    """Duration of the training, once it is complete."""
    skipped_steps: int | None = None
    """Steps that were not finite."""
    metrics: dict[str, float | None] | None = None
    """On the test splits, once the run is complete; see ``evaluation.evaluate``."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"expected --seed of 0 to 2^63 - 1, got {self.seed}")

    def content(self) -> dict[str, Any]:
        """The content of config.json."""
        return dataclasses.asdict(self)

    def make_method(self, accelerator: Accelerator) -> Method:
        """The method at its first step."""
        method: Method = METHODS[self.method](self.model, self.recipe, self.seed, accelerator)
        return method


def new_run(
    model: str, recipe: str, dataset: str, mnist_dir: str | None = None, steps: int | None = None, **settings: Any
) -> PretrainingRun:
    """A run of a preset on one of the paper's data sets.

    Args:
        model: "lavae" or "baseline".
        recipe: name of the preset.
        dataset: key of ``DATASETS``.
        mnist_dir: folder of MNIST's files, or None.
        steps: length of the run, or None for the preset's.
        settings: further fields of ``PretrainingRun``.

    Raises:
        ValueError: no such preset, or settings that it cannot take.
    """
    preset, digits = _preset(model, recipe), dataset in DIGITS
    if preset.method == "world":
        raise ValueError(f"expected --env or --frames with --recipe {recipe}, which is for frames of environments")
    model_class, data = METHODS[preset.method].model_class, SceneSpec(dataset, mnist_dir, **preset.data)
    changed = dict(preset.digits if digits else {}) | ({} if steps is None else {"steps": steps})
    config = {"channels": data.bank().channels, **preset.model}
    if model_class.finds_objects:
        config |= {"max_objects": data.max_objects} | ({"latents": DIGIT_LATENTS} if digits else {})
    return PretrainingRun(
        method=preset.method,
        model_type=model_class.model_type,
        model=model_class.config_type(**config),
        data=data,
        recipe_name=recipe,
        recipe=dataclasses.replace(preset.recipe, **changed),
        provenance=Provenance.here(),
        **settings,
    )


def new_world_run(
    model: str, recipe: str, data: FrameSpec, steps: int | None = None, options: Mapping[str, Any] = {}, **settings: Any
) -> tuple[PretrainingRun, Survey]:
    """A run on frames of an environment, and the survey that chose its model.

    Args:
        model: "lavae".
        recipe: name of a preset of the method "world".
        data: the frames.
        steps: length of the run, or None for the preset's.
        options: arguments of ``survey``: background, sprite size, N_max, ignored areas.
        settings: further fields of ``PretrainingRun``.

    Raises:
        ValueError: no such preset, or frames or settings that it cannot take.
    """
    preset = _preset(model, recipe)
    if preset.method != "world":
        raise ValueError(f"expected --recipe world for frames of an environment, got --model {model} --recipe {recipe}")
    source = open_source(data, "train")
    if len(source) < preset.recipe.batch_size:
        raise ValueError(
            f"expected at least {preset.recipe.batch_size} frames to train on, got {len(source)} in the first 70 % of "
            f"{data.path}: collect more"
        )
    found = survey(source, source.episodes, **options)
    given = cast("WorldRecipe", preset.recipe)
    changed: dict[str, Any] = dream_sizes(found, given)
    changed["batch_size"] = affordable_batch(found, given.batch_size)
    changed |= {} if steps is None else {"steps": steps}
    run = PretrainingRun(
        method=preset.method,
        model_type=LAVAE.model_type,
        model=found.model_config(),
        data=data,
        recipe_name=recipe,
        recipe=dataclasses.replace(given, **changed),
        provenance=Provenance.here(),
        choices=found.choices,
        **settings,
    )
    return run, found


def scaled_run(run: PretrainingRun, batch_size: int | None = None, learning_rate_scale: float = 1.0) -> PretrainingRun:
    """A new run with a batch size, None for its own, and learning rates that are its own times a factor.

    Raises:
        ValueError: a batch size below 1, or a factor that is not above 0.
    """
    if not 0 < learning_rate_scale < math.inf:
        raise ValueError(f"expected --learning-rate-scale above 0, got {learning_rate_scale}")
    recipe = run.recipe
    rates = [field.name for field in dataclasses.fields(recipe) if field.name.endswith("learning_rate")]
    changed = {name: learning_rate_scale * getattr(recipe, name) for name in rates}
    changed |= {} if batch_size is None else {"batch_size": batch_size}
    return dataclasses.replace(
        run, recipe=dataclasses.replace(recipe, **changed), learning_rate_scale=learning_rate_scale
    )


def affordable_batch(found: Survey, most: int) -> int:
    """The batch size at which a step reads no more pixels than ``most`` Atari screens have, but 4 at least."""
    return min(most, max(4, most * ATARI_PIXELS // found.nats[0].size))


def dream_sizes(found: Survey, recipe: WorldRecipe) -> dict[str, int]:
    """The size of dreams, with room for three windows beside each other, their number, and the most objects in one.

    Objects are three times as dense as in the fullest frames, but 12 to 40. Of larger dreams there are fewer, but
    6: a step reads no more pixels than the recipe's.
    """
    size = max(recipe.dream_size, 3 * found.choices.sprite_size * found.choices.scales[-1])
    height, width = found.frames.shape[1:3]
    pixels = min(size, height) * min(size, width)
    objects = round(3 * pixels / (height * width) * found.choices.largest_count)
    dreams = min(recipe.dreams, max(6, round(recipe.dreams * recipe.dream_size**2 / pixels)))
    return {"dream_size": size, "dreams": dreams, "dream_objects": max(12, min(40, objects))}


def _preset(model: str, recipe: str) -> Preset:
    if recipe not in PRESETS[model]:
        raise ValueError(f"expected --recipe of {', '.join(PRESETS[model])} for --model {model}, got {recipe}")
    return PRESETS[model][recipe]


def read_run(folder: Path) -> PretrainingRun:
    """Read config.json of a run folder; a file that is damaged, of 0.1.0 or of another program is a ValueError."""
    content, path = read_json(folder), folder / CONFIG_FILE
    if content.pop("format") == 1:
        raise ValueError(
            f"{path} was written by lavae-rl 0.1.0: its weights can be used, but the run cannot be continued; "
            "start another one in another --out"
        )
    content = {name: value for name, value in content.items() if name not in DIGESTS}
    stated = content.get("method")
    method = METHODS.get(stated) if isinstance(stated, str) else None
    if method is None or not {"model", "recipe"} <= content.keys():
        raise ValueError(f"expected {path} to hold a pretraining by {' or '.join(METHODS)}, got {sorted(content)}")
    stored = content.get("data")
    data = FrameSpec if isinstance(stored, dict) and "path" in stored else SceneSpec
    for name, kind in (("model", method.model_class.config_type), ("recipe", method.recipe_class), ("data", data)):
        if name in content:
            content[name] = parse(kind, content[name], path)
    return parse(PretrainingRun, content, path)


def read_data(folder: Path, dataset: str | None = None, mnist_dir: str | None = None) -> SceneSpec:
    """The scenes that the model in a folder was trained on, of the paper's sizes if config.json has none.

    ``dataset`` names another data set than that of the training, ``mnist_dir`` where MNIST's files are now.
    Raises ValueError if neither config.json nor ``dataset`` names a data set.
    """
    content = read_json(folder)
    stored = content.get("data") or {}
    if not isinstance(stored, dict):
        raise ValueError(f'expected {folder / CONFIG_FILE} to hold an object "data", got {stored!r}')
    if dataset is None and "path" in stored:
        raise ValueError(
            f"expected --dataset or --frames: the model in {folder} was trained on frames in {stored['path']}"
        )
    stored = {} if "path" in stored else stored
    if content["format"] == 1:  # sizes were settings of the recipe
        sizes = ("canvas_size", "patch_size", "max_objects")
        stored = {name: content[name] for name in ("dataset", "mnist_dir") if name in content}
        stored |= {name: value for name, value in (content.get("recipe") or {}).items() if name in sizes}
    if dataset is None and "dataset" not in stored:
        raise ValueError(f"expected --dataset, since {folder / CONFIG_FILE} does not say what the model was trained on")
    spec = parse(SceneSpec, stored, folder / CONFIG_FILE)
    if dataset is not None and dataset != spec.dataset:
        spec = dataclasses.replace(spec, dataset=dataset, mnist_dir=None)
    return spec if mnist_dir is None else dataclasses.replace(spec, mnist_dir=mnist_dir)


def check_channels(model: Any, data: SceneSpec) -> None:
    """Refuse, with a ValueError, a data set whose frames have other channels than the model reads."""
    reads = model.config.channels
    if reads != data.bank().channels:
        fitting = [name for name in DATASETS if (name in DIGITS) == (reads == 1)]
        expected = f"expected frames of shape (batch, height, width, {reads}), which the model reads"
        raise ValueError(f"{expected}, got --dataset {data.dataset}: choose --dataset {' or '.join(fitting)}")
