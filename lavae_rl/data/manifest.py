"""manifest.json: what the frames in a folder are, and how they were collected."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.config import parse
from lavae_rl.runs.reading import read_json_object

MANIFEST_FILE = "manifest.json"
FORMAT = 1

SETTINGS = ("env_id", "env_kwargs", "policy", "num_frames", "max_frames", "seed", "frame_key")
"""The fields of ``Rollouts`` that a user chooses."""


@dataclass
class Rollouts:
    """The settings of a folder of frames, and what is in it so far; stored in manifest.json.

    Raises ValueError on settings out of range.
    """

    env_id: str
    """Gymnasium id."""
    env_kwargs: dict[str, Any]
    """Options of the environment."""
    policy: str
    """"random", "sticky", or the path of an agent."""
    num_frames: int
    """Number of frames to collect, black ones not counted."""
    max_frames: int = 1
    """2 stores the pixelwise maximum of each two successive frames."""
    seed: int = 0
    """Episode i is seeded with ``seed + i``."""
    frame_key: str | None = None
    """Key of the frame in dictionary observations."""
    episodes: list[int] = field(default_factory=list)
    """Number of frames of each episode."""
    skipped: int = 0
    """Number of black frames, which are left out."""
    layout: str = "hwc"
    """Order of the axes of the environment's frames; "hw" has no channels. Stored frames are always "hwc"."""
    shape: list[int] | None = None
    """[height, width, channels] of the stored frames."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that made the first frame, by name."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise ValueError(f"expected at least 1 frame to collect, got {self.num_frames}")
        if self.max_frames not in (1, 2):
            raise ValueError(f"expected max_frames 1 or 2, got {self.max_frames}")
        if self.seed < 0:
            raise ValueError(f"expected a seed of at least 0, got {self.seed}")
        if any(length < 1 for length in self.episodes):
            raise ValueError(f"expected episodes of at least 1 frame, got {min(self.episodes)}")

    @property
    def collected(self) -> int:
        """Number of frames in the folder."""
        return sum(self.episodes)

    @property
    def files(self) -> Sequence[str]:
        """Name of the file of each episode."""
        return [episode_file(i) for i in range(len(self.episodes))]


def episode_file(index: int) -> str:
    """Name of the file of an episode."""
    return f"episode-{index:05d}.npy"


def read_manifest(folder: Path) -> Rollouts | None:
    """The settings that a folder's frames were collected with; None in a folder without manifest.json.

    Raises:
        ValueError: a file that is damaged or of a newer version.
    """
    path = folder / MANIFEST_FILE
    if not path.exists():
        return None
    content = read_json_object(path)
    if content.get("format") != FORMAT:
        known = f"this version of lavae-rl reads format {FORMAT}"
        raise ValueError(f"{path} has format {content.get('format')!r}, and {known}: update lavae-rl")
    return parse(Rollouts, content, path)


def write_manifest(done: Rollouts, folder: Path) -> None:
    """Write manifest.json; a crash in the middle leaves the previous one whole."""
    with replacing(folder / MANIFEST_FILE) as temporary:
        temporary.write_text(json.dumps(asdict(done), indent=2) + "\n")
