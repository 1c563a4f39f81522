"""A policy that acts by the true state: an upper bound for agents, and a player for recordings."""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

import numpy as np

from lavae_rl.data.coordinates import to_xy

from .agent import MOVES, AgentTask
from .layout import Location, apart
from .simulation import Simulation
from .task import Task
from .world import DISTRACTOR, TARGET, World

State = tuple[Location, ...]
"""Location of the agent, and of the target where it is to be pushed."""

_MOVES = MOVES.tolist()


class ScriptedPolicy:
    """Takes a shortest path to a target, or points at its centre; pushes only the target itself.

    Args:
        simulation: of a single or of a vector environment: ``env.unwrapped.simulation``.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._plans: list[dict[bytes, int]] = [{} for _ in simulation.world.role]

    def __call__(self) -> np.ndarray:
        """Actions (num_envs, ...) for the present state."""
        world, task = self._simulation.world, self._simulation.task
        if isinstance(task, AgentTask):
            return np.array([self._move(env) for env in range(len(self._plans))])
        target = task.current_targets(world).argmax(axis=1)
        location = world.scenes.location[np.arange(len(target)), target]
        return to_xy(location, world.scenes.canvas_size).astype(np.float32)

    def _move(self, env: int) -> int:
        """The next move of a plan; a new plan where the state is not on it, as after a reset."""
        world, plans = self._simulation.world, self._plans
        state = _key(world.scenes.location[env], world.scenes.sprite_index[env])
        if state not in plans[env]:
            plans[env] = {state: 0, **_plan(world, self._simulation.task, env)}  # without a path, the agent stays
        return plans[env][state]


def _key(locations: np.ndarray, sprites: np.ndarray) -> bytes:
    return locations.tobytes() + sprites.tobytes()


def _plan(world: World, task: Task, env: int) -> dict[bytes, int]:
    """The move to make in every state of a shortest path."""
    room, plan = _Room(world, task, env), {}
    for state, move in _search(room.start, room.neighbours, room.remaining):
        locations = world.scenes.location[env].copy()
        locations[room.slots] = state
        plan[_key(locations, world.scenes.sprite_index[env])] = move
    return plan


class _Room:
    """One scene in plain integers.

    Attributes:
        slots: of what moves: the agent, and the target where it is to be pushed.
        start: locations of these.
    """

    def __init__(self, world: World, task: Task, env: int) -> None:
        self._goal, (self._low, self._high) = task.goal, task.reach(world.scenes.canvas_size)
        self._locations: list[Location] = [tuple(location) for location in world.scenes.location[env].tolist()]
        self._boxes, self._roles = world.box[env].tolist(), world.role[env].tolist()
        self.slots = [0] if task.goal is None else [0, int(world.targets[env].argmax())]
        self.start: State = tuple(self._locations[slot] for slot in self.slots)

    def neighbours(self, state: State) -> Iterator[tuple[int, State]]:
        """Moves past all distractors, of the agent and what it pushes, and the state after each."""
        agent, *pushed = state
        for move in range(1, len(MOVES)):
            after = _add(agent, move)
            if not self._inside(after) or self._touches(0, after, DISTRACTOR):
                continue
            if not pushed or apart(after, self._boxes[0], pushed[0], self._boxes[self.slots[1]]):
                yield move, (after, *pushed)
                continue
            ahead = _add(pushed[0], move)
            if self._inside(ahead) and not self._touches(self.slots[1], ahead, DISTRACTOR):
                yield move, (after, ahead)

    def remaining(self, state: State) -> int:
        """A lower bound of the moves to the end, 0 there only."""
        if self._goal is None:
            return int(not self._touches(0, state[0], TARGET))
        return max(0, max(state[1]) - self._low[0] - self._goal)

    def _touches(self, slot: int, place: Location, role: int) -> bool:
        """Whether a sprite, at a place, would come too close to an object of a role."""
        others = zip(self._roles, self._locations, self._boxes, strict=True)
        return any(
            other == role and not apart(place, self._boxes[slot], location, box) for other, location, box in others
        )

    def _inside(self, place: Location) -> bool:
        return all(low <= at <= high for low, at, high in zip(self._low, place, self._high, strict=True))


def _add(place: Location, move: int) -> Location:
    return place[0] + _MOVES[move][0], place[1] + _MOVES[move][1]


def _search(
    start: State, neighbours: Callable[[State], Iterator[tuple[int, State]]], remaining: Callable[[State], int]
) -> Iterator[tuple[State, int]]:
    """A*: the states on a path to one with nothing remaining, last first, with their moves; none without a path."""
    came: dict[State, tuple[State, int]] = {}
    queue: list[tuple[int, int, int, State]] = [(remaining(start), 0, 0, start)]
    while queue:
        _, _, length, state = heappop(queue)
        if remaining(state) == 0:
            while state != start:
                state, move = came[state]
                yield state, move
            return
        for move, after in neighbours(state):
            if after != start and after not in came:
                came[after] = state, move
                heappush(queue, (length + 1 + remaining(after), len(came), length + 1, after))
