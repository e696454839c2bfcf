"""What a person sees when the gate is up: where it is, which key opens it, and one command to try."""

from __future__ import annotations

from proxy.config.load import Config


def banner(config: Config, data_url: str, admin_url: str, notices: tuple[str, ...]) -> str:
    names = [name for name in config.models if not name.endswith("*")]
    model = names[0] if names else next(iter(config.models), "MODEL").replace("*", "MODEL")
    key = "$HEADGATE_KEY" if config.keys else "sk-anything"
    opens = "as configured" if config.keys else "any: none is configured, and only this machine can reach the gate"
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "hello"}}]}}'
    lines = [
        "Headgate is up.",
        f"  base URL   {data_url}/v1",
        f"  API key    {opens}",
        f"  models     {', '.join(config.models) or 'none configured'}",
        f"  admin      {admin_url}   (metrics, spend, runs)",
        *(f"  note       {notice}" for notice in notices),
        "Try it:",
        f"  curl {data_url}/agents/me/v1/chat/completions -H 'Authorization: Bearer {key}' \\",
        f"    -H 'Content-Type: application/json' -d '{body}'",
        "Then: headgate spend",
    ]
    return "\n".join(lines)
