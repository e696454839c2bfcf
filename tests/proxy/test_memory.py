"""What `settle` does to a process, seen in one of its own."""

from __future__ import annotations

import platform
import subprocess
import sys
from textwrap import dedent

import pytest


def said_by(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_what_was_made_before_is_not_looked_at_again() -> None:
    frozen, first = said_by("""
        import gc
        from proxy import memory
        memory.settle()
        print(gc.get_freeze_count() > 1_000, gc.get_threshold()[0])
    """)
    assert (frozen, first) == ("True", "50000")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator keeps what it likes")
def test_memory_that_large_bodies_gave_back_is_used_again() -> None:
    before, after = map(
        int,
        said_by("""
            import resource
            from proxy import memory

            def faults() -> int:
                begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                for _ in range(300):
                    bodies = [b"x" * 100_000 for _ in range(10)]
                    del bodies
                return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun

            before = faults()
            memory.settle()
            faults()
            print(before, faults())
        """),
    )
    assert after < before / 10, (before, after)
