"""Models on disk: folders with config.json and model.safetensors, bundled, the user's or from the Hub."""

import hashlib
import importlib
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import nn

from lavae_rl.model.card import CARD_FILE, write_card
from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.config import CONFIG_FILE, parse, read_json, write_json
from lavae_rl.runs.missing import what_there_is
from lavae_rl.runs.reading import check_file, shortened
from lavae_rl.runs.weights import check_weights

WEIGHTS_FILE = "model.safetensors"
DIGESTS = ("weights_sha256", "weights_sha256_before")
"""Entries of config.json: SHA-256 of the weights, and of those that were in the folder before them."""
MODEL_TYPES = {"lavae": "lavae_rl.model.lavae:LAVAE", "conv-vae": "lavae_rl.model.baseline:ConvVAE"}
"""Module and class of each type of model that config.json may state."""
BUNDLED = Path(__file__).parents[1] / "checkpoints"

_FILES = (CONFIG_FILE, WEIGHTS_FILE)
_REPOSITORY = re.compile(r"[a-z0-9][\w.-]*/[a-z0-9][\w.-]*", re.ASCII | re.IGNORECASE)
_POINTER = b"version https://git-lfs"
_OUR_FOLDERS = ("runs", "frames")
_OUR_ENDINGS = (".safetensors", ".json", ".pt", ".zip")

Model = TypeVar("Model", bound="PretrainedModel")


class MissingPackageError(ImportError, ValueError):
    """An optional package is needed and not installed: like any ValueError, one line of our programs."""


def bundled_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{CONFIG_FILE}"))


def find(name: str | Path) -> Path:
    """The folder of a model: of a bundled name, a folder itself, or a downloaded repository of the Hub.

    Only names that can be no folder's are sent to the Hub, see ``is_repository``.

    Raises:
        FileNotFoundError: neither; or a folder without config.json or model.safetensors.
        MissingPackageError: a repository of the Hub, and huggingface_hub is not installed.
        ValueError: one of the two is no plain file.
    """
    bundled = bundled_names()
    folder = BUNDLED / name if str(name) in bundled else expanded(name)
    if not folder.exists() and isinstance(name, str) and is_repository(name):
        folder = _download(name)
    elif not folder.is_dir():
        there = what_there_is(folder, _FILES)
        raise FileNotFoundError(f"expected a folder or one of the bundled models {bundled}, got '{name}': {there}")
    for file in filter(Path.exists, (folder / name for name in _FILES)):
        check_file(file)
    if not all((folder / file).exists() for file in _FILES):
        raise FileNotFoundError(f"expected a model in the folder {name}: {what_there_is(folder, _FILES)}")
    return folder


def expanded(name: str | Path) -> Path:
    """The path that a name is, the home folder in place of ``~``."""
    return Path(name).expanduser() if str(name).startswith("~/") else Path(name)


def is_repository(name: str) -> bool:
    """Return whether a name is that of a repository of the Hub, "user/name", and cannot mean a folder or a file.

    A folder is meant where its first part exists here, or is one in which our programs put theirs.
    """
    owner = name.partition("/")[0]
    meant = owner in _OUR_FOLDERS or Path(owner).exists() or name.endswith(_OUR_ENDINGS)
    return _REPOSITORY.fullmatch(name) is not None and not meant


def lasting_name(name: str) -> str:
    """The name of a model that stands for it in any working directory: of a folder, its absolute path."""
    folder = expanded(name)
    return str(folder.resolve()) if name not in bundled_names() and folder.is_dir() else name


def _download(repository: str) -> Path:
    hub = _hub(repository)
    try:
        return Path(hub.snapshot_download(repository, allow_patterns=list(_FILES)))
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"expected a folder, one of the bundled models {bundled_names()}, or a repository of the Hugging Face Hub, "
            f"got '{repository}': there is no such folder here, and the Hub did not give it ({type(error).__name__}); "
            "check its spelling, and for the Hub the network and your access"
        ) from error


def fingerprint(folder: Path) -> str:
    """Fingerprint of a model's weights: the beginning of the SHA-256 of their file."""
    return _digest((folder / WEIGHTS_FILE).read_bytes())[:16]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def push(folder: str | Path, repository: str) -> None:
    """Upload a model's folder to the Hugging Face Hub, as ``"user/repository"``; needs the extra ``lavae-rl[hub]``."""
    api = _hub(repository).HfApi()
    api.create_repo(repository, exist_ok=True)
    api.upload_folder(repo_id=repository, folder_path=find(folder), allow_patterns=[*_FILES, CARD_FILE])


def _hub(repository: str) -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingPackageError(
            f"{repository!r} is no folder here; for the Hugging Face Hub: pip install 'lavae-rl[hub]'"
        ) from error


