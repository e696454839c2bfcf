"""What is wrong with a configuration: every message at once, each with its file, line and path.

It stands alone so that the command line can catch it without loading the schema. Messages never hold a value that came
from the environment.
"""

from __future__ import annotations


class ConfigError(Exception):
    def __init__(self, messages: tuple[str, ...]) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages
