"""The comparison with peers: phe and tenseal, which are here, for real at a tiny size; and what is wrong is no time."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers.cases import OURS, POINTS, Entry, ProductPoint, PsiPoint, Sample, WrongResult
from benchmarks.peers.driver import Driver, WorkerFailed, read_answer
from benchmarks.peers.environments import HERE, PEERS, Environments, NoEnvironment
from benchmarks.peers.measurement import Comparison, Contender, Measurement, Report, Step
from benchmarks.peers.show import ratio

ANSWER = {
    "peer": "phe",
    "variant": "",
    "versions": {"phe": "1.5.0"},
    "parameters": {},
    "steps": [{"name": "product", "seconds": 1.0, "cpu_seconds": 1.0, "bytes": 10, "times": 2.0}],
    "peak_mb": {"both": 30.0},
}


@pytest.fixture
def nowhere(tmp_path: Path) -> Environments:
    """No environments; what this interpreter has is enough for phe and tenseal."""
    return Environments(tmp_path / "environments")


def compare(environments: Environments, point: ProductPoint) -> Comparison:
    driver = Driver(environments, runs=1, repeats=2)
    found = driver.compare_at(point)
    assert found is not None
    assert (driver.skipped, driver.failed) == ([], [])
    return found


def test_paillier_beside_phe_whole_and_sampled(nowhere: Environments) -> None:
    entries = (OURS, Entry("phe"), Entry("phe", "", Sample(rows=1, inner=2)))
    found = compare(nowhere, ProductPoint("paillier", entries, 3, 4, 2, 2048))
    ours, whole, part = found.contenders
    assert [each.worst_error for each in found.contenders] == [0, 0, 0]
    assert (ours.sample, whole.sample, part.sample) == ("", "", "rows 1 of 3, inner 2 of 4")
    assert [step.name for step in whole.measurements[0].steps] == ["encrypt", "product", "re-randomise", "decrypt"]
    assert [step.times for step in part.measurements[0].steps] == [2, 6, 3, 3]
    for name, size in (("encrypt", 8 * 512), ("re-randomise", 6 * 512)):
        assert whole.bytes(name) == part.bytes(name) == size
    times = ratio(whole, ours, cpu=True)
    assert times is not None
    assert times > 0
    assert ours.measurements[0].parameters == {"parameters": "paillier-2048"}


def test_bfv_beside_tenseal(nowhere: Environments) -> None:
    entries = (
        OURS,
        Entry("tenseal", "bfv_tensor", Sample(rows=2)),
        Entry("tenseal", "ckks_tensor"),
        Entry("tenseal", "ckks_vector", Sample(columns=1)),
    )
    found = compare(nowhere, ProductPoint("bfv", entries, 3, 4, 2))
    ours, bfv, *approximate = found.contenders
    assert (ours.worst_error, bfv.worst_error) == (0, 0)
    assert all(each.worst_error is not None and 0 < each.worst_error < 1e-5 for each in approximate)
    assert all(each.bytes("encrypt") > ours.bytes("encrypt") > 0 for each in (bfv, *approximate))
    assert all(each.bytes("reply") > 0 for each in (bfv, *approximate))


def test_a_failing_peer_is_named_and_the_others_go_on(nowhere: Environments) -> None:
    driver = Driver(nowhere, runs=1)
    entries = (OURS, Entry("tenseal", "no_such_tensor"), Entry("tenseal", "bfv_tensor"))
    found = driver.compare_at(ProductPoint("bfv", entries, 1, 1, 1))
    assert found is not None
    assert [each.variant for each in found.contenders] == ["", "bfv_tensor"]
    (line,) = driver.failed
    assert "tenseal no_such_tensor: it ended with 1: AttributeError" in line


def test_ours_failing_ends_it(nowhere: Environments) -> None:
    with pytest.raises(WorkerFailed, match="paillier-1000"):
        Driver(nowhere, runs=1).compare_at(ProductPoint("paillier", (OURS, Entry("phe")), 1, 1, 1, 1000))


def test_peers_without_an_environment_are_skipped_and_nothing_runs(
    nowhere: Environments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    code = command.main(["psi", "--environments", str(nowhere.directory), "--json", str(report)])
    printed = capsys.readouterr()
    assert code == 0
    assert printed.err == ""
    saved = Report.model_validate_json(report.read_text())
    assert (saved.comparisons, saved.failed) == ((), ())
    assert [line.split(":")[0] for line in saved.skipped] == ["spu", "openmined_psi"]
    for peer in ("spu", "openmined_psi"):
        assert f"python -m benchmarks.peers --install {peer}" in " ".join(printed.out.split())


def test_an_environment_of_other_requirements_is_none(nowhere: Environments) -> None:
    home = nowhere.directory / "heu"
    home.mkdir(parents=True)
    (home / "requirements.txt").write_text("sf-heu==0.0.1\n")
    with pytest.raises(NoEnvironment, match="was made from another requirements"):
        nowhere.python("heu")


def test_install_leaves_a_folder_of_something_else_alone(nowhere: Environments) -> None:
    kept = nowhere.directory / "heu" / "thesis.tex"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    with pytest.raises(NoEnvironment, match="left alone"):
        nowhere.install("heu")
    assert kept.read_text() == "mine"


def test_an_unknown_case_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["rsa"])
    assert "there is no case 'rsa'; there are psi, paillier, bfv, cheetah" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"peer": ""}, "peer"),
        ({"steps": []}, "steps"),
        ({"steps": [{"name": "product", "seconds": -1.0}]}, "steps.0.seconds"),
        ({"steps": [{"name": "product", "seconds": float("nan")}]}, "steps.0.seconds"),
        ({"steps": [{"name": "product", "seconds": 1.0, "times": 0.5}]}, "steps.0.times"),
        ({"steps": [{"name": "product", "seconds": 1.0, "bytes": 1.5}]}, "steps.0.bytes"),
        ({"steps": [{"seconds": 1.0}]}, "steps.0.name"),
        ({"peak_mb": {"both": "much"}}, "peak_mb.both"),
        ({"versions": {"phe": None}}, "versions.phe"),
        ({"secret": 1}, "secret"),
    ],
)
def test_an_answer_that_is_no_measurement_is_refused(change: dict[str, object], place: str) -> None:
    assert read_answer(json.dumps(ANSWER)).peer == "phe"
    with pytest.raises(WorkerFailed, match=place):
        read_answer(json.dumps({**ANSWER, **change}))


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"peer": "phe"} and more'])
def test_an_answer_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(WorkerFailed, match="not a measurement"):
        read_answer(text)


def test_a_wrong_product_is_no_measurement(tmp_path: Path) -> None:
    point = ProductPoint("paillier", (OURS,), 2, 3, 2, 2048)
    x, m, r = point.matrices().values()
    right = (x @ m + r).tolist()
    measurement = Measurement.model_validate(ANSWER)

    def check(result: object, entry: Entry = OURS) -> float:
        (tmp_path / "result.json").write_text(json.dumps(result))
        return point.check(entry, measurement, tmp_path)

    assert check(right) == 0
    assert check(right[:1], Entry("phe", "", Sample(rows=1))) == 0
    assert check([[right[0][0] + 1, right[0][1]], right[1]]) == 2**-48
    for wrong in (
        right[:1],
        [row[::-1] for row in right],
        [[value + 2**40 for value in row] for row in right],
        [right[0], [right[1][0], float("nan")]],
    ):
        with pytest.raises(WrongResult):
            check(wrong)


def test_a_wrong_intersection_is_no_measurement(tmp_path: Path) -> None:
    point = PsiPoint("psi", (), 4)
    point.write_inputs(tmp_path)
    first, second = ((tmp_path / f"ids_{party}.csv").read_text().split()[1:] for party in (0, 1))
    right = sorted(set(first) & set(second))
    assert (len(first), len(second), len(right)) == (4, 4, 2)

    def check(result: list[str]) -> None:
        (tmp_path / "result.json").write_text(json.dumps(result))
        found = Measurement.model_validate({**ANSWER, "parameters": {"intersection": len(result)}})
        point.check(Entry("spu"), found, tmp_path)

    check(right)
    for wrong in (right[:1], [right[0], first[0]], first):
        with pytest.raises(WrongResult):
            check(wrong)


def test_medians_and_ratios_are_of_runs() -> None:
    def contender(peer: str, *seconds: float) -> Contender:
        runs = tuple(
            Measurement.model_validate(
                {
                    **ANSWER,
                    "peer": peer,
                    "steps": [Step(name="load", seconds=each), Step(name="product", seconds=each, times=3)],
                }
            )
            for each in seconds
        )
        return Contender(peer=peer, variant="", sample="", measurements=runs)

    ours, theirs = contender("ours", 1, 2, 4), contender("phe", 3, 4, 20)
    assert theirs.seconds("product") == 12
    assert theirs.seconds() == 16
    assert theirs.seconds("product", run=2) == 60
    assert theirs.seconds("decrypt") is None
    assert theirs.seconds("product", cpu=True) is None
    assert ratio(theirs, ours, "product", cpu=False) == 3  # of 3, 2 and 5, and not of the medians 12 and 6
    assert ratio(theirs, ours, "product", ours_names=("load",), cpu=False) == 9


def test_every_peer_in_a_case_has_a_pinned_environment() -> None:
    named = {entry.peer for make in POINTS.values() for point in make(False, False) for entry in point.entries}
    assert named == {"ours", *PEERS}
    for peer in PEERS:
        lines = (HERE / peer / "requirements.txt").read_text().splitlines()
        pins = [line for line in lines if not line.startswith("#")]
        assert pins
        assert all(line.count("==") == 1 for line in pins)


PEERS_FILES = sorted(
    str(path.relative_to(HERE)) for peer in PEERS for path in (HERE / peer).glob("*.py") if path.name != "__init__.py"
)


@pytest.mark.parametrize("path", ["worker.py", "two_parties.py", *PEERS_FILES])
def test_a_peers_worker_imports_nothing_of_ours(path: str) -> None:
    tree = ast.parse((HERE / path).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {name for name in imported if name.split(".")[0] in ("secure_hfl", "protocols", "benchmarks", "tests")}
    own = "benchmarks.peers." + path.partition("/")[0]
    assert ours <= {"benchmarks.peers.worker", "benchmarks.peers.two_parties", own}
