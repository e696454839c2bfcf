"""What a person sees when the gate is up: where it is, which key opens it, and one command to try."""

from __future__ import annotations

from proxy.config import Config

ANY_KEY = "sk-anything"


def banner(config: Config, data_url: str, admin_url: str, notices: tuple[str, ...]) -> str:
    names = [name for name in config.models if not name.endswith("*")]
    model = names[0] if names else next(iter(config.models), "MODEL").replace("*", "MODEL")
    open_gate = not config.keys
    key = ANY_KEY if open_gate else "$HEADGATE_KEY"
    lines = [
        "Headgate is up.",
        f"  base URL   {data_url}/v1",
        f"  API key    {'any (no keys are configured, and it listens on loopback only)' if open_gate else 'as configured'}",
        f"  models     {', '.join(config.models) or 'none configured'}",
        f"  admin      {admin_url}   (metrics, spend, runs)",
        *(f"  note       {notice}" for notice in notices),
        "Try it:",
        f"  curl {data_url}/agents/me/v1/chat/completions -H 'Authorization: Bearer {key}' \\",
        f"""    -H 'Content-Type: application/json' -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "hello"}}]}}'""",
        "Then: headgate spend",
    ]
    return "\n".join(lines)
