"""`python -m ragkit.cli`."""

from __future__ import annotations

import sys

from ragkit.cli import main

sys.exit(main())
