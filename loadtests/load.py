"""Load tests with a verdict: `python loadtests/load.py --help`. The kit is in the folder of the same name."""

import sys

from load.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
