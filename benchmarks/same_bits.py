"""Hashes of what the library computes, to compare two commits bit for bit: run in the root of each, then diff.

    OMP_NUM_THREADS=1 python benchmarks/same_bits.py > bits.json

Only programs, environment ids and public names are used, so that the same file runs on both. One thread: with several,
sums may be added up in another order.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from safetensors.numpy import load_file

import lavae_rl  # registers the environments
from lavae_rl import LAVAE, LAVAEObservation, VectorLAVAEObservation

ROOT = Path.cwd()
TASKS = ("ObjectGoal", "OddOneOut", "OddOneOutProperty", "Push", "Collect", "Largest", "MatchDigit", "DigitOrder")
MODELS = {"multi-dsprites": "OddOneOut", "multi-mnist-1k": "MatchDigit", "multi-mnist-10k": "DigitOrder"}


def digest(*values: Any) -> str:
    """SHA-256 of arrays and what else there is, types and shapes included."""
    found = hashlib.sha256()
    for value in values:
        if isinstance(value, Mapping):
            found.update(digest(*(part for key in sorted(value) for part in (key, value[key]))).encode())
        elif value is None or isinstance(value, str):
            found.update(str(value).encode())
        else:
            array = np.ascontiguousarray(value.cpu().numpy() if isinstance(value, torch.Tensor) else value)
            if array.dtype == object:
                found.update(digest(*array.tolist()).encode())
            else:
                found.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return found.hexdigest()[:16]


def program(path: str, *options: str) -> None:
    """Run one of our programs."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, path, *options], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def trained(*options: str) -> dict[str, str]:
    """Weights and metrics of a short pretraining."""
    with tempfile.TemporaryDirectory() as folder:
        program("pretrain/train_lavae.py", *options, "--out", f"{folder}/run")
        metrics = json.loads(Path(folder, "run", "config.json").read_text())["metrics"]
        logged = Path(folder, "run", "metrics.csv").read_text().splitlines()
        rows = [",".join(row.split(",")[2:]) for row in logged]  # but for step and seconds
        weights = load_file(Path(folder, "run", "model.safetensors"))
    kept = {name: value for name, value in metrics.items() if name not in ("seconds", "miss_rate", "false_rate")}
    return {"weights": digest(weights), "metrics": digest(json.dumps(kept, sort_keys=True)), "log": digest(*rows[1:])}


def tokens(name: str) -> dict[str, str]:
    """Hashes of what the model and all wrappers compute from the frames of an environment, and from the prior."""
    env_id, model = f"LAVAE/{MODELS[name]}-v0", LAVAE.from_pretrained(name)
    frames = np.stack([gym.make(env_id, num_objects=5).reset(seed=seed)[0] for seed in range(40)])
    objects = model.encode(frames)
    generator = torch.Generator().manual_seed(0)
    found = {
        "objects": digest(*(np.asarray(getattr(objects, field)) for field in ("count", "location", "appearance"))),
        "presence": digest(objects.presence, objects.mask, objects.appearance_variance, objects.dropped),
        "decoded": digest(model.decode(objects), model.decode_sprites(objects)),
        "elbo": digest(model.elbo(frames, generator)),
        "bound": digest(model.log_likelihood(frames[:5], 10, generator)),
        "samples": digest(model.sample(8, generator=generator), model.sample(8, 5, (40, 72), generator=generator)),
    }
    for options in ({}, {"flatten": True}, {"presence": True, "velocity": True, "tracking": "hungarian"}):
        env = LAVAEObservation(gym.make(env_id, num_objects=4), name, **options)
        vector = gym.make_vec(env_id, 3, num_objects=4, autoreset_mode=AutoresetMode.SAME_STEP)
        wrapped = VectorLAVAEObservation(vector, name, **options)
        key = ",".join(options) or "plain"
        found[f"single {key}"], found[f"vector {key}"] = rollout(env), rollout(wrapped)
    return found


def rollout(env: Any, steps: int = 120) -> str:
    """Everything that random actions see of an environment, from seeds of its own."""
    env.action_space.seed(0)
    single = isinstance(env, gym.Env)
    seen: list[Any] = [env.reset(seed=1)[0]]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        seen += [observation, reward, terminated, truncated, {key: info[key] for key in sorted(info)}]
        if single and (terminated or truncated):
            seen.append(env.reset()[0])
    return digest(*seen)


def rollouts(task: str) -> dict[str, str]:
    """A task in both modes, single and as a batch, in all ways to be seen."""
    env_id = f"LAVAE/{task}-v0"
    found: dict[str, str] = {}
    for mode, reward, observation in (("train", "sparse", "pixels"), ("test", "shaped", "both")):
        options: dict[str, Any] = {"mode": mode, "reward": reward, "observation": observation}
        found[f"single {mode}"] = rollout(gym.make(env_id, **options))
        for autoreset in AutoresetMode if mode == "train" else (AutoresetMode.SAME_STEP,):
            if autoreset == AutoresetMode.DISABLED:
                continue
            vector = gym.make_vec(env_id, 4, autoreset_mode=autoreset, **options)
            found[f"vector {mode} {autoreset.value}"] = rollout(vector)
    found["tokens"] = rollout(gym.make(f"LAVAE/{task}Tokens-v0"), 30)
    return found


def agent(task: str, steps: int, *options: str) -> str:
    """Weights of an agent after its first steps."""
    with tempfile.TemporaryDirectory() as folder:
        common = ("--env", task, "--steps", str(steps), "--eval-episodes", "20", "--out", f"{folder}/run")
        program("agents/train_agent.py", *common, *options)
        from stable_baselines3 import PPO, SAC

        kind = SAC if task == "MatchDigit" else PPO
        return digest(kind.load(f"{folder}/run/agent.zip", device="cpu").policy.state_dict())


PARTS: Mapping[str, Callable[[], Any]] = {
    "fast, 300 steps": lambda: trained("--dataset", "multi-dsprites", "--steps", "300"),
    "smoke": lambda: {name: trained("--dataset", name, "--recipe", "smoke") for name in MODELS},
    "paper-smoke": lambda: trained("--dataset", "multi-dsprites", "--recipe", "paper-smoke"),
    "dreams": lambda: trained("--dataset", "multi-dsprites", "--recipe", "paper-small-dreams", "--steps", "60"),
    "baseline": lambda: trained("--dataset", "multi-mnist-1k", "--model", "baseline", "--recipe", "smoke"),
    "tokens": lambda: {name: tokens(name) for name in MODELS},
    "rollouts": lambda: {task: rollouts(task) for task in TASKS},
    "ppo, 10,000 steps": lambda: agent("OddOneOut", 10_000),
    "ppo on the true state": lambda: agent("Collect", 5_000, "--observation", "oracle"),
    "sac": lambda: agent("MatchDigit", 3_000),
}


def main() -> None:
    """Print the hashes of the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    torch.set_num_threads(1)
    for part in parser.parse_args().parts:
        print(json.dumps({part: PARTS[part]()}, indent=1), flush=True)


if __name__ == "__main__":
    assert Path(lavae_rl.__file__).parents[1] == ROOT, f"run it in the root of {Path(lavae_rl.__file__).parents[1]}"
    main()
