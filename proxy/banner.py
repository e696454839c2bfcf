"""What a person sees when the gate is up: where it is, which key opens it, and one command to try."""

from __future__ import annotations

import shutil
from pathlib import Path

from proxy.config.load import Config

FREE = "sim-small"  # what a first try should cost
ADMIN_PORT = 8081  # where the reports look by themselves


def command(started: str) -> str:
    """What a shell runs for `headgate`, read off how this was started: in a clone it is not on the path."""
    here = Path(started).name == "headgate" and shutil.which("headgate") is None
    return started if here else "headgate"


def banner(config: Config, urls: tuple[str, str], notices: tuple[str, ...], *, open_gate: bool, run: str) -> str:
    """`urls` of the data and of the admin listener; `open_gate`: any key is accepted; `run`: as `command` says."""
    data_url, admin_url = urls
    names = [name for name in config.models if not name.endswith("*")]
    named = names[0] if names else next(iter(config.models), "MODEL").replace("*", "MODEL")
    model = FREE if FREE in names else named
    where = "" if config.admin.port == ADMIN_PORT else f" --admin {admin_url}"
    key = "sk-anything" if open_gate else "$HEADGATE_KEY"
    opens = "any: there is none yet, and only this machine can reach the gate" if open_gate else "one of the gate's own"
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "hello"}}]}}'
    lines = [
        "Headgate is up.",
        f"  base URL   {data_url}/v1",
        f"  API key    {opens}",
        f"  models     {', '.join(config.models) or 'none configured'}",
        f"  admin      {admin_url}   (console, metrics, reports)",
        *(f"  note       {notice}" for notice in notices),
        "Try it:",
        f'  curl {data_url}/agents/me/v1/chat/completions -H "Authorization: Bearer {key}" \\',
        f"    -H 'Content-Type: application/json' -d '{body}'",
        f"Then: {run} spend{where}",
    ]
    return "\n".join(lines)
