"""The rate limits of a configuration, in the words of those who keep them.

An agent's stand in its own block, which has been completed by `defaults`; a key's are found under its id, as the key
ring gives it. A target's may stand at several models: it has one set of them, the tightest of each kind.
"""

from __future__ import annotations

from msgspec import Struct

from policies.concurrency import Mode
from policies.provider_limits import TargetRules
from policies.rate_limit import RateRules, Rates
from proxy.config.providers import OpenAIProvider, Paced
from proxy.config.schema import Config
from proxy.execution.line import Queueing
from proxy.providers.engines import ENGINES
from proxy.snapshot import Keyring


class Paces(Struct, frozen=True):
    accounts: RateRules
    targets: TargetRules
    queueing: Queueing


def paces(config: Config, keyring: Keyring) -> Paces:
    accounts = RateRules(
        keys=_of_keys(config, keyring),
        agents={name: _rates(agent) for name, agent in config.agents.items()},
        each_agent=_rates(config.defaults),
    )
    providers = {name: rates for name, each in config.providers.items() if (rates := _rates(each)) is not None}
    queueing = Queueing(config.limits.queue_wait_s, config.limits.queue_max)
    return Paces(accounts, TargetRules(_of_targets(config), providers, _adaptive(config)), queueing)


def _of_keys(config: Config, keyring: Keyring) -> dict[str, Rates]:
    found: dict[str, Rates] = {}
    for key in config.keys:
        rates = _rates(key)
        if rates is not None and key.key and (record := keyring.identify(key.key.reveal())) is not None:
            found[record.id] = rates
    return found


def _of_targets(config: Config) -> dict[str, Rates]:
    found: dict[str, Rates] = {}
    for model in config.models.values():
        for choice in model.targets:
            rates, id = _rates(choice), f"{choice.provider}/{choice.model}"
            if rates is not None:
                found[id] = _tightest(found.get(id, Rates()), rates)
    return found


def _adaptive(config: Config) -> dict[str, Mode]:
    found: dict[str, Mode] = {}
    for name, settings in config.providers.items():
        if isinstance(settings, OpenAIProvider) and settings.adaptive is not False:
            own = ENGINES[settings.engine].adaptive
            found[name] = "measured" if own else "started" if settings.adaptive else "refusals"
    return found


def _rates(block: Paced) -> Rates | None:
    rates = Rates(block.rpm, block.tpm, block.concurrency)
    return None if rates == Rates() else rates


def _tightest(one: Rates, other: Rates) -> Rates:
    return Rates(_least(one.rpm, other.rpm), _least(one.tpm, other.tpm), _least(one.concurrency, other.concurrency))


def _least(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)
