"""The engine beside its peers and the machine's own matrix products: `viewrace bench`, from a checkout.

    python benchmarks/engine.py [--turns 5] [--short] [--out DIR]

The table and what limits it: docs/performance.md.
"""

import sys

from viewrace.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "bench")
    main()
