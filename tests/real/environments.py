"""Keeps the virtual environments of the real clients and engines under `.venvs/`, one a name in `ENVIRONMENTS`.

They are oracles: the gate never imports them. Each is built from its hash-pinned requirements file and rebuilt only
when that file or the Python changes, so that a second call costs nothing. `python tests/real/environments.py` makes
the environments of `make test`; name others (`engine`) to make those.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1] / ".venvs"
ENVIRONMENTS = ("clients", "litellm", "console", "load", "engine")
# litellm pins an older openai SDK: an environment of its own, and a second SDK
EVERY_TEST_RUN = ("clients", "litellm", "console", "load")
INSTALL_S_MAX = 3600.0

# The engine is compiled from source. Its speed is of no interest and its build time is: little optimisation, no
# multimodal library, no OpenMP.
ENGINE_BUILD = {
    "CMAKE_ARGS": "-DLLAVA_BUILD=OFF -DGGML_OPENMP=OFF -DLLAMA_OPENSSL=OFF"
    " -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DCMAKE_C_FLAGS_RELEASE=-O2"
}


def python(name: str) -> Path:
    """The interpreter of an environment that is up to date; says how to make it if it is not."""
    if not _current(name):
        raise RuntimeError(f"the environment {name!r} is missing or old: python tests/real/environments.py {name}")
    return ROOT / name / "bin" / "python"


def ensure(name: str) -> None:
    if _current(name):
        return
    home, requirements = ROOT / name, str(HERE / f"requirements-{name}.txt")
    shutil.rmtree(home, ignore_errors=True)
    print(f"installing the environment {name!r} in {home}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, timeout=INSTALL_S_MAX)
    subprocess.run(
        [str(home / "bin" / "pip"), "install", "--quiet", "--require-hashes", "--requirement", requirements],
        check=True,
        timeout=INSTALL_S_MAX,
        env=os.environ | (ENGINE_BUILD if name == "engine" else {}),
    )
    _stamp(name).write_text(_wanted(name))


def _stamp(name: str) -> Path:
    return ROOT / name / "requirements.sha256"


def _wanted(name: str) -> str:
    requirements = HERE / f"requirements-{name}.txt"
    return hashlib.sha256(sys.version.encode() + requirements.read_bytes()).hexdigest()


def _current(name: str) -> bool:
    stamp = _stamp(name)
    return stamp.exists() and stamp.read_text() == _wanted(name)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or EVERY_TEST_RUN:
        if wanted not in ENVIRONMENTS:
            sys.exit(f"no environment {wanted!r}; there are {', '.join(ENVIRONMENTS)}")
        ensure(wanted)
