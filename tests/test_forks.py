"""Token environments in forked processes, after PyTorch has computed with several threads in their parent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# An addition of this size is divided among threads. Each program ends by itself; before, each waited for ever.
COMPUTE = "import os, torch; torch.set_num_threads(2); torch.ones(2_000_000).add(1)\n"
MAKE = """
import gymnasium as gym
def make():
    return gym.make("lavae_rl:LAVAE/OddOneOutTokens-v0")
"""
GYMNASIUM = """
envs = gym.vector.AsyncVectorEnv([make] * 2, context="fork")
print("tokens", envs.reset(seed=0)[0]["tokens"].shape)
envs.close()
"""
STABLE_BASELINES = """
from stable_baselines3.common.vec_env import SubprocVecEnv
envs = SubprocVecEnv([make] * 2, start_method="fork")
print("tokens", envs.reset()["tokens"].shape)
envs.close()
"""
PLAIN_FORK = """
if not os.fork():
    print("tokens", make().reset(seed=0)[0]["tokens"].shape, flush=True)
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
MODEL = """
from lavae_rl import LAVAE
from lavae_rl.data.sources import load_dataset
LAVAE.from_pretrained("multi-dsprites").encode(load_dataset("multi-dsprites", "test-7")[:64])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(
    ("before", "worker"),
    [
        (MODEL, GYMNASIUM),
        ("import lavae_rl\n" + COMPUTE, GYMNASIUM),
        (COMPUTE, STABLE_BASELINES),  # only the workers import the package
        (MODEL, PLAIN_FORK),
    ],
    ids=["gymnasium", "PyTorch alone", "imported by workers", "os.fork"],
)
def test_forked_workers_make_tokens_after_pytorch_computed_in_their_parent(before, worker):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPUTE + before + MAKE + worker],
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "tokens" in done.stdout, done.stderr


SPAWNED = """
import multiprocessing, torch
torch.set_num_threads(3)
import lavae_rl
def work():
    print("threads", torch.get_num_threads())
if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=work)
    worker.start()
    worker.join()
"""


@pytest.mark.slow
def test_spawned_workers_keep_their_threads(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(SPAWNED)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "threads 3\n", done.stderr
