"""What the request path costs, measured side by side; `loadtests/bench.py` is the command.

Every system under test runs on one core, load and upstream on another. Nothing of the gate is imported: it is started
as its users start it and spoken to over HTTP, so any gateway could take its place.
"""
