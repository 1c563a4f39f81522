"""Draw the pictures of docs/concepts.md: scene, location, appearance, token and dream, by the bundled model of shapes.

python pretrain/draw_concepts.py --out docs/images/concepts
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.markup import escape

from lavae_rl.data.coordinates import to_xy
from lavae_rl.data.sources import load_dataset
from lavae_rl.evaluation.interventions import change_appearance, pixel_means
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.networks.prototypes import Layout
from lavae_rl.model.objects import Objects
from lavae_rl.perception.tokens import TokenLayout
from lavae_rl.pictures import captioned, frame_rows, mark_centres, save_png, stacked, to_bytes
from lavae_rl.pretraining.dreams import SpriteMemory, cut_out, dream, recentre
from lavae_rl.runs.exits import clean_exit, program_parser
from lavae_rl.shapes import Frames, Picture

MODEL = "multi-dsprites"
STEPS = 8
SLOTS = 8


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 done, 1 failed, 2 unusable arguments, 130 stopped."""
    parser = program_parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the PNGs; made if it is missing")
    args = parser.parse_args(argv)
    with clean_exit(errors=(ValueError, OSError)) as console:
        args.out.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures():
            save_png(args.out / f"{name}.png", picture)
            console.print(escape(str(args.out / f"{name}.png")))


def pictures() -> Iterator[tuple[str, Picture]]:
    """Yield the name and the picture of each concept."""
    model = LAVAE.from_pretrained(MODEL)
    few, seven = (load_dataset(MODEL, split) for split in ("test", "test-7"))
    several = np.flatnonzero(few.scenes.count == 3)[:STEPS]
    first = np.array([np.flatnonzero(few.scenes.count == number)[0] for number in range(4)])
    yield "scene", scene(np.concatenate([few[first], seven[:1]]))
    yield "location", location(model, few[several[:2]])
    yield "appearance", appearance(model, few[several])
    yield "token", token(model, few[several[:1]])
    yield "dream", dreams(model, few[np.flatnonzero(few.scenes.count > 0)[:500]])


def scene(frames: Frames) -> Picture:
    """Draw scenes of 0 to 3 objects, and one of 7."""
    return captioned("training: 0 to 3 objects; last, a test of 7", [mark_centres(each, _none()) for each in frames])


def location(model: LAVAE, frames: Frames) -> Picture:
    """Draw frames, the probability of a centre at each pixel, and the centres that are found."""
    with torch.inference_mode():
        probability = model.logits(model.images(frames)).sigmoid().cpu().numpy()
    heat = [cv2.applyColorMap(cv2.dilate(each, np.ones((2, 2))), cv2.COLORMAP_HOT) for each in to_bytes(probability)]
    objects = model.encode(frames)
    found = [objects.location[i, : objects.count[i]] for i in range(len(frames))]
    panels = [
        panel
        for frame, warm, centres in zip(frames, heat, found, strict=True)
        for panel in (frame, cv2.cvtColor(warm, cv2.COLOR_BGR2RGB), (frame, centres))
    ]
    drawn = [mark_centres(*panel) if isinstance(panel, tuple) else mark_centres(panel, _none()) for panel in panels]
    return captioned("frame, presence of a centre at each pixel, peaks above 0.35; twice", drawn)


def appearance(model: LAVAE, frames: Frames) -> Picture:
    """Draw one object whose latents vary: a row for the shape, the turn, the scale and the colour."""
    objects = model.encode(frames)
    layout = Layout.of(model.config.channels, model.config.latents)
    parts = np.split(np.arange(model.config.latents), np.cumsum([layout.shape, 2, 1]))
    first, others = objects.appearance[0, 0], objects.appearance[objects.mask]
    distance = np.linalg.norm(others[:, parts[0]] - first[parts[0]], axis=1)
    rows = {
        "shape: from that of one object to that of another": _towards(first, others[distance.argmax()], parts[0]),
        "turn: once around two latents": _turned(first, parts[1]),
        "scale: its latent from -2 to 2": _towards(_with(first, parts[2], -2.0), _with(first, parts[2], 2.0), parts[2]),
        "colour: from that of one object to that of another": _towards(first, others[-1], parts[3]),
    }
    return stacked([captioned(text, [_looks(model, objects, looks)]) for text, looks in rows.items()])


