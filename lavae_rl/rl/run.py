"""The run of an agent, as ``config.json`` in its run folder describes it."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from lavae_rl.model.checkpoint import find, fingerprint
from lavae_rl.registration import task_name
from lavae_rl.rl.observations import observation_kind
from lavae_rl.rl.presets import Preset
from lavae_rl.runs.config import CONFIG_FILE, parse, read_json, write_json
from lavae_rl.runs.provenance import Provenance


@dataclass(frozen=True)
class Evaluation:
    """The success of an agent at one step of its training."""

    step: int
    """Environment steps so far."""
    success_rate: float
    """Share of episodes that succeeded."""
    seconds: float
    """Duration of the training so far, evaluations included."""


@dataclass
class AgentRun:
    """What was trained, how, by which program, and how well it did.

    Raises ValueError for an unknown task or observation, and for numbers out of their range.
    """

    task: str
    """Name of ``lavae_rl.registration.TASKS``."""
    observation: str
    """Name of ``OBSERVATIONS``."""
    seed: int
    """Seed of weights, actions and environments, below 2^32."""
    model: str | None
    """Bundled name or folder of the model that makes the observations; None is the bundled one of the task, or none."""
    eval_every: int
    """Environment steps between evaluations."""
    eval_episodes: int
    """Episodes of an evaluation."""
    preset: Preset
    """Settings of the algorithm."""
    provenance: Provenance
    """Of the process that started the run."""
    model_fingerprint: str | None = None
    """Fingerprint of the model's weights; None without a model, and for agents from before there were fingerprints."""
    evaluations: list[Evaluation] = field(default_factory=list)
    """In the order of their steps."""
    seconds: float = 0.0
    """Duration of the training so far."""
    resumed: list[Provenance] = field(default_factory=list)
    """Of the processes that resumed the run."""

    def __post_init__(self) -> None:
        task_name(self.task)
        observation_kind(self.observation)
        for name in ("eval_every", "eval_episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"expected seed of 0 to {2**32 - 1}, got {self.seed}")

    def model_folder(self) -> Path | None:
        """The folder of the model that makes the observations; None where no model does.

        Raises:
            FileNotFoundError: there is no model.
            ValueError: a model is needed and none is given.
        """
        name = observation_kind(self.observation).model(self.task, self.model)
        return None if name is None else find(name)

    def check_model(self) -> None:
        """Refuse a model whose weights are not those that the agent was trained on.

        Raises:
            FileNotFoundError: there is no model.
            ValueError: the weights have changed.
        """
        folder = self.model_folder()
        if folder is None or self.model_fingerprint is None or self.model_fingerprint == fingerprint(folder):
            return
        raise ValueError(
            f"expected the model that the agent was trained on, of fingerprint {self.model_fingerprint}, got "
            f"{fingerprint(folder)} in {folder}: its weights have changed; train the agent again, or test it on these "
            f"on purpose: --model {folder}"
        )


def read_run(folder: Path) -> AgentRun:
    """Read ``config.json``, of this version or of 0.1.0.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, of a newer version, or does not describe an agent.
    """
    content = read_json(folder)
    if content.pop("format") == 1:  # provenance was not an object of its own
        names = [entry.name for entry in fields(Provenance)]
        content["provenance"] = {name: content.pop(name) for name in names if name in content}
    return parse(AgentRun, content, folder / CONFIG_FILE)


def write_run(folder: Path, run: AgentRun) -> None:
    """Write ``config.json``; a crash leaves the previous one whole."""
    write_json(folder, asdict(run))
