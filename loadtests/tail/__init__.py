"""A world of slow, failing, overloaded upstreams to measure tails in, the same for every side that is measured.

Pure asyncio: run it on a loop with a virtual clock and hours take seconds. A side is whatever can be asked a `Request`;
`baselines.py` has what gateways commonly do, and a test's adapter makes a side of a real gateway. What an upstream does
to the n-th try of a request depends on the seed alone, so all sides are dealt the same cards.
"""
