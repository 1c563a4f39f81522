"""All games by name."""

from pathlib import Path

from truths.atari import atari
from truths.grids import minatar, minigrid
from truths.sprites import sprites
from truths.truth import Game


def open_game(name: str, files: Path | None) -> Game:
    """Open a game by its name.

    Args:
        name: "minatar-GAME", "sprites-BACKGROUND", an id of Minigrid, or the name of an Atari game.
        files: folder of NAME.npz with the truth about Atari games, instead of OCAtari.
    """
    if name.startswith("minatar-"):
        return minatar(name)
    if name.startswith("sprites-"):
        return sprites(name)
    return minigrid(name) if name.startswith("MiniGrid-") else atari(name, files)
