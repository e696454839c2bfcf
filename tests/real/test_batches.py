"""Files and batches through the OpenAI SDK, its current major version and the one before."""

from __future__ import annotations

import pytest

from tests.real.conftest import OnStage, Stage
from tests.real.processes import eventually

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", params=["clients", "litellm"], ids=["openai-3", "openai-2"])
def sdk(request: pytest.FixtureRequest, on_stage: OnStage) -> Stage:
    return on_stage(request.param, "openai_batches")


def test_a_night_of_lines_is_answered_and_each_is_a_call_of_the_run_behind_it(sdk: Stage) -> None:
    run = f"night-{id(sdk.client)}"
    told = sdk.through("a_night", sdk.gate.base_url("sleeper", run))
    assert told["batch"]["status"] == "completed"
    assert told["batch"]["request_counts"] == {"total": 4, "completed": 3, "failed": 1}
    assert told["batch"]["metadata"] == {"of": "the night"}
    assert [entry["custom_id"] for entry in told["output"]] == ["line-0", "line-1", "line-3"]
    assert [entry["response"]["status_code"] for entry in told["output"]] == [200] * 3
    [error] = told["errors"]
    assert (error["custom_id"], error["response"]["body"]["error"]["code"]) == ("line-2", "model_not_found")
    assert len(sdk.upstream.log()) == 3
    assert sdk.gate.run(run, calls=4)["cost_usd_nanos"] > 0
    explained = sdk.gate.admin(f"/requests/{told['output'][0]['response']['request_id']}")
    assert "sleeper" in str(explained)


def test_an_input_that_is_wrong_names_its_line(sdk: Stage) -> None:
    batch = sdk.through("broken_input")
    assert batch["status"] == "failed"
    [problem] = batch["errors"]["data"]
    assert (problem["code"], problem["line"]) == ("invalid_json_line", 2)


def test_a_cancelled_batch_has_stopped_within_a_second(sdk: Stage) -> None:
    told = sdk.through("cancelled")
    assert told["batch"]["status"] == "cancelled"
    assert told["took_s"] < 1.0
    log = eventually(sdk.upstream.log, lambda log: all(call["left"] for call in log))
    assert 0 < len(log) <= 8


def test_files_are_listed_in_pages_read_and_deleted(sdk: Stage) -> None:
    told = sdk.through("files")
    assert told["listed"][:3] == told["made"][::-1]
    assert told["deleted"]
    assert told["made"][0] not in told["left"]
    assert set(told["made"][1:]) <= set(told["left"])
    assert told["back"]
    assert len(told["batches"]) == len(set(told["batches"])) >= 1


def test_refusals_raise_the_sdks_own_classes(sdk: Stage) -> None:
    missing = sdk.refused("no_such_file")
    assert ("NotFoundError" in missing["classes"], missing["code"]) == (True, "not_found")
    nowhere = sdk.refused("no_such_endpoint")
    assert ("BadRequestError" in nowhere["classes"], nowhere["param"]) == (True, "endpoint")
