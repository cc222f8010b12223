"""`python -m coe.journal FOLDER`: convert closed segments to Parquet, or to .jsonl.gz without pyarrow."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from coe.journal._compact import compact

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m coe.journal FOLDER")
    # Requests come first.
    os.nice(19)
    # Records are for their owner, as segments are.
    os.umask(0o077)
    compact(Path(sys.argv[1]))
