"""The gate's numbers under names that LiteLLM's Prometheus metrics have, so that dashboards made for it go on working.

Optional: load the file of these rules or leave it. An agent stands where that has the alias of a key, the configured
name where it has the requested model. What has no counterpart here (users, tags, hashes of keys) is left out, and
histograms keep the gate's own edges.
"""

from __future__ import annotations

from grafana.rule import Recording

AGENT = ("agent", "api_key_alias")
ROUTE = ("route", "requested_model")
PROVIDER = ("provider", "api_provider")
MODEL = ("model", "litellm_model_name")
TOKENS = "headgate_tokens_total"
HERE = "job, instance"


def renamed(expression: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        expression = f'label_replace({expression}, "{new}", "$1", "{old}", "(.*)")'
    return expression


def summed(expression: str, by: str) -> str:
    return f"sum by ({HERE}, {by}) ({expression})"


def _tokens(name: str, kinds: str) -> Recording:
    chosen = renamed(f'{TOKENS}{{kind=~"{kinds}"}}', AGENT)
    return Recording(f"litellm_{name}_tokens_metric_total", summed(chosen, "api_key_alias, model"))


def _of_route(name: str, metric: str) -> tuple[Recording, ...]:
    def part(suffix: str, by: str) -> Recording:
        expression = renamed(f"headgate_{metric}_{suffix}{{}}", ROUTE)
        return Recording(f"litellm_{name}_{suffix}", summed(expression, f"requested_model{by}"))

    return (part("bucket", ", le"), part("count", ""), part("sum", ""))


def _of_target(name: str, metric: str, own: str = "") -> tuple[Recording, ...]:
    def part(suffix: str, by: str) -> Recording:
        series = f"headgate_{metric}_{suffix}{{{own}}}"
        return Recording(
            f"litellm_{name}_{suffix}", summed(renamed(_with_names(series), PROVIDER), f"api_provider, model{by}")
        )

    return (part("bucket", ", le"), part("count", ""), part("sum", ""))


def _with_names(series: str) -> str:
    """A target's series with its provider and its model."""
    return f"{series} * on ({HERE}, target) group_left (provider, model) headgate_target_info{{}}"


def _deployment(name: str, own: str) -> Recording:
    attempts = _with_names(f"headgate_upstream_attempts_total{{{own}}}")
    return Recording(
        f"litellm_deployment_{name}_total",
        summed(renamed(attempts, PROVIDER, MODEL), "api_provider, litellm_model_name"),
    )


def _state() -> Recording:
    """0: well, 1: is being tried, 2: left out."""
    out, trying = (
        f'max by ({HERE}, target) (headgate_breaker_state{{state="{state}"}})' for state in ("open", "half_open")
    )
    states = renamed(_with_names(f"(2 * {out} + {trying})"), PROVIDER, MODEL)
    return Recording("litellm_deployment_state", f"max by ({HERE}, api_provider, litellm_model_name) ({states})")


def _team(name: str, expression: str) -> Recording:
    named = f'label_replace({expression}, "team_alias", "$1", "budget", "team:(.*)")'
    return Recording(f"litellm_{name}_metric", f"min by ({HERE}, team_alias) ({named})")


TEAMS = '{budget=~"team:.+"}'
LIMIT, SPENT = f"headgate_budget_limit_usd{TEAMS}", f"headgate_budget_spent_usd{TEAMS}"
RULES = (
    Recording(
        "litellm_proxy_total_requests_metric_total",
        summed(renamed("headgate_requests_total{}", AGENT, ROUTE), "api_key_alias, requested_model"),
    ),
    Recording(
        "litellm_proxy_failed_requests_metric_total",
        summed(
            renamed('headgate_requests_total{outcome!~"ok|cancelled"}', AGENT, ROUTE), "api_key_alias, requested_model"
        ),
    ),
    Recording(
        "litellm_spend_metric_total",
        summed(renamed("headgate_spend_usd_total{}", AGENT, ROUTE), "api_key_alias, requested_model, model"),
    ),
    _tokens("total", ".+"),
    _tokens("input", "input_.+"),
    _tokens("output", "output|reasoning|output_audio"),
    *_of_route("request_total_latency_metric", "request_duration_seconds"),
    *_of_target("llm_api_latency_metric", "upstream_duration_seconds", 'result="ok"'),
    *_of_target("llm_api_time_to_first_token_metric", "upstream_first_token_seconds"),
    _deployment("total_requests", ""),
    _deployment("success_responses", 'result="ok"'),
    _deployment("failure_responses", 'result!~"ok|cancelled"'),
    _state(),
    _team("team_max_budget", LIMIT),
    _team("remaining_team_budget", f"{LIMIT} - {SPENT}"),
)
