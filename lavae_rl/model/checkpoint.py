"""Models on disk: folders with config.json and model.safetensors, bundled, the user's or from the Hub."""

import hashlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
Config = TypeVar("Config")
BUNDLED = Path(__file__).parents[1] / "checkpoints"


def find(name: str | Path) -> Path:
    """The folder of a model: of a bundled name, a folder itself, or a downloaded repository of the Hub.

    Raises:
        FileNotFoundError: neither; or a folder without config.json or model.safetensors.
        ImportError: a repository of the Hub, and huggingface_hub is not installed.
    """
    bundled = sorted(path.parent.name for path in BUNDLED.glob(f"*/{CONFIG_FILE}"))
    if str(name) in bundled:
        folder = BUNDLED / name
    elif Path(name).is_dir():
        folder = Path(name)
    elif isinstance(name, str) and name.count("/") == 1 and not name.startswith(("/", ".")):
        patterns = [CONFIG_FILE, WEIGHTS_FILE]
        folder = Path(_hub(name).snapshot_download(name, allow_patterns=patterns))
    else:
        raise FileNotFoundError(f"expected a folder or one of the bundled models {bundled}, got {str(name)!r}")
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise FileNotFoundError(f"expected {CONFIG_FILE} and {WEIGHTS_FILE} in {folder}, {file} is missing")
    return folder


def fingerprint(folder: Path) -> str:
    """What tells the weights of a model from others: the beginning of the SHA-256 of their file."""
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()[:16]


def push(folder: str | Path, repository: str) -> None:
    """Uploads a model's folder to the Hugging Face Hub, as ``"user/repository"``; needs the extra ``lavae-rl[hub]``.

    Raises:
        FileNotFoundError, ImportError: see ``find``.
    """
    api = _hub(repository).HfApi()
    api.create_repo(repository, exist_ok=True)
    api.upload_folder(repo_id=repository, folder_path=find(folder), allow_patterns=[CONFIG_FILE, WEIGHTS_FILE])


def _hub(repository: str) -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ImportError(
            f"{repository!r} is no folder here; for the Hugging Face Hub: pip install 'lavae-rl[hub]'"
        ) from error


def read_facts(folder: Path) -> dict[str, Any]:
    """What config.json says of a model or a run.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return dict(json.loads((folder / CONFIG_FILE).read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / CONFIG_FILE} is damaged: {error}") from error


def read_config(folder: Path, kind: type[Config]) -> Config:
    """The model's configuration, of its kind, from its folder.

    Raises:
        ValueError: config.json is not what ``save`` writes.
    """
    path = folder / CONFIG_FILE
    try:
        return kind(**json.loads(path.read_text())["model"])
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        known = ", ".join(field.name for field in fields(cast("Any", kind)))
        raise ValueError(f'expected {path} to be JSON with an object "model" of {known}; got {error}') from error


def read_world(folder: Path, dataset: str | None = None, mnist_dir: str | None = None) -> dict[str, Any]:
    """The scenes a model was trained on, as keywords of ``load_dataset``, sizes and counts of the paper by default.

    Args:
        folder: of the model.
        dataset: name of another data set than it was trained on.
        mnist_dir: folder of MNIST's files, if it is elsewhere now.

    Raises:
        ValueError: config.json does not say which data set, and neither does ``dataset``.
    """
    facts = read_facts(folder)
    recipe = facts.get("recipe") or {}
    if (name := dataset or facts.get("dataset")) is None:
        raise ValueError(f"expected --dataset, since {folder / CONFIG_FILE} does not say what the model was trained on")
    sizes = {key: recipe[key] for key in ("canvas_size", "patch_size", "max_objects") if key in recipe}
    same = dataset in (None, facts.get("dataset"))
    return {"name": name, "mnist_dir": mnist_dir or (facts.get("mnist_dir") if same else None), **sizes}


def load_weights(model: nn.Module, folder: Path) -> None:
    """Loads model.safetensors, strictly.

    Raises:
        ValueError: damaged, of another model, or NaN or infinite weights.
    """
    path = folder / WEIGHTS_FILE
    try:
        weights = load_file(path)
        model.load_state_dict(weights, strict=True)
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]  # PyTorch lists every weight of both
        raise ValueError(
            f"{path} is damaged, does not fit its {CONFIG_FILE}, or is no {type(model).__name__} (there are LAVAE and, "
            f"trained with --model baseline, ConvVAE): {reason}"
        ) from error
    if broken := [name for name, value in weights.items() if not torch.isfinite(value.float()).all()]:
        raise ValueError(f"{path} holds NaN or infinite weights: {', '.join(broken)}")


def save(folder: Path, config: Any, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Writes a model's folder; whoever reads, or kills us, finds whole files."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "saving.tmp"
    save_file({name: value.contiguous() for name, value in weights.items()}, temporary)
    temporary.replace(folder / WEIGHTS_FILE)
    temporary.write_text(json.dumps({"model": asdict(config), **facts}, indent=2) + "\n")
    temporary.replace(folder / CONFIG_FILE)
