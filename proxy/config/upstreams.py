"""The providers of a configuration, in the words of those who speak to them: accounts and simulations."""

from __future__ import annotations

from urllib.parse import urlsplit

from msgspec import structs

from pricing.prompt_caches import CacheRule, load
from proxy.config import providers
from proxy.config.providers import OpenAIProvider, SimulatedProvider
from proxy.providers.openai_compatible import Account
from proxy.providers.simulated import Simulation, Spread


def account(settings: OpenAIProvider) -> Account:
    return Account(
        engine=settings.engine,
        base_url=settings.base_url,
        api_key=settings.api_key.reveal() if settings.api_key else None,
        api_version=settings.api_version,
        traceparent=settings.traceparent,
        deadline_header=settings.deadline_header,
        health=settings.health,
        checked=settings.health_checks,
        prompt_caches=_prompt_caches(settings),
        headers=tuple((header, value.reveal()) for header, value in settings.headers.items()),
    )


def _prompt_caches(settings: OpenAIProvider) -> tuple[CacheRule, ...]:
    """Azure's versions with a date are not sure to know the fields."""
    if settings.prompt_cache == "off" or settings.api_version is not None:
        return ()
    rules = load().of(urlsplit(settings.base_url).hostname or "")
    if settings.prompt_cache == "retain":
        return rules
    return tuple([structs.replace(rule, retention="") for rule in rules])


def simulation(settings: SimulatedProvider) -> Simulation:
    return Simulation(
        seed=settings.seed,
        first_token_s=_spread(settings.first_token_s),
        token_s=_spread(settings.token_s),
        output_tokens=_spread(settings.output_tokens),
        stall_share=settings.stall_share,
        stall_s=settings.stall_s,
        errors=tuple((int(status), share) for status, share in settings.error_share.items()),
        cut_share=settings.cut_share,
    )


def _spread(spread: providers.Spread) -> Spread:
    return Spread(spread.median, spread.sigma)
