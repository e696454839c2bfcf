"""What the admin listener says of the gate itself."""

from __future__ import annotations

from pathlib import Path

from proxy.assembly import Assembly
from proxy.clock import SystemClock, loop_time
from proxy.config.load import load
from proxy.desks.admin import AdminDesk
from proxy.state.target_report import Standing
from proxy.types import Usage

VALUES = """
providers: {sim: {kind: simulated}}
models: {m: sim/x, "sim/*": "sim/*", n: sim/x, between: {experiment: {control: m, candidate: n}}}
pricing: {overrides: {"sim/x": {input_usd_per_mtok: 2, output_usd_per_mtok: 8}}}
"""
STANDING = Standing("sim/x", "open", "out", 1.0, "upstream_error", 5, 1.0, 2, 0, None, None, None, None)


class Serving:
    async def survey(self) -> list[Standing]:
        return [STANDING]


def desk_in(folder: Path) -> tuple[AdminDesk, Assembly]:
    file = folder / "headgate.yaml"
    file.write_text(VALUES)
    assembly = Assembly(load(file, {}, {"data_dir": str(folder)}), SystemClock(1, now=loop_time))
    return AdminDesk(assembly, Serving(), "http://127.0.0.1:1/v1", lambda: ["no price"]), assembly  # type: ignore[arg-type]  # nothing else is asked


async def test_targets_stand_beside_their_prices(tmp_path: Path) -> None:
    desk, _ = desk_in(tmp_path)
    rows = {row.target: row for row in await desk.targets()}
    assert rows["sim/x"].health == STANDING and rows["sim/x"].price is not None
    assert rows["sim/*"].health is None


async def test_a_stranger_learns_where_to_connect_and_what_to_ask_for(tmp_path: Path) -> None:
    desk, _ = desk_in(tmp_path)
    about = desk.about()
    assert (about.base_url, about.open, about.workers) == ("http://127.0.0.1:1/v1", True, 1)
    assert about.unpriced == ("no price",)
    assert [(model.name, model.mode, model.targets) for model in about.models] == [
        ("m", "single", ("sim/x",)),
        ("sim/*", "single", ("sim/*",)),
        ("n", "single", ("sim/x",)),
        ("between", "experiment", ("m", "n")),
    ]
    assert about.prices_date.startswith("20")


async def test_a_price_is_explained_while_its_record_is_known(tmp_path: Path) -> None:
    desk, assembly = desk_in(tmp_path)
    price = assembly.present.targets.price("sim", "x")
    assert price is not None
    bill = desk.explain_price(price.id, "sim", "x", Usage(input_uncached=1_000, output=10))
    assert bill is not None and bill.usd_nanos == 2_080_000
    assert desk.explain_price("another", "sim", "x", Usage(output=1)) is None
