"""Change valid files at random and load each: it has to load, or to be refused by a ValueError that names the file.

    python benchmarks/fuzz.py --minutes 10
    python benchmarks/fuzz.py --minutes 2 --kinds agent.zip npz --seed 7

Changes are flipped bits, other bytes, cuts, foreign content, other values in JSON, and the same inside of zip files.
Every file is loaded in a process of its own, which has so many seconds and so much memory. Another exception, a message
that names no file or has several lines, and a process that hangs or dies are findings: their files, and what happened,
are written to a folder.
"""

import argparse
import hashlib
import io
import json
import math
import multiprocessing
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.table import Table

from lavae_rl.data.digits import load_mnist_idx
from lavae_rl.data.files import load_npz, save_npz
from lavae_rl.data.manifest import MANIFEST_FILE, Rollouts
from lavae_rl.data.recordings import open_recording
from lavae_rl.data.rollouts import collect
from lavae_rl.data.sources import SceneDataset, SceneSpec, open_source
from lavae_rl.model.checkpoint import WEIGHTS_FILE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretraining.run import new_run as new_pretraining
from lavae_rl.pretraining.run import read_run as read_pretraining
from lavae_rl.pretraining.state import Training, make_accelerator
from lavae_rl.rl.agents import AGENT_FILE, load_agent, make_agent, save_agent
from lavae_rl.rl.run import new_run
from lavae_rl.rl.vec_envs import make_run_vec_env
from lavae_rl.runs.config import CONFIG_FILE
from lavae_rl.runs.exits import program_console
from lavae_rl.runs.folder import CHECKPOINT_FILE, METRICS_FILE, RunFolder
from lavae_rl.runs.tables import read_rows

SECONDS, BYTES = 60, 4 * 2**30
"""Limits of a process: seconds, and bytes of memory beyond those at its start."""
REFUSALS = (ValueError, TypeError, FileNotFoundError)
VALUES: Sequence[Any] = (None, True, -1, 0, 10**9, 10**30, 1e308, math.nan, "x", [], {}, [[]], {"a": 1}, 0.5)


class Kind(NamedTuple):
    """Files of one kind."""

    folder: str
    """Name of the folder of ``make_files`` that holds a valid one."""
    file: str
    load: Callable[[Path], Any]
    """Load what is in a folder."""


def load_training(folder: Path) -> Any:
    """A pretraining, resumed."""
    run = read_pretraining(folder)
    training = Training(run.make_method(make_accelerator(cpu=True)), run.recipe, run.seed, make_accelerator(cpu=True))
    if (state := RunFolder(folder, resume=True).load_checkpoint(torch.device("cpu"))) is not None:
        training.load(state)
    return training.average.state_dict()


def load_metrics(folder: Path) -> Any:
    """The rows of a training, and those that are left of them."""
    rows = read_rows(folder / METRICS_FILE, ())
    RunFolder(folder, resume=True).forget_after(10)
    return rows, (folder / METRICS_FILE).read_bytes()


def load_frames(path: Path) -> Any:
    """All frames of a recording."""
    recording = open_recording(path)
    return recording[np.arange(len(recording))]


KINDS: Mapping[str, Kind] = {
    "config.json of a model": Kind("model", CONFIG_FILE, lambda folder: LAVAE.from_pretrained(folder).state_dict()),
    "model.safetensors": Kind("model", WEIGHTS_FILE, lambda folder: LAVAE.from_pretrained(folder).state_dict()),
    "config.json of a run": Kind("run", CONFIG_FILE, load_training),
    "checkpoint.pt": Kind("run", CHECKPOINT_FILE, load_training),
    "metrics.csv": Kind("run", METRICS_FILE, load_metrics),
    "config.json of an agent": Kind("agent", CONFIG_FILE, lambda folder: load_agent(folder).agent.get_parameters()),
    "agent.zip": Kind("agent", AGENT_FILE, lambda folder: load_agent(folder).agent.get_parameters()),
    "npz": Kind("npz", "scenes.npz", lambda folder: load_npz(folder / "scenes.npz")),
    "IDX": Kind("idx", "train-labels-idx1-ubyte", load_mnist_idx),
    "recording, npz": Kind("npz", "scenes.npz", lambda folder: load_frames(folder / "scenes.npz")),
    "recording, npy": Kind("frames", "episode-00000.npy", load_frames),
    "recording, manifest": Kind("frames", MANIFEST_FILE, load_frames),
}


