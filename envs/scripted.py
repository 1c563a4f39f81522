"""Policies that know the true state: what can be reached at best, and somebody to watch."""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any, TypeVar

import numpy as np

from .layout import Location, apart
from .push import GOAL, Push
from .simulation import Simulation
from .task import MOVES, AgentTask
from .world import RIGHT, WRONG, World

State = TypeVar("State")


class ScriptedPolicy:
    """Acts by the true state of a simulation: goes the shortest way to what the task asks for, or points at it.

    Args:
        simulation: of a single or of a vector environment: ``env.unwrapped.simulation``.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._plans: list[dict[bytes, int]] = [{} for _ in simulation.world.role]

    def __call__(self) -> np.ndarray:
        """Actions (num_envs, ...) for the present state."""
        world, task = self._simulation.world, self._simulation.task
        if not isinstance(task, AgentTask):
            wanted = task.wanted(world).argmax(axis=1)
            target = world.scenes.location[np.arange(len(wanted)), wanted]
            extent = np.array(world.scenes.canvas_size) - 1
            return (target / extent * 2 - 1)[:, ::-1].astype(np.float32)
        return np.array([self._move(env) for env in range(len(self._plans))])

    def _move(self, env: int) -> int:
        """The next move of a plan; a new one where the state is not on it, as after a reset."""
        world = self._simulation.world
        state = _key(world.scenes.location[env], world.scenes.sprite_index[env])
        if state not in self._plans[env]:
            self._plans[env] = {state: 0, **_plan(self._simulation, env)}  # where there is no way, to stay
        return self._plans[env][state]


def _key(locations: np.ndarray, sprites: np.ndarray) -> bytes:
    return locations.tobytes() + sprites.tobytes()


def _plan(simulation: Simulation, env: int) -> dict[bytes, int]:
    """The move to make in every state on the way."""
    world, task = simulation.world, simulation.task
    room = _Room(world, env, *task.reach(simulation.canvas_size))
    target = int(world.right[env].argmax())
    if isinstance(task, Push):
        start = (room.locations[0], room.locations[target])
        low = room.low[0]
        path = _search(
            start, lambda state: room.pushes(state, target), lambda state: max(0, max(state[1]) - low - GOAL)
        )
        changed = [({0: state[0], target: state[1]}, move) for state, move in path]
    else:
        steps = _search(room.locations[0], room.walks, lambda place: float(not room.touches(place, RIGHT)))
        changed = [({0: place}, move) for place, move in steps]
    plan = {}
    for new, move in changed:
        locations = world.scenes.location[env].copy()
        for slot, location in new.items():
            locations[slot] = location
        plan[_key(locations, world.scenes.sprite_index[env])] = move
    return plan


class _Room:
    """One scene in plain integers."""

    def __init__(self, world: World, env: int, low: Location, high: Location) -> None:
        self.low, self.high = low, high
        self.locations: list[Location] = [tuple(location) for location in world.scenes.location[env].tolist()]
        self._boxes, self._roles = world.box[env].tolist(), world.role[env].tolist()

    def touches(self, place: Location, role: int) -> bool:
        """Whether the agent, at a place, would come too close to an object of a role."""
        return any(
            other == role and self._close(0, place, slot, self.locations[slot])
            for slot, other in enumerate(self._roles)
        )

    def walks(self, place: Location) -> Iterator[tuple[int, Location]]:
        """Moves of the agent that touch nothing wrong."""
        for move, after in self._moves(place):
            if not self.touches(after, WRONG):
                yield move, after

    def pushes(self, state: tuple[Location, Location], target: int) -> Iterator[tuple[int, tuple[Location, Location]]]:
        """Moves of the agent, and with it of the target, past all other objects."""
        agent, pushed = state
        for move, after in self._moves(agent):
            if self.touches(after, WRONG):
                continue
            if not self._close(0, after, target, pushed):
                yield move, (after, pushed)
                continue
            ahead = _add(pushed, move)
            if self._inside(ahead) and not self._blocked(target, ahead):
                yield move, (after, ahead)

    def _moves(self, place: Location) -> Iterator[tuple[int, Location]]:
        for move in range(1, len(MOVES)):
            after = _add(place, move)
            if self._inside(after):
                yield move, after

    def _blocked(self, slot: int, place: Location) -> bool:
        return any(
            role == WRONG and self._close(slot, place, other, self.locations[other])
            for other, role in enumerate(self._roles)
        )

    def _inside(self, place: Location) -> bool:
        return all(low <= at <= high for low, at, high in zip(self.low, place, self.high, strict=True))

    def _close(self, slot: int, place: Location, other: int, there: Location) -> bool:
        return not apart(place, self._boxes[slot], there, self._boxes[other])


def _add(place: Location, move: int) -> Location:
    return place[0] + _MOVES[move][0], place[1] + _MOVES[move][1]


_MOVES = MOVES.tolist()


def _search(
    start: State,
    neighbours: Callable[[State], Iterator[tuple[int, State]]],
    remaining: Callable[[State], float],
) -> list[tuple[State, int]]:
    """A*: the states on a way to one with nothing remaining, and the move made in each; empty if there is none."""
    came: dict[Any, tuple[Any, int]] = {start: (None, 0)}
    queue: list[tuple[float, int, int, State]] = [(remaining(start), 0, 0, start)]
    pushed = 0
    while queue:
        _, _, length, state = heappop(queue)
        if remaining(state) == 0:
            path = []
            at: Any = state
            while came[at][0] is not None:
                at, move = came[at]
                path.append((at, move))
            return path
        for move, after in neighbours(state):
            if after not in came:
                came[after] = (state, move)
                pushed += 1
                heappush(queue, (length + 1 + remaining(after), pushed, length + 1, after))
    return []