def _looks(model: LAVAE, objects: Objects, looks: np.ndarray) -> Picture:
    """Draw the first scene with other looks of its first object, a frame for each."""
    changed = Objects.concatenate([change_appearance(objects, 0, 0, look) for look in looks])
    means = pixel_means(model, changed).reshape(len(looks), -1, *objects.canvas_size, model.config.channels)[:, 0]
    return frame_rows(to_bytes(means))


def _with(look: np.ndarray, latents: np.ndarray, value: float) -> np.ndarray:
    changed = look.copy()
    changed[latents] = value
    return changed


def _towards(start: np.ndarray, end: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """Appearances on the way from one to another, in the given latents alone."""
    looks = np.tile(start, (STEPS, 1))
    share = np.linspace(0, 1, STEPS, dtype=np.float32)[:, None]
    looks[:, latents] = (1 - share) * start[latents] + share * end[latents]
    return looks


def _turned(look: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """Appearances whose two latents of the turn go around once."""
    looks, angle = np.tile(look, (STEPS, 1)), np.linspace(0, 2 * np.pi, STEPS, endpoint=False)
    x, y = look[latents]
    looks[:, latents] = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], 1)
    return looks


def token(model: LAVAE, frames: Frames) -> Picture:
    """Draw a frame and, beside it, its tokens as a table of colours with the values of x and y."""
    objects = model.encode(frames, SLOTS)
    tokens = TokenLayout(SLOTS, model.config.latents).tokens(objects)["tokens"][0]
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2.4))
    left.imshow(frames[0])
    left.set_title("frame, slot of each object")
    left.set_axis_off()
    for slot in range(int(objects.count[0])):
        row, column = objects.location[0, slot].tolist()
        left.annotate(str(slot), (column, row), (column + 7, row - 5), color="orange", weight="bold")
    right.imshow(np.where(objects.mask[0][:, None], tokens, np.nan), cmap="RdBu_r", vmin=-2.5, vmax=2.5, aspect="auto")
    names = ["x", "y", *(f"a{i}" for i in range(1, tokens.shape[1] - 1))]
    right.set_xticks(range(len(names)), names)
    right.set_yticks(range(SLOTS), [f"slot {slot}" for slot in range(SLOTS)])
    right.set_title("tokens: location, then appearance; unused slots are 0")
    for slot, xy in enumerate(to_xy(objects.location, objects.canvas_size)[0, : objects.count[0]]):
        for i, value in enumerate(xy):
            right.text(i, slot, f"{value:.1f}", ha="center", va="center", fontsize=8)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def dreams(model: LAVAE, frames: Frames) -> Picture:
    """Draw training scenes, sprites cut out of them, and dreams with the centres that the network has to find."""
    generator = torch.Generator().manual_seed(0)
    size = model.config.sprite_size
    with torch.inference_mode():
        images = model.images(frames)
        found = model.peaks(model.logits(images), model.scene(images))
        sprites = model.sprite_decoder(model.appearance_network(images, found).mean)
        memory = SpriteMemory(1_024, model.config.channels, size)
        memory.write(recentre(cut_out(images, found, sprites)))
        dreamt, centres = dream(memory, 5, 12, (64, 64), generator)
    cuts = memory.sprites[:15].permute(0, 2, 3, 1).numpy().astype(np.uint8) * 255
    scenes = (dreamt.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    marked = [mark_centres(each, np.argwhere(at)) for each, at in zip(scenes, centres.numpy(), strict=True)]
    return stacked(
        [
            captioned("scenes", [mark_centres(each, _none()) for each in frames[:5]]),
            captioned("sprites cut out of them", [mark_centres(each, _none()) for each in cuts]),
            captioned("dreams: the centres are known", marked),
        ]
    )


def _none() -> np.ndarray:
    return np.zeros((0, 2))


if __name__ == "__main__":
    main()
