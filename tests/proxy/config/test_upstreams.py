"""What stands in the configuration of a provider reaches those who speak to it."""

from __future__ import annotations

from proxy.config.providers import OpenAIProvider, SimulatedProvider
from proxy.config.upstreams import account, simulation
from proxy.providers.openai_compatible import Account
from proxy.providers.simulated import Simulation, Spread


def test_an_account_is_what_was_configured_with_its_secrets_revealed() -> None:
    settings = OpenAIProvider.model_validate(
        {
            "kind": "openai",
            "engine": "azure",
            "base_url": "https://x.example/openai",
            "api_key": "k",
            "api_version": "2024-10-21",
            "headers": {"x-org": "o"},
            "traceparent": True,
            "health": "/ping",
            "health_checks": "on",
        }
    )
    assert account(settings) == Account(
        "azure",
        "https://x.example/openai",
        "k",
        "2024-10-21",
        (("x-org", "o"),),
        traceparent=True,
        health="/ping",
        checked=True,
    )


def test_a_simulation_is_what_was_configured() -> None:
    settings = SimulatedProvider.model_validate(
        {
            "kind": "simulated",
            "seed": 7,
            "first_token_s": {"median": 0.1, "sigma": 0.2},
            "error_share": {"429": 0.5},
            "stall_share": 0.25,
            "stall_s": 3.0,
            "cut_share": 0.125,
        }
    )
    expected = Simulation(
        seed=7,
        first_token_s=Spread(0.1, 0.2),
        errors=((429, 0.5),),
        stall_share=0.25,
        stall_s=3.0,
        cut_share=0.125,
    )
    made = simulation(settings)
    assert (made.token_s, made.output_tokens) == (Spread(0.02, 0.3), Spread(120, 0.6))
    assert made == expected
