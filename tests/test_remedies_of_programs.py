"""Every remedy that an error of a program proposes is executed here, and then works.

What needs a GPU, a cluster or a package that is not installed is left out: see the messages of ``runs/cluster.py``,
``runs/devices.py`` (its remedy, the CPU, is what all tests use), ``rl/atari.py`` (OCAtari) and the extra for the Hub.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from lavae_rl.agents import evaluate_agent, train_agent
from lavae_rl.envs import play
from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.pretrain import collect_frames, evaluate_lavae, make_dataset, make_figures, train_lavae
from lavae_rl.rl.agents import make_agent, save_agent
from lavae_rl.rl.run import new_run
from lavae_rl.rl.vec_envs import make_run_vec_env

Main = Callable[[Sequence[str]], None]


def said(main: Main, argv: Sequence[Any], capsys: pytest.CaptureFixture[str]) -> str:
    """Output of a program that fails."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in argv])
    assert stop.value.code in (1, 2)
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def frames(number=60):
    """A red square that walks over a blue screen."""
    shown = np.zeros((number, 48, 64, 3), np.uint8)
    shown[..., 2] = 120
    for i, frame in enumerate(shown):
        row, column = 5 + i % 30, 3 + 3 * i % 50
        frame[row : row + 8, column : column + 8] = (250, 20, 20)
    return shown


@pytest.fixture
def place(tmp_path):
    """A folder with recordings, an agent, a baseline, and a model of which nothing is known."""
    np.save(tmp_path / "frames.npy", frames())
    np.save(tmp_path / "still.npy", frames()[[0] * 60])
    np.save(tmp_path / "few.npy", frames(4))
    run = new_run({"task": "ObjectGoal", "observation": "oracle", "arch": "deepsets", "num_objects": 2})
    save_agent(tmp_path / "agent", make_agent(run.observation, run.preset, make_run_vec_env(run, 2), seed=0), run)
    ConvVAE(BaselineConfig(latents=2)).save_pretrained(tmp_path / "vae")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    return tmp_path


class Case(NamedTuple):
    """A command line that is refused, and the one that the message leads to. "@" is the folder of the test."""

    says: str
    main: Main
    failing: str
    mended: str


COLLECT = "--env LAVAE/OddOneOut-v0 --frames"
WORLD = "--recipe world-smoke --steps 1 --device cpu"
DATA = "--dataset multi-dsprites --num-scenes 2"
TEST = "--num-scenes 20 --bound-scenes 2 --num-samples 2 --device cpu"
AGENT = "--env ObjectGoal --observation oracle --arch deepsets --num-envs 4 --steps 64 --eval-episodes 4"