class PretrainedModel(nn.Module):
    """A model that a folder holds: config.json says which ``model_type`` it is and how to build it."""

    model_type: ClassVar[str]
    """Key of ``MODEL_TYPES``."""
    finds_objects: ClassVar[bool]
    """True if ``encode`` gives ``Objects``."""
    config_type: ClassVar[type]
    config: Any

    def save_pretrained(self, folder: str | Path, facts: Mapping[str, Any] | None = None) -> None:
        """Write config.json and model.safetensors, each as a whole, to a folder, which is made if it is missing.

        config.json keeps the ``facts`` beside the configuration: recipe, seed, commit, metrics. Beside both files, a
        model card is written, README.md, but not while a training goes on, whose ``facts`` have "metrics" of None. A
        README.md that is not ours, without the line ``lavae_rl.model.card.MARK``, stays.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = safetensors.save({name: value.contiguous() for name, value in self.state_dict().items()})
        facts = {**(facts or {}), "model_type": self.model_type, "model": asdict(self.config)}
        before = folder / WEIGHTS_FILE
        digests = [_digest(weights), *([_digest(before.read_bytes())] if before.is_file() else [])]
        # The configuration first, which knows both weights: a crash between the two leaves a model that loads.
        write_json(folder, {**facts, **dict(zip(DIGESTS, digests, strict=False))})
        with replacing(folder / WEIGHTS_FILE) as temporary:
            temporary.write_bytes(weights)
        if facts.get("metrics", {}) is not None:
            write_card(folder, self.model_type, facts)

    @classmethod
    def from_pretrained(cls: type[Model], name: str | Path, device: str | torch.device = "cpu") -> Model:
        """Load a bundled model, a folder, or a repository of the Hugging Face Hub. Strict; never unpickles.

        Args:
            name: ``"multi-dsprites"`` or another bundled name; a folder with config.json and model.safetensors (a run
                folder will do); or ``"user/repository"``, which needs the extra ``lavae-rl[hub]``.
            device: where to put the weights.

        Raises:
            FileNotFoundError: neither a bundled name nor a folder with both files.
            MissingPackageError: a repository of the Hub, without the extra.
            ValueError: a model of another type; files that are damaged, do not fit each other, or hold NaN or infinite
                weights.
        """
        folder = find(name)
        with torch.inference_mode(False):  # weights made inside inference mode could not be told when they change
            model = cls(read_config(folder, cls))
            load_weights(model, folder)
            return model.to(device)


def load_model(name: str | Path, device: str | torch.device = "cpu") -> Any:
    """Load a model of any type by ``from_pretrained`` of its class; raise ValueError on an unknown type."""
    found = model_type(read_json(folder := find(name)))
    if found not in MODEL_TYPES:
        raise ValueError(f"expected a model of type {' or '.join(MODEL_TYPES)} in {folder}, got {found!r}")
    module, _, kind = MODEL_TYPES[found].partition(":")
    return getattr(importlib.import_module(module), kind).from_pretrained(folder, device)


def model_type(content: Mapping[str, Any]) -> str:
    """The type that a config.json states; in format 1, the type whose configuration it is."""
    values = content.get("model")
    stated = "lavae" if isinstance(values, dict) and "sprite_size" in values else "conv-vae"
    return str(content.get("model_type", stated))


def read_config(folder: Path, kind: type[PretrainedModel]) -> Any:
    """The configuration of a model of a kind, from its folder.

    Raises:
        ValueError: config.json is not what ``save_pretrained`` writes, or of a model of another type.
    """
    content, path = read_json(folder), folder / CONFIG_FILE
    if not isinstance(content.get("model"), dict):
        raise ValueError(f'expected {path} to hold an object "model", got {sorted(content)}')
    if (found := model_type(content)) != kind.model_type:
        raise ValueError(
            f"expected a model of type {kind.model_type!r} in {folder}, got {found!r}: "
            "lavae_rl.model.checkpoint.load_model loads either"
        )
    return parse(kind.config_type, content["model"], path)


def load_weights(model: nn.Module, folder: Path) -> None:
    """Load model.safetensors.

    Raises:
        ValueError: weights that are damaged, of another model, not those that config.json has the hash of, of whole
            numbers, NaN, infinite or all zero.
    """
    path, stored = folder / WEIGHTS_FILE, read_json(folder)
    content, known = path.read_bytes(), [stored[name] for name in DIGESTS if name in stored]
    if content.startswith(_POINTER):
        raise ValueError(f"{path} is a pointer of Git LFS and holds no weights: fetch them, by git lfs pull")
    try:
        weights = safetensors.load(content)
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged or does not fit its {CONFIG_FILE}: {shortened(error)}") from error
    check_weights(weights, model, str(path))
    if known and (found := _digest(content)) not in known:
        raise ValueError(
            f"expected weights of SHA-256 {known[0]!r}, which {CONFIG_FILE} was written with, got {found} in {path}: "
            f"copy both files again; or, if the weights were changed on purpose, remove {DIGESTS[0]} from {CONFIG_FILE}"
        )
    model.load_state_dict(weights)