def make_files(folder: Path) -> None:
    """Write a valid file of each kind."""
    run = new_pretraining("lavae", "smoke", "multi-mnist-1k", seed=0)
    training = Training(run.make_method(make_accelerator(cpu=True)), run.recipe, 0, make_accelerator(cpu=True))
    scenes = open_source(SceneSpec("multi-mnist-1k"), "validation")
    training.step(scenes)
    for name in ("model", "run"):
        training.average.save_pretrained(folder / name, run.content())
    with RunFolder(folder / "run", resume=True) as held:
        held.save_checkpoint(training.state())
        for step in (5, 10, 15):
            held.log(step, {"loss": 1 / step, "elbo": -1.5})
    agent = new_run({"task": "ObjectGoal", "observation": "oracle", "arch": "deepsets", "num_envs": 4})
    save_agent(folder / "agent", make_agent("oracle", agent.preset, make_run_vec_env(agent, 4), 0), agent)
    for name in ("npz", "idx"):
        (folder / name).mkdir()
    save_npz(folder / "npz" / "scenes.npz", SceneDataset(scenes.scenes[:12], scenes.bank))
    digits = np.random.default_rng(0).integers(256, size=(5, 28, 28), dtype=np.uint8).tobytes()
    (folder / "idx" / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\5\0\0\0\x1c\0\0\0\x1c" + digits)
    (folder / "idx" / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\5" + bytes(range(5)))
    settings = Rollouts("LAVAE/ObjectGoal-v0", {}, "random", 12)
    collect(settings, folder / "frames", None, False, lambda _: None)


def changed(content: bytes, rng: random.Random) -> bytes:
    """Content that is changed in one of many ways, by what it is."""
    ways = [flipped, cut, overwritten, foreign]
    if content[:1] == b"{":
        ways += [other_json] * 8
    if content[:2] == b"PK":
        ways += [other_member] * 8
    return rng.choice(ways)(content, rng)


def flipped(content: bytes, rng: random.Random) -> bytes:
    """A few bits are flipped, half of the times near the beginning."""
    raw, most = bytearray(content), rng.choice((len(content), 200))
    for _ in range(rng.randint(1, 8)):
        raw[rng.randrange(min(most, len(raw)))] ^= 1 << rng.randrange(8)
    return bytes(raw)


def cut(content: bytes, rng: random.Random) -> bytes:
    """The end is missing, or there is more."""
    return content[: rng.randrange(len(content))] if rng.random() < 0.8 else content + rng.randbytes(99)


def overwritten(content: bytes, rng: random.Random) -> bytes:
    """A part holds other bytes."""
    start = rng.randrange(len(content))
    return content[:start] + rng.choice((rng.randbytes(64), b"\xff" * 64, bytes(64))) + content[start + 64 :]


def foreign(content: bytes, rng: random.Random) -> bytes:
    """A file of another kind."""
    pickled = io.BytesIO()
    torch.save({"a": torch.zeros(3), "b": [1]}, pickled)
    texts = [
        b"",
        b"text",
        b"null",
        b"[1]",
        b'"x"',
        b"{}",
        b"\xff\xfe\x00",
        b"\x89PNG\r\n\x1a\n" + bytes(50),
        bytes(4096),
    ]
    return rng.choice([*texts, b"[" * 100_000, b'{"a":' * 100_000, pickled.getvalue(), b"1,2\n\0,4\n", b"step\nx\n"])


def other_json(content: bytes, rng: random.Random) -> bytes:
    """Some values of a JSON object are others, missing, or added."""
    values = json.loads(content)
    for _ in range(rng.randint(1, 3)):
        place, key = rng.choice(list(_places(values)) or [(values, "x")])
        if isinstance(place, dict) and rng.random() < 0.2:
            place.pop(key, None)
        elif isinstance(place, dict) and rng.random() < 0.1:
            place["another"] = rng.choice(VALUES)
        else:
            place[key] = rng.choice(VALUES)
    return json.dumps(values).encode()


def _places(values: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(values) if isinstance(values, dict) else range(len(values)):
        yield values, key
        if isinstance(values[key], dict | list):
            yield from _places(values[key])


def other_member(content: bytes, rng: random.Random) -> bytes:
    """A member of a zip file is changed, and the file is whole."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # one inside of another may be damaged already
        return flipped(content, rng)
    name = rng.choice(list(members))
    members[name] = changed(members[name] or b"\0", rng)
    if rng.random() < 0.1:
        del members[name]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for member, inside in members.items():
            archive.writestr(member, inside)
    return written.getvalue()


def digest(value: Any) -> str:
    """A hash of tensors, arrays and what holds them."""
    found = hashlib.sha256()
    if isinstance(value, Mapping):
        found.update("".join(f"{key}{digest(value[key])}" for key in value).encode())
    elif isinstance(value, tuple | list):
        found.update("".join(map(digest, value)).encode())
    else:
        array = value.numpy() if isinstance(value, torch.Tensor) else value
        found.update(array.tobytes() if isinstance(array, np.ndarray) else repr(array).encode())
    return found.hexdigest()


def attempt(kind: Kind, folder: Path, pipe: Any) -> None:
    """In a process of its own: load a folder, and send what came of it."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES,) * 2)
    signal.alarm(SECONDS)
    try:
        pipe.send(("loaded", digest(kind.load(folder))))
    except REFUSALS as error:
        text = str(error)
        clear = "\n" not in text and (kind.file in text or str(folder) in text)
        pipe.send(("refused", text) if clear else ("finding", traceback.format_exc()))
    except BaseException:
        pipe.send(("finding", traceback.format_exc()))


def outcome(kind: Kind, folder: Path) -> tuple[str, str]:
    """Load a folder in another process; return "loaded", "refused", "finding" or "hang", and the details."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=attempt, args=(kind, folder, there))
    process.start()
    there.close()
    try:
        found: tuple[str, str] = here.recv() if here.poll(SECONDS + 10) else ("hang", f"more than {SECONDS} s")
    except EOFError:
        process.join(5)
        found = ("hang" if process.exitcode == -signal.SIGALRM else "finding", f"ended with {process.exitcode}")
    process.kill()
    process.join()
    return found


def fuzz(names: Sequence[str], minutes: float, seed: int, findings: Path) -> Mapping[str, Counter[str]]:
    """Change and load files of each kind in turn until the time is over."""
    rng, counts = random.Random(seed), {name: Counter[str]() for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        valid, case = Path(temporary) / "valid", Path(temporary) / "case"
        make_files(valid)
        expected = {name: digest(KINDS[name].load(shutil.copytree(valid / KINDS[name].folder, Path(temporary) / name)))
                    for name in names}  # fmt: skip
        end, number = time.monotonic() + 60 * minutes, 0
        while time.monotonic() < end:
            name = names[number % len(names)]
            kind, number = KINDS[name], number + 1
            shutil.rmtree(case, ignore_errors=True)
            shutil.copytree(valid / kind.folder, case)
            content = changed((case / kind.file).read_bytes(), rng)
            (case / kind.file).write_bytes(content)
            what, text = outcome(kind, case)
            if what == "loaded":
                what = "loaded equal" if text == expected[name] else "loaded other"
            counts[name][what] += 1
            if what in ("finding", "hang"):
                findings.mkdir(parents=True, exist_ok=True)
                (findings / f"{number:06d}-{kind.file}").write_bytes(content)
                (findings / f"{number:06d}.txt").write_text(f"{name}\n{text}\n")
    return counts


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 without findings, 1 with some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="(default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="(default: all)")
    parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"), help="folder (default: runs/fuzz)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # processes that are forked have no others
    counts = fuzz(args.kinds, args.minutes, args.seed, args.findings)
    columns = ("loaded equal", "loaded other", "refused", "finding", "hang")
    table = Table("file", "tried", *columns)
    for name, count in counts.items():
        table.add_row(name, str(count.total()), *(str(count[column]) for column in columns))
    program_console().print(table)
    if any(count["finding"] + count["hang"] for count in counts.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
