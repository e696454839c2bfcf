"""An upstream to test gateways with: OpenAI's dialect, cheap canned answers or scripted faults, and a true bill.

Without a scenario every answer is canned and costs a few microseconds; with one, each request is played by a script of
steps (`script.py` says which there are). It stands alone: the standard library, uvloop and PyYAML if they are there.
"""

from .bill import Bill
from .connection import Settings, start
from .scenario import Scenario, ScenarioError, load, read
from .stage import Stage

__all__ = ["Bill", "Scenario", "ScenarioError", "Settings", "Stage", "load", "read", "start"]
