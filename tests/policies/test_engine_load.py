"""What engines say of themselves is read, summed over their models, and never guessed at."""

from __future__ import annotations

import pytest

from policies.engine_load import EngineLoad, read

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="qwen"} 3.0
vllm:num_requests_running{engine="0",model_name="adapter {a}"} 1.0
vllm:num_requests_waiting{engine="0",model_name="qwen"} 12.0
vllm:kv_cache_usage_perc{engine="0",model_name="qwen"} 0.42
process_start_time_seconds 1.7e+09
"""
SGLANG = b'sglang:num_running_reqs{model_name="m"} 8\nsglang:num_queue_reqs{model_name="m"} 2\n'
SLOTS = b'[{"id":0,"is_processing":true,"n_ctx":4096},{"id":1,"is_processing":false},{"id":2,"is_processing":true}]'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (VLLM, EngineLoad(4, 12)),
        (VLLM.replace(b"\n", b"\r\n"), EngineLoad(4, 12)),
        (SGLANG, EngineLoad(8, 2)),
        (SLOTS, EngineLoad(2, 0)),
        (b"[]", EngineLoad(0, 0)),
        (VLLM.replace(b"_waiting{", b"_held{"), None),
        (b"vllm:num_requests_running NaN\nvllm:num_requests_waiting 1\n", None),
        (b"vllm:num_requests_running 1e99\nvllm:num_requests_waiting 1\n", None),
        (b'[{"id":0}]', None),
        (b"<html>404</html>", None),
        (b"", None),
        (b"\xff\xfe", None),
    ],
)
def test_what_is_said(body: bytes, said: EngineLoad | None) -> None:
    assert read(body) == said
