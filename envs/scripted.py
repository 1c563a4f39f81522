"""A policy that acts by the true state: an upper bound for agents, and a player for recordings."""

from collections.abc import Iterator
from heapq import heappop, heappush

import numpy as np

from lavae_rl.data.coordinates import to_xy

from .agent import MOVES, STEP, AgentTask
from .layout import Box, Location, apart
from .simulation import Simulation
from .world import World

State = tuple[Location, Location]
"""Locations of the agent and of the target that it pushes."""

_MOVES = MOVES.tolist()


class ScriptedPolicy:
    """Policy that takes a shortest path to a target, or points at its centre; it pushes only the target itself.

    It reads ``env.unwrapped.simulation`` of a single or of a vector environment.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._plans: list[dict[bytes, int]] = [{} for _ in simulation.world.role]

    def __call__(self) -> np.ndarray:
        """Actions (num_envs, ...) for the present state."""
        world, task = self._simulation.world, self._simulation.task
        if isinstance(task, AgentTask):
            move = self._walk if task.goal is None else self._push
            return np.array([move(world, task, env) for env in range(len(self._plans))])
        target = task.current_targets(world).argmax(axis=1)
        location = world.scenes.location[np.arange(len(target)), target]
        return to_xy(location, world.scenes.canvas_size).astype(np.float32)

    def _walk(self, world: World, task: AgentTask, env: int) -> int:
        """The move to a place from which fewer are left; without a path, the agent stays."""
        lattice, moves = task.distance_field(world, env)
        places = lattice.index(world.locations(env)[0]) + MOVES // STEP
        left = np.pad(moves, 1, constant_values=-1)[tuple(1 + places.T)]
        return int((left == left[0] - 1).argmax()) if left[0] > 0 else 0

    def _push(self, world: World, task: AgentTask, env: int) -> int:
        """The next move of a plan; a new plan where the state is not on it, as after a reset."""
        now, sprites = world.scenes.location[env], world.scenes.sprite_index[env].tobytes()
        state = now.tobytes() + sprites
        if state not in self._plans[env]:
            self._plans[env] = {state: 0}  # without a path, the agent stays
            slots, locations = [0, int(world.targets[env].argmax())], now.copy()
            for places, move in _Search(world, task, env, slots).path():
                locations[slots] = places
                self._plans[env][locations.tobytes() + sprites] = move
        return self._plans[env][state]


class _Search:
    """A search in one scene, in plain integers, past all distractors; ``slots`` are those of agent and target."""

    def __init__(self, world: World, task: AgentTask, env: int, slots: list[int]) -> None:
        self._low, self._high = task.reach(world.scenes.canvas_size)
        self._goal = self._low[0] + (task.goal or 0)
        self._obstacles = task.lattice(world, env)[1]
        self._agent, self._target = world.box[env, slots].tolist()
        locations = world.locations(env)
        self._start = locations[0], locations[slots[1]]

    def path(self) -> Iterator[tuple[State, int]]:
        """A*: the states on a path to the goal, last first, with their moves; none without a path."""
        start = self._start
        came: dict[State, tuple[State, int]] = {}
        queue: list[tuple[int, int, int, State]] = [(self._remaining(start), 0, 0, start)]
        while queue:
            _, _, length, state = heappop(queue)
            if self._remaining(state) == 0:
                while state != start:
                    state, move = came[state]
                    yield state, move
                return
            for move, after in self._neighbours(state):
                if after != start and after not in came:
                    came[after] = state, move
                    heappush(queue, (length + 1 + self._remaining(after), len(came), length + 1, after))

    def _remaining(self, state: State) -> int:
        """Pixels to the goal: more than the moves, so that paths are found fast which need not be the shortest."""
        return max(0, max(state[1]) - self._goal)

    def _neighbours(self, state: State) -> Iterator[tuple[int, State]]:
        for move, (row, column) in enumerate(_MOVES[1:], 1):
            agent, target = ((at[0] + row, at[1] + column) for at in state)
            if apart(agent, self._agent, state[1], self._target):
                target = state[1]
            if self._has_room(agent, self._agent) and (target == state[1] or self._has_room(target, self._target)):
                yield move, (agent, target)

    def _has_room(self, place: Location, own: Box) -> bool:
        inside = all(low <= at <= high for low, at, high in zip(self._low, place, self._high, strict=True))
        return inside and all(apart(place, own, *other) for other in self._obstacles)
