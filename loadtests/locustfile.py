"""What Locust loads: the users and the shape of one scenario, named by `LOAD_SCENARIO`. `python loadtests/load.py` runs
it; by hand:

    LOAD_SCENARIO=smoke locust -f loadtests/locustfile.py --host http://127.0.0.1:8080
"""

import os
import time
from threading import Thread

from load.scenarios import SCENARIOS
from load.shapes import shape_of
from load.telling import Teller
from load.users import KINDS
from locust import events
from locust.env import Environment

SCENARIO = SCENARIOS[os.environ.get("LOAD_SCENARIO", "smoke")]

for name, weight in SCENARIO.users.items():
    KINDS[name].weight = weight
    globals()[name] = KINDS[name]

if SCENARIO.shape:
    globals()["Shape"] = shape_of(SCENARIO.shape, SCENARIO.count)

if ADMIN := os.environ.get("LOAD_ADMIN"):
    TELLER = Teller(
        ADMIN, os.environ.get("LOAD_TEST", time.strftime("%F %T")), os.environ.get("LOAD_SCENARIO", "smoke")
    )

    @events.test_start.add_listener
    def tell(environment: Environment, **_: object) -> None:
        runner = environment.runner
        running = ("ready", "spawning", "running")
        Thread(
            target=TELLER.keep, args=(lambda: runner.user_count, lambda: runner.state in running), daemon=True
        ).start()

    @events.quitting.add_listener
    def told(**_: object) -> None:
        TELLER.tell(0)
