"""`python -m rlformers`."""

import sys

from rlformers.cli import main

sys.exit(main())
