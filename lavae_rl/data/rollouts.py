"""Rollouts: a policy acts in an environment, and its frames are written to a folder, episode by episode."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lavae_rl.data.environments import PACKAGES, Screen, open_screen
from lavae_rl.data.manifest import SETTINGS, Rollouts, episode_file, read_manifest, write_manifest
from lavae_rl.data.npy import write_frames
from lavae_rl.runs.atomic import is_leftover, replacing
from lavae_rl.runs.claims import claimed
from lavae_rl.runs.versions import installed_versions

KEEP = 0.9
"""Probability with which the policy "sticky" repeats its last action: it gets farther than a random one."""

POLICIES = ("random", "sticky")

Policy = Callable[[Any], Any]
"""Choose an action by an observation."""
Agent = Callable[[int], Policy]
"""Start an episode with a seed, and return the policy that acts in it."""


def collect(
    settings: Rollouts, folder: Path, agent: Agent | None, resume: bool, on_frames: Callable[[int], None]
) -> Rollouts:
    """Collect frames into a folder, or go on where an earlier call stopped: the result is the same to the byte.

    Each episode becomes a file episode-00000.npy, written as a whole; the last one ends with the last frame wanted.
    Memory holds two frames at a time.

    Args:
        settings: what to collect.
        folder: is made if it is missing.
        agent: acts for a ``settings.policy`` that is not one of ``POLICIES``.
        resume: go on in a folder that has a manifest.
        on_frames: called with the number of frames collected so far.

    Raises:
        FileExistsError: the folder holds something else, or ``resume`` is False and it holds something.
        ValueError: no agent for the policy, an environment without frames, settings other than those of the folder, or
            frames that cannot be stored.
    """
    if agent is None and settings.policy not in POLICIES:
        raise ValueError(f"expected a policy of {', '.join(POLICIES)}, or an agent, got {settings.policy!r}")
    screen = open_screen(settings.env_id, settings.frame_key, **settings.env_kwargs)
    try:
        with claimed(folder, "collects frames"):
            done = _open(settings, folder, resume)
            while done.collected < done.num_frames:
                _collect_episode(done, folder, screen, agent, on_frames)
        return done
    finally:
        screen.env.close()


def _collect_episode(
    done: Rollouts, folder: Path, screen: Screen, agent: Agent | None, on_frames: Callable[[int], None]
) -> None:
    seed = done.seed + len(done.episodes)
    policy = agent(seed) if agent is not None else _without_agent(screen, seed, done.policy)
    with replacing(folder / episode_file(len(done.episodes))) as temporary:
        number = write_frames(temporary, _shown(_episode(screen, policy, seed, done), done, on_frames))
        if not number:
            raise ValueError(f"expected frames that show something, got an episode of black ones, seed {seed}")
    done.episodes.append(number)
    write_manifest(done, folder)


def _open(settings: Rollouts, folder: Path, resume: bool) -> Rollouts:
    """The rollouts in a folder that is to be continued, or these settings for a new one."""
    earlier = read_manifest(folder)
    if earlier is None:
        if any(not is_leftover(entry) for entry in folder.iterdir()):
            raise FileExistsError(f"{folder} holds other files; choose another --out")
        settings.versions = installed_versions(_packages(settings.env_id))
        write_manifest(settings, folder)
        return settings
    if not resume:
        raise FileExistsError(f"{folder} holds frames; continue with --resume, or choose another --out")
    for name in SETTINGS:
        stored, given = getattr(earlier, name), getattr(settings, name)
        if stored != given:
            raise ValueError(f"the frames in {folder} have {name} {stored!r}, got {given!r}; choose another --out")
    return earlier


def _packages(env_id: str) -> list[str]:
    bringing = [module for beginning, (module, _) in PACKAGES.items() if env_id.startswith(beginning)]
    named = [env_id.partition(":")[0]] if ":" in env_id else []
    packages = [module.partition(".")[0].replace("_", "-") for module in (*bringing, *named)]
    return ["lavae-rl", "numpy", "gymnasium", *(name for name in packages if name != "lavae-rl")]


def _without_agent(screen: Screen, seed: int, name: str) -> Policy:
    """A policy of ``POLICIES`` for one episode."""
    space, rng = screen.env.action_space, np.random.default_rng(seed)
    last: list[Any] = []
    space.seed(seed)

    def act(_: Any) -> Any:
        if not last or name == "random" or rng.random() >= KEEP:
            last[:] = [space.sample()]
        return last[0]

    return act


def _episode(screen: Screen, policy: Policy, seed: int, settings: Rollouts) -> Iterator[np.ndarray]:
    """The frames of an episode; with ``max_frames`` 2, each one's maximum with the frame before it."""
    observation, _ = screen.env.reset(seed=seed)
    frame = earlier = screen.read(observation).copy()
    ended = False
    while True:
        yield np.maximum(frame, earlier) if settings.max_frames == 2 else frame
        if ended:
            return
        observation, _, terminated, truncated, _ = screen.env.step(policy(observation))
        frame, earlier = screen.read(observation).copy(), frame
        ended = terminated or truncated


def _shown(frames: Iterator[np.ndarray], done: Rollouts, on_frames: Callable[[int], None]) -> Iterator[np.ndarray]:
    """The frames that are not black, with channels, as many as are still wanted."""
    number = done.collected
    for frame in frames:
        if frame.ndim == 2:
            done.layout, frame = "hw", frame[..., None]
        done.shape = done.shape or list(frame.shape)
        if list(frame.shape) != done.shape or frame.ndim != 3:
            raise ValueError(
                f"expected frames (height, width[, channels]) of one size, got {done.shape} first, then {frame.shape}"
            )
        if frame.dtype != np.uint8:
            raise ValueError(f"expected uint8 frames, as the space of observations says, got {frame.dtype}")
        if not frame.any():
            done.skipped += 1
            continue
        yield frame
        number += 1
        on_frames(number)
        if number == done.num_frames:
            return
