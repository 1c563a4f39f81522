"""Leave out modules of extras that are not installed: pytest imports every module for the examples in docstrings."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("ray") else ["lavae_rl/rl/rllib.py"]
