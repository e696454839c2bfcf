"""The gate of the demo as a configuration: three targets behind each model name, a key for each agent, else defaults.

Nothing is tuned for the demo: retries, timeouts and the attempt budget are what `headgate serve` has without a word.
Two agents have rules, as an operator would give them: support gets known answers, the runaway has a budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pricing.rates import usd_per_mtok
from proxy.config.file import Document
from proxy.config.load import build
from proxy.config.schema import Config
from proxy.config.tree import Value
from proxy.demo.agents import SUPPORT
from proxy.demo.runaway import AGENT, BUDGET_USD
from proxy.providers.simulated import SIMULATED_PRICES


def configuration(base_urls: Mapping[str, str], keys: Mapping[str, str], data_dir: Path) -> Config:
    """`base_urls` by provider, `keys` by agent."""
    # They finish and bill what nobody listens to any more, which no address can tell.
    providers: dict[str, Value] = {
        name: {"kind": "openai", "base_url": base_url, "abort": "continues"} for name, base_url in base_urls.items()
    }
    models: dict[str, Value] = {
        model: {"targets": [f"{provider}/{model}" for provider in base_urls]} for model in SIMULATED_PRICES
    }
    prices: dict[str, Value] = {
        f"{provider}/{model}": {
            "input_usd_per_mtok": usd_per_mtok(price.input_uncached),
            "input_cached_usd_per_mtok": usd_per_mtok(price.input_cached),
            "output_usd_per_mtok": usd_per_mtok(price.output),
        }
        for provider in base_urls
        for model, price in SIMULATED_PRICES.items()
    }
    values: dict[str, Value] = {
        "server": {"port": 0},
        "admin": {"port": 0},
        "data_dir": str(data_dir),
        "keys": [{"key": key, "agent": agent} for agent, key in keys.items()],
        "agents": {
            SUPPORT: {"cache": {"exact": "on"}},
            AGENT: {"budget": [{"usd": BUDGET_USD, "per": "total", "hold": "strict"}], "on_budget": ["stop"]},
        },
        "providers": providers,
        "models": models,
        "pricing": {"overrides": prices},
    }
    return build(Document("headgate demo", values, {}), {})
