"""What Locust loads: the users and the shape of one scenario, named by `LOAD_SCENARIO`. `python loadtests/load.py` runs
it; by hand:

    LOAD_SCENARIO=smoke locust -f loadtests/locustfile.py --host http://127.0.0.1:8080
"""

import os

from load.scenarios import SCENARIOS
from load.shapes import shape_of
from load.users import KINDS

SCENARIO = SCENARIOS[os.environ.get("LOAD_SCENARIO", "smoke")]

for name, weight in SCENARIO.users.items():
    KINDS[name].weight = weight
    globals()[name] = KINDS[name]

if SCENARIO.shape:
    globals()["Shape"] = shape_of(SCENARIO.shape, SCENARIO.count)
