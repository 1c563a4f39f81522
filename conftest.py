"""What pytest leaves alone where an extra is not installed: it imports every module for the examples in docstrings."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("ray") else ["lavae_rl/rl/rllib.py"]
