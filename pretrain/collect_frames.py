"""Collect frames of any Gymnasium environment into a folder, for LAVAE to be trained on.

    python pretrain/collect_frames.py --env ALE/Pong-v5 --frames 4000 --out frames/pong
    python pretrain/train_lavae.py --frames frames/pong --out runs/pong

The installed command is lavae-collect.

Each episode becomes one .npy file that can be memory-mapped; manifest.json says how they were made. Black frames are
left out. Ctrl-C leaves a folder that --resume continues.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from lavae_rl.data.manifest import Rollouts
from lavae_rl.data.rollouts import POLICIES
from lavae_rl.pretraining.collecting import collect_under_bar
from lavae_rl.pretraining.frame_options import json_object
from lavae_rl.rl.policy import load_policy
from lavae_rl.runs.exits import clean_exit, program_parser


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = program_parser(__doc__)
    parser.add_argument("--env", required=True, help='Gymnasium id, or "module:id" if a module registers it')
    parser.add_argument("--frames", type=int, default=4_000, help="number of frames (default: 4,000)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    kwargs = """options of the environment as JSON, such as '{"frameskip": 3}'"""
    parser.add_argument("--env-kwargs", type=json_object, default={}, help=kwargs)
    policies = (
        "random, sticky (repeats 90 %% of its actions), or the .zip of an SB3 agent, which is unpickled: that runs "
    )
    policies += "code from the file, so take one of somebody you trust (default: random)"
    parser.add_argument("--policy", default="random", help=policies)
    maximum = "2 stores the maximum of each two frames, for screens on which objects flicker (default: 1)"
    parser.add_argument("--max-frames", type=int, default=1, choices=(1, 2), help=maximum)
    parser.add_argument("--frame-key", help="key of the frame in dictionary observations")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first episode (default: 0)")
    parser.add_argument("--resume", action="store_true", help="go on in a folder that an earlier run left")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 done, 1 failed, 2 unusable arguments, 130 stopped and resumable."""
    args = parse_args(argv)
    with clean_exit(stopped="stopped; continue with --resume") as console:
        names = {"frames": "num_frames", "env": "env_id"}
        given = {names.get(name, name): value for name, value in vars(args).items() if name not in ("out", "resume")}
        agent = None
        if args.policy not in POLICIES:
            console.print(f"unpickling {escape(args.policy)}, which runs code that it holds")
            agent = load_policy(args.policy)
        collect_under_bar(Rollouts(**given), args.out, args.resume, console, agent)


if __name__ == "__main__":
    main()