CASES = {
    "collect into a used folder": Case(
        "holds other files; choose another --out",
        collect_frames.main,
        f"{COLLECT} 8 --out @/used",
        f"{COLLECT} 8 --out @/new",
    ),
    "collect a key": Case(
        "expected --frame-key of ['frame'], got None",
        collect_frames.main,
        COLLECT + """ 8 --env-kwargs {"observation":"both"} --out @/new""",
        COLLECT + """ 8 --env-kwargs {"observation":"both"} --frame-key frame --out @/new""",
    ),
    "collect without a key": Case(
        "to be left out: LAVAE/OddOneOut-v0 has no dictionary observations",
        collect_frames.main,
        f"{COLLECT} 8 --frame-key image --out @/new",
        f"{COLLECT} 8 --out @/new",
    ),
    "collect by spelling": Case(
        "check its spelling (lavae_rl is installed)",
        collect_frames.main,
        "--env LAVAE/OddOne-v0 --frames 8 --out @/new",
        f"{COLLECT} 8 --out @/new",
    ),
    "dataset is there": Case(
        "is there already; remove it first, or choose another name",
        make_dataset.main,
        f"{DATA} --split test --out @/there.npz",
        f"{DATA} --split test --out @/other.npz",
    ),
    "dataset without folder": Case(
        "does not exist; make it first",
        make_dataset.main,
        f"{DATA} --split test --out @/nowhere/a.npz",
        f"{DATA} --split test --out @/used/a.npz",
    ),
    "dataset without split": Case(
        "--dataset needs --split and --out as well",
        make_dataset.main,
        DATA,
        f"{DATA} --split test --out @/a.npz",
    ),
    "pickled labels": Case(
        "If you trust its author, load it with allow_pickle=True (--allow-pickle)",
        make_dataset.main,
        "--check @/pickled.npz",
        "--check @/pickled.npz --allow-pickle",
    ),
    "json of a model without folder": Case(
        "does not exist; make it first",
        evaluate_lavae.main,
        f"multi-dsprites {TEST} --json @/nowhere/a.json",
        f"multi-dsprites {TEST} --json @/used/a.json",
    ),
    "other channels": Case(
        "got --dataset multi-mnist-1k: choose --dataset multi-dsprites",
        evaluate_lavae.main,
        f"multi-dsprites --dataset multi-mnist-1k {TEST}",
        f"multi-dsprites --dataset multi-dsprites {TEST}",
    ),
    "figures of other channels": Case(
        "got --dataset multi-mnist-10k: choose --dataset multi-dsprites",
        make_figures.main,
        "multi-dsprites --dataset multi-mnist-10k --num-scenes 4 --out @/figures",
        "multi-dsprites --dataset multi-dsprites --num-scenes 4 --out @/figures",
    ),
    "unknown training": Case(
        "expected --dataset, since",
        evaluate_lavae.main,
        f"@/vae {TEST}",
        f"@/vae --dataset multi-dsprites {TEST}",
    ),
    "frames need a recipe for them": Case(
        "expected --recipe world for frames of an environment",
        train_lavae.main,
        "--recipe smoke --frames @/frames.npy --device cpu --out @/run",
        f"{WORLD} --frames @/frames.npy --out @/run",
    ),
    "world needs frames": Case(
        "expected --env or --frames with --recipe world-smoke",
        train_lavae.main,
        f"{WORLD} --out @/run",
        f"{WORLD} --frames @/frames.npy --out @/run",
    ),
    "flags for frames": Case(
        "expected --env or --frames with --ignore",
        train_lavae.main,
        "--recipe smoke --steps 1 --ignore 0,0,4,4 --device cpu --out @/run",
        f"{WORLD} --frames @/frames.npy --ignore 0,0,4,4 --out @/run",
    ),
    "flags for environments": Case(
        "expected --env with --num-frames",
        train_lavae.main,
        f"{WORLD} --frames @/frames.npy --num-frames 50 --out @/run",
        f"{WORLD} --env LAVAE/OddOneOut-v0 --num-frames 50 --out @/other",
    ),
    "nothing moves": Case(
        "record other frames, or leave out an --ignore",
        train_lavae.main,
        f"{WORLD} --frames @/frames.npy --ignore 0,0,47,64 --out @/run",
        f"{WORLD} --frames @/frames.npy --out @/run",
    ),
    "other frames": Case(
        "record other frames, or leave out an --ignore",
        train_lavae.main,
        f"{WORLD} --frames @/still.npy --out @/run",
        f"{WORLD} --frames @/frames.npy --out @/run",
    ),
    "all is ignored": Case(
        "expected --ignore to leave a part of the frame",
        train_lavae.main,
        f"{WORLD} --frames @/frames.npy --ignore 0,0,48,64 --out @/run",
        f"{WORLD} --frames @/frames.npy --ignore 0,0,4,64 --out @/run",
    ),
    "mnist of shapes": Case(
        "leave mnist_dir out (--mnist-dir)",
        train_lavae.main,
        "--recipe smoke --steps 1 --device cpu --mnist-dir @ --out @/run",
        "--recipe smoke --steps 1 --device cpu --out @/run",
    ),
    "nothing to resume": Case(
        "start without --resume",
        train_lavae.main,
        "--recipe smoke --steps 1 --device cpu --resume --out @/run",
        "--recipe smoke --steps 1 --device cpu --out @/run",
    ),
    "a used folder": Case(
        "choose an empty folder with --out",
        train_lavae.main,
        "--recipe smoke --steps 1 --device cpu --out @/used",
        "--recipe smoke --steps 1 --device cpu --out @/run",
    ),
    "an agent in a used folder": Case(
        "choose an empty folder with --out", train_agent.main, f"{AGENT} --out @/used", f"{AGENT} --out @/run"
    ),
    "reward of a task": Case(
        "expected --reward sparse or shaped for ObjectGoal",
        train_agent.main,
        f"{AGENT} --reward clipped --out @/run",
        f"{AGENT} --reward sparse --out @/run",
    ),
    "a baseline": Case(
        "this observation needs the folder of a baseline (--model): train one with",
        train_agent.main,
        "--env ObjectGoal --observation vae --num-envs 4 --steps 64 --eval-episodes 4 --out @/run",
        "--env ObjectGoal --observation vae --num-envs 4 --steps 64 --eval-episodes 4 --model @/vae --out @/run",
    ),
    "json of an agent without folder": Case(
        "does not exist; make it first",
        evaluate_agent.main,
        "@/agent --episodes 4 --json @/nowhere/a.json",
        "@/agent --episodes 4 --json @/used/a.json",
    ),
    "film as gif": Case(
        "expected --video as a file that ends in .gif",
        evaluate_agent.main,
        "@/agent --episodes 4 --num-objects 2 --video @/a.mp4",
        "@/agent --episodes 4 --num-objects 2 --video @/a.gif",
    ),
    "a game": Case(
        "expected the ID of a task, or --gallery FOLDER",
        play.main,
        "--record @/a.gif --episodes 1",
        "OddOneOut --record @/a.gif --episodes 1",
    ),
    "a bundled agent": Case(
        "expected bundled:Boxing or bundled:",
        evaluate_agent.main,
        "bundled:OddTwoOut --episodes 4",
        "bundled:OddOneOut --episodes 4",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_command_that_an_error_leads_to_works(name, place, capsys):
    case = CASES[name]
    (place / "there.npz").write_bytes(b"")
    np.savez(place / "pickled.npz", x=frames(3), labels=np.array({"n_obj": [1, 1, 1]}, object))
    failing, mended = ([part.replace("@", str(place)) for part in line.split()] for line in (case.failing, case.mended))
    assert case.says in said(case.main, failing, capsys)
    case.main(mended)


@pytest.mark.slow
def test_runs_and_recordings_go_on_as_their_errors_propose(place, capsys):
    run = ["--recipe", "smoke", "--steps", "2", "--device", "cpu", "--out", str(place / "run")]
    train_lavae.main(run)
    assert "continue that run with --resume" in said(train_lavae.main, run, capsys)
    message = said(train_lavae.main, [*run, "--resume", "--seed", "5"], capsys)
    assert "resume without that flag, or start another run in another --out" in message
    train_lavae.main([*run, "--resume"])
    collect = [*f"{COLLECT} 8 --out {place / 'rolled'}".split()]
    collect_frames.main(collect)
    assert "continue with --resume, or choose another --out" in said(collect_frames.main, collect, capsys)
    collect_frames.main([*collect, "--resume"])
    agent = [*AGENT.split(), "--out", str(place / "learned")]
    train_agent.main(agent)
    assert "continue that run with --resume" in said(train_agent.main, agent, capsys)
    train_agent.main([*agent, "--resume"])


@pytest.mark.slow
def test_an_agent_whose_model_has_changed_is_tested_on_purpose(place, capsys):
    vae, out = place / "vae", place / "learned"
    flags = ["--env", "ObjectGoal", "--observation", "vae", "--num-envs", "4", "--steps", "64", "--eval-episodes", "4"]
    train_agent.main([*flags, "--model", str(vae), "--out", str(out)])
    ConvVAE(BaselineConfig(latents=2)).save_pretrained(vae)
    message = said(evaluate_agent.main, [out, "--episodes", "4"], capsys)
    assert f"or test it on these on purpose: --model {vae}" in message
    evaluate_agent.main([str(out), "--episodes", "4", "--model", message.rpartition("--model ")[2]])


@pytest.mark.slow
def test_steps_of_a_program_are_whole_rollouts_and_it_says_so(tmp_path, capsys):
    train_agent.main([*AGENT.split(), "--seed", "1", "--out", str(tmp_path / "run")])
    assert "256 steps (64 rounded up to whole rollouts of 256)" in capsys.readouterr().out
    evaluations = json.loads((Path(tmp_path) / "run" / "config.json").read_text())["evaluations"]
    assert evaluations[-1]["step"] == 256
