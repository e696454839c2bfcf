"""`make bench`: what a call costs on its way through the gate, beside nginx and a bare aiohttp hop.

The measurements are in the folder of the same name, which Python imports before this file.

    python loadtests/bench.py [--quick] [--only requests|streams|memory|start] [--json FILE]
"""

import sys

from bench.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
