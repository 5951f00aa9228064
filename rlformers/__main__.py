"""`python -m rlformers`."""

import sys

from rlformers.command.main import main

sys.exit(main())
