"""An OpenAI-compatible upstream for benchmarks, load tests and faults.

It is in the folder of the same name, which Python imports before this file.

    python loadtests/upstream.py --port 9000 --tokens 50 --interval-ms 20
    python loadtests/upstream.py --port 9000 --scenario faults.yaml --usage-file usage.jsonl
"""

import sys

from upstream.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
