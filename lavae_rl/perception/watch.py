"""A watch over an encoder: it warns, once of each fault, where tokens cannot stand for what frames show."""

from collections import deque

import numpy as np

from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.model.explained import FrameSurprise, explained_share, frame_surprise
from lavae_rl.model.lavae import LAVAE
from lavae_rl.perception.palette import LeftOutColors
from lavae_rl.runs.programs import as_typed
from lavae_rl.shapes import Frames
from lavae_rl.warn import warn_user

LEAST_EXPLAINED = 0.5
"""Share of a frame's surprise under the background that objects must explain, in half of the frames."""
LEAST_NATS = 40.0
"""Surprise of a frame below which there is nothing to explain: one object has more."""
POOLED, JUDGED = 16, 8
"""Number of watched frames that are judged together, and least number of them."""
MOST_OF_BATCH = 4
"""Most frames that are watched of one batch."""

_TRAIN = "python pretrain/train_lavae.py --env ID"


class EncoderWatch:
    """The frames of some batches, compared with their reconstructions, and with what a palette leaves of them.

    The first eight batches are watched, and then each that is a quarter further on than the last. Watching a frame
    takes 1.5 times as long as encoding it. Where batches are single frames, that adds 5 % to the time of the first
    1,000 and less than 1 % to that of the first 10,000.

    Args:
        model: name of the model, for the warnings.
        prepare: the preprocessing of the frames.
    """

    def __init__(self, model: str, prepare: Preprocessing) -> None:
        self._name = model
        self._batches, self._next, self._unjudged = 0, 1, 0
        self._shares: deque[float] = deque(maxlen=POOLED)
        self._warned = False
        self._left_out = LeftOutColors(prepare, POOLED) if prepare.palette is not None else None

    def look(self, model: LAVAE, frames: np.ndarray, prepared: Frames) -> None:
        """Watch a batch if it is its turn.

        Args:
            model: encodes the frames.
            frames: uint8 (batch, *shape of a frame), as the environment gives them.
            prepared: the same frames as the model reads them.
        """
        self._batches += 1
        if self._batches < self._next or not len(frames):
            return
        self._next = self._batches + max(1, self._batches // 4)
        some = slice(None, None, -(-len(frames) // MOST_OF_BATCH))
        if not self._warned:
            self._judge_explained(frame_surprise(model, prepared[some]))
        if self._left_out is not None:
            self._judge_palette(self._left_out, frames[some])

    def _judge_palette(self, left_out: LeftOutColors, frames: np.ndarray) -> None:
        left_out.add(frames)
        self._unjudged += len(frames)
        if self._unjudged < JUDGED:
            return
        self._unjudged = 0
        if colors := left_out.moving():
            self._left_out = None
            warn_user(
                f"things of the colours {', '.join(map(str, colors))} move in these frames, and the palette turns them "
                "black, so that no object can be found there. Add the colours to Preprocessing(palette=...), or train "
                f"a model on the frames as they are: {as_typed(_TRAIN)}"
            )

    def _judge_explained(self, nats: FrameSurprise) -> None:
        pairs = zip(nats.background.tolist(), nats.reconstruction.tolist(), strict=True)
        self._shares.extend(explained_share(*pair) for pair in pairs if pair[0] >= LEAST_NATS)
        # Not the share of all nats: a flash, or a title before the game, has more of them than a hundred frames.
        if len(self._shares) < JUDGED or (share := float(np.median(self._shares))) >= LEAST_EXPLAINED:
            return
        self._warned = True
        warn_user(
            f"the objects that model {self._name!r} finds explain {max(share, 0):.0%} of what these frames show before "
            f"its background; below {LEAST_EXPLAINED:.0%}, tokens say little. What to do: (1) train a model on frames "
            f"of this environment: {as_typed(_TRAIN)}; (2) if this one has been, train it longer, on frames of a "
            "policy that gets as far; (3) look at what it finds: LAVAEObservation(..., render_objects=True)"
        )
