"""Rollouts: a policy acts in an environment, and its frames are written to a folder, episode by episode."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lavae_rl.data.environments import Screen, open_screen
from lavae_rl.runs.atomic import replacing

MANIFEST_FILE = "manifest.json"
FORMAT = 1
KEEP = 0.9
"""Probability with which the policy "sticky" repeats its last action: it gets farther than a random one."""

POLICIES = ("random", "sticky")

Policy = Callable[[Any], Any]
"""Chooses an action by an observation."""


@dataclass
class Rollouts:
    """The settings of a folder of frames, and what is in it so far; stored in manifest.json."""

    env_id: str
    env_kwargs: dict[str, Any]
    policy: str
    """"random", "sticky", or the path of an agent."""
    num_frames: int
    """Number of frames to collect, black ones not counted."""
    max_frames: int = 1
    """2 stores the pixelwise maximum of each two successive frames."""
    seed: int = 0
    """Episode i is seeded with ``seed + i``."""
    frame_key: str | None = None
    episodes: list[int] = field(default_factory=list)
    """Number of frames of each episode."""
    skipped: int = 0
    """Number of black frames, which are left out."""
    layout: str = "hwc"
    """Order of the axes of the environment's frames; "hw" has no channels. Stored frames are always "hwc"."""
    format: int = FORMAT

    @property
    def collected(self) -> int:
        """Number of frames in the folder."""
        return sum(self.episodes)


def collect(
    settings: Rollouts, folder: Path, policy: Policy | None, resume: bool, on_frames: Callable[[int], None]
) -> Rollouts:
    """Collect frames into a folder, or go on where an earlier call stopped: the result is the same to the byte.

    Each episode becomes a file episode-00000.npy, written as a whole; the last one ends with the last frame wanted.

    Args:
        settings: what to collect.
        folder: is made if it is missing.
        policy: acts for a ``settings.policy`` that is neither "random" nor "sticky".
        resume: go on in a folder that has a manifest.
        on_frames: called with the number of frames collected so far.

    Raises:
        FileExistsError: the folder holds something else, or ``resume`` is False and it holds something.
        ValueError: settings out of range or other than those of the folder, or frames that cannot be stored.
    """
    if settings.num_frames < 1 or settings.max_frames not in (1, 2):
        given = f"{settings.num_frames} and {settings.max_frames}"
        raise ValueError(f"expected --frames of at least 1 and --max-frames 1 or 2, got {given}")
    screen = open_screen(settings.env_id, settings.frame_key, **settings.env_kwargs)
    try:
        done = _open(settings, folder, resume)
        while done.collected < done.num_frames:
            episode = _shown(_episode(screen, done, policy), done, on_frames)
            if not episode:
                raise ValueError("expected frames that show something, got an episode of black ones")
            frames = np.stack(episode)
            done.layout = "hw" if frames.ndim == 3 else "hwc"
            with replacing(folder / f"episode-{len(done.episodes):05d}.npy") as temporary:
                np.save(temporary, frames[..., None] if frames.ndim == 3 else frames)
            done.episodes.append(len(episode))
            _write(done, folder)
        return done
    finally:
        screen.env.close()


def _shown(frames: Iterator[np.ndarray], done: Rollouts, on_frames: Callable[[int], None]) -> list[np.ndarray]:
    """The frames that are not black, as many as are still wanted."""
    shown: list[np.ndarray] = []
    for frame in frames:
        if shown and frame.shape != shown[0].shape:
            raise ValueError(f"expected frames of one size, got {shown[0].shape} and then {frame.shape}")
        if not frame.any():
            done.skipped += 1
            continue
        shown.append(frame)
        on_frames(done.collected + len(shown))
        if done.collected + len(shown) == done.num_frames:
            break
    return shown


def read_manifest(folder: Path) -> Rollouts | None:
    """The settings that a folder's frames were collected with; None in a folder without manifest.json.

    Raises:
        ValueError: a file that is damaged or of a newer version.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        return None
    try:
        content = Rollouts(**json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or of another version: {error}") from error
    if content.format != FORMAT:
        raise ValueError(f"{path} has format {content.format!r}, this version of lavae-rl reads {FORMAT}")
    return content


def _open(settings: Rollouts, folder: Path, resume: bool) -> Rollouts:
    """The rollouts in a folder that is to be continued, or these settings for a new one."""
    earlier = read_manifest(folder) if folder.is_dir() else None
    if earlier is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileExistsError(f"{folder} holds other files; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        _write(settings, folder)
        return settings
    if not resume:
        raise FileExistsError(f"{folder} holds frames; continue with --resume, or choose another --out")
    for name in ("env_id", "env_kwargs", "policy", "max_frames", "seed", "frame_key", "num_frames"):
        stored, given = getattr(earlier, name), getattr(settings, name)
        if stored != given:
            raise ValueError(f"the frames in {folder} have {name} {stored!r}, got {given!r}; choose another --out")
    return earlier


def _write(done: Rollouts, folder: Path) -> None:
    with replacing(folder / MANIFEST_FILE) as temporary:
        temporary.write_text(json.dumps(asdict(done), indent=2) + "\n")


def _episode(screen: Screen, settings: Rollouts, policy: Policy | None) -> Iterator[np.ndarray]:
    """The frames of the next episode."""
    env, seed = screen.env, settings.seed + len(settings.episodes)
    rng = np.random.default_rng(seed)
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    frame = earlier = screen.read(observation).copy()
    action, ended = None, False
    while True:
        yield np.maximum(frame, earlier) if settings.max_frames == 2 else frame
        if ended:
            return
        if policy is not None:
            action = policy(observation)
        elif settings.policy == "random" or action is None or rng.random() >= KEEP:
            action = env.action_space.sample()
        observation, _, terminated, truncated, _ = env.step(action)
        frame, earlier = screen.read(observation).copy(), frame
        ended = terminated or truncated
