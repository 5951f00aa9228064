"""The laws of cores are in the tests of rlformers."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "tests" / "cores"))
