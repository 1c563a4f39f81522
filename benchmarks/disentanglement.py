"""Linear probes of an object's attributes and location from its appearance vector.

    python benchmarks/disentanglement.py --dataset multi-dsprites
    python benchmarks/disentanglement.py --dataset multi-dsprites --baseline runs/multi-dsprites-baseline-fast-seed0

Scenes of one object, so that the baseline's whole latent map can be asked the same questions. Classes by logistic
regression (share of test objects that are right), numbers by ridge regression (R^2: 1 is perfect, 0 is the mean).
Angles are asked as sine and cosine of the angle times the symmetry of the shape, with a probe for each shape.
*shape, held-out combinations*: the probe is fitted on the combinations of shape and colour that agents are trained
with, and asked for those that they never see.
"""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lavae_rl.data.scenes import sample_scenes
from lavae_rl.data.sources import DATASETS, SceneDataset, load_bank
from lavae_rl.envs.looks import COMBINATIONS, HELD_OUT
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.runs.exits import program_console

SYMMETRIES = (4, 2, 3)
"""Order of the symmetry of square, ellipse and triangle: rotated by a full circle over it, they look the same."""


def single_objects(name: str, num_scenes: int, seed: int) -> SceneDataset:
    bank = load_bank(name)
    return SceneDataset(sample_scenes(np.random.default_rng(seed), bank, num_scenes, 1), bank)


def targets(dataset: SceneDataset) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Classes and numbers to ask for, one per scene."""
    truth = {name: values[dataset.scenes.sprite_index[:, 0]] for name, values in dataset.bank.attributes.items()}
    numbers = {"location": dataset.scenes.location[:, 0].astype(float)}
    if "label" in truth:
        return {"digit": truth["label"]}, numbers
    turn = truth["angle"] * np.array(SYMMETRIES)[truth["shape"]]
    numbers |= {"scale": truth["scale"][:, None], "scale within shapes": truth["scale"][:, None]}
    numbers |= {"angle within shapes": np.stack([np.cos(turn), np.sin(turn)], axis=1)}
    return {"shape": truth["shape"], "color": truth["color"]}, numbers


def probe(features: np.ndarray, dataset: SceneDataset, num_train: int) -> dict[str, float]:
    """Accuracy of each target read off the features, on scenes that the probes were not fitted on."""
    classes, numbers = targets(dataset)
    train, test = slice(num_train), slice(num_train, None)
    scores: dict[str, float] = {}
    for name, values in classes.items():
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000))
        scores[name] = float(linear.fit(features[train], values[train]).score(features[test], values[test]))
        scores[f"{name} (most frequent)"] = float(np.bincount(values[test]).max() / len(values[test]))
    if "shape" in classes:
        scores["shape, held-out combinations"] = held_out_shapes(features, classes["shape"], classes["color"])
    for name, values in numbers.items():
        # Half a turn of an ellipse is no turn; of a triangle it is the opposite: a probe for each shape.
        group = classes["shape"] if name.endswith("within shapes") else np.zeros(len(values), int)
        members = [np.flatnonzero(group == kind) for kind in np.unique(group)]
        scores[f"{name} R^2"] = float(
            np.mean([r_squared(features[i], values[i], (i < num_train).sum()) for i in members])
        )
    return scores


def held_out_shapes(features: np.ndarray, shape: np.ndarray, color: np.ndarray) -> float:
    """Accuracy of a probe of the shape on combinations with colours that it was not fitted on."""
    held_out = {tuple(look) for look in COMBINATIONS[HELD_OUT].tolist()}
    unseen = np.array([look in held_out for look in zip(shape.tolist(), color.tolist(), strict=True)])
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000))
    return float(linear.fit(features[~unseen], shape[~unseen]).score(features[unseen], shape[unseen]))


def r_squared(features: np.ndarray, values: np.ndarray, num_train: int) -> float:
    train, test = slice(num_train), slice(num_train, None)
    linear = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 7)))
    return float(linear.fit(features[train], values[train]).score(features[test], values[test]))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=list(DATASETS), default="multi-dsprites", help="(default: multi-dsprites)")
    parser.add_argument("--model", help="LAVAE (default: the bundled one for the data set)")
    parser.add_argument("--baseline", help="folder of a baseline to ask too")
    parser.add_argument(
        "--num-scenes", type=int, default=6_000, help="two thirds to fit, the rest to test (default: 6,000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the scenes (default: 0)")
    args = parser.parse_args(argv)
    dataset = single_objects(args.dataset, args.num_scenes, args.seed)
    found = LAVAE.from_pretrained(args.model or args.dataset).encode(dataset[:], max_objects=1)
    kept = np.flatnonzero((found.count == 1) & (found.dropped == 0))
    dataset = SceneDataset(dataset.scenes[kept], dataset.bank)
    columns: dict[str, Mapping[str, float]] = {
        "LAVAE's appearance": probe(found.appearance[kept, 0], dataset, 2 * len(kept) // 3),
        "LAVAE's location": probe(found.location[kept, 0].astype(float), dataset, 2 * len(kept) // 3),
    }
    if args.baseline is not None:
        latents = ConvVAE.from_pretrained(args.baseline).encode(dataset[:]).flatten(1).cpu().numpy()
        columns["baseline"] = probe(latents, dataset, 2 * len(kept) // 3)
    table = Table("target", *columns, title=f"Linear probes on {args.dataset}, {len(kept):,} scenes of one object")
    for name in next(iter(columns.values())):
        table.add_row(name, *(f"{scores[name]:.3f}" for scores in columns.values()))
    program_console().print(table)


if __name__ == "__main__":
    main()
