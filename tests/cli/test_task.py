"""`secure-hfl task`: from two certificates to a joined task, and what is shown of it."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import Result

from secure_hfl.identity import Identity
from secure_hfl.tasks import Invite, TaskStore, create_task, join_task
from tests.cli.helpers import User, fails, fingerprints

CREATE = ("task", "create", "digits", "--collaborator", "bank=bank.pem", "--address", "localhost:50051")


def _create(clinic: User, *options: str) -> str:
    result = clinic.run(*CREATE, "--invite", "invite.json", *options)
    assert result.exit_code == 0, result.output
    return TaskStore(clinic.home).list()[0].task_id


def _fingerprints(*users: User) -> list[str]:
    return [Identity.load_or_create(user.home).fingerprint for user in users]


def _join(user: User, *options: str, invite: str = "invite.json", host: User) -> Result:
    told = Identity.load_or_create(host.home).fingerprint
    return user.run("task", "join", invite, "--host-fingerprint", told, *options)


def test_create_and_join_show_the_fingerprints_to_compare(clinic: User, bank: User):
    created = clinic.run(*CREATE, "--invite", "invite.json")
    assert created.exit_code == 0
    assert fingerprints(created.stdout) == _fingerprints(clinic, bank)
    joined = _join(bank, host=clinic)
    assert joined.exit_code == 0
    assert fingerprints(joined.stdout) == _fingerprints(clinic, bank)
    theirs, ours = TaskStore(clinic.home).list()[0], TaskStore(bank.home).list()[0]
    assert theirs.task_id == ours.task_id
    assert ours.scheme == "bfv"
    assert theirs.task_id in created.stdout
    assert theirs.task_id in joined.stdout


def test_a_plain_task_needs_both_sides_to_say_so(clinic: User, bank: User):
    _create(clinic, "--scheme", "plain")
    fails(_join(bank, host=clinic), "unencrypted", "--scheme plain")
    fails(_join(bank, "--scheme", "bfv", host=clinic), "agree with the host")
    assert _join(bank, "--scheme", "plain", host=clinic).exit_code == 0
    assert "NOT ENCRYPTED" in bank.run("task", "show", "digits").stdout


@pytest.mark.parametrize(
    ("collaborator", "problem"),
    [
        ("bank.pem", "write NAME=CERT.pem"),
        ("=bank.pem", "write NAME=CERT.pem"),
        ("bank=", "write NAME=CERT.pem"),
        ("bank=none.pem", "No such file"),
        ("bank=huge.pem", "too large"),
        ("bank=junk.pem", "the certificate of 'bank'"),
        ("ba\tnk=bank.pem", "must be printable"),
        ("bank=clinic.pem", "same certificate"),
    ],
)
def test_a_bad_collaborator_is_one_line_and_leaves_nothing_behind(
    clinic: User, bank: User, collaborator: str, problem: str
):
    clinic.write("huge.pem", "x" * 20_000)
    clinic.write("junk.pem", "junk")
    command = ("task", "create", "digits", "--address", "localhost:1", "--invite", "invite.json")
    fails(clinic.run(*command, "--collaborator", collaborator), problem)
    assert TaskStore(clinic.home).list() == ()
    assert not (clinic.directory / "invite.json").exists()


def test_a_collaborator_given_twice_is_refused(clinic: User, bank: User):
    fails(clinic.run(*CREATE, "--collaborator", "bank=bank.pem", "--invite", "invite.json"), "given twice")


def test_an_invite_is_never_overwritten_and_can_be_written_again(clinic: User, bank: User):
    task_id = _create(clinic)
    fails(clinic.run(*CREATE, "--invite", "invite.json"), "invite.json: File exists")
    assert len(TaskStore(clinic.home).list()) == 1
    assert clinic.run("task", "invite", task_id, "again.json").exit_code == 0
    assert (clinic.directory / "again.json").read_bytes() == (clinic.directory / "invite.json").read_bytes()
    assert _join(bank, invite="again.json", host=clinic).exit_code == 0
    fails(bank.run("task", "invite", task_id, "third.json"), "only the host gives invites")


def test_a_bad_invite_is_one_line(clinic: User, bank: User):
    fails(bank.run("task", "join", bank.write("bad.json", '{"version": 1')), "bad.json: Invalid JSON")
    fails(bank.run("task", "join", "none.json"), "none.json: No such file")


def _pairing_code(text: str) -> str:
    (code,) = re.findall(r"Pairing code: ([a-z2-7-]+)", text)
    return str(code)


def test_nobody_joins_without_having_been_told_who_wrote_the_invite(clinic: User, bank: User):
    _create(clinic)
    result = bank.run("task", "join", "invite.json")
    fails(result, "--host-fingerprint", "--pairing-code", "ask clinic, by telephone")
    assert not fingerprints(result.output), "what the file says would be copied, and confirm nothing"
    assert TaskStore(bank.home).list() == ()


def test_a_pairing_code_will_do(clinic: User, bank: User):
    created = clinic.run(*CREATE, "--invite", "invite.json")
    code = _pairing_code(created.stdout)
    assert len(code.replace("-", "")) == 16
    assert _pairing_code(clinic.run("task", "invite", "digits", "again.json").stdout) == code
    wrong = "aaaa" + code[4:]
    fails(bank.run("task", "join", "invite.json", "--pairing-code", wrong), wrong, "do not join", "by telephone")
    assert bank.run("task", "join", "invite.json", "--pairing-code", code.upper().replace("-", " ")).exit_code == 0


def test_a_swapped_invite_is_refused(clinic: User, bank: User, tmp_path: Path):
    """Somebody on the way makes himself the host of a task of his own, with all names as they were."""
    created = clinic.run(*CREATE, "--invite", "invite.json")
    swapped = tmp_path / "swapped.json"
    invite = Invite.read(clinic.directory / "invite.json")
    mallory = Identity.create(invite.host.name)
    collaborators = {each.name: each.certificate_pem for each in invite.collaborators}
    task = (TaskStore(tmp_path / "mallory"), mallory, invite.name, invite.address, invite.scheme, collaborators)
    create_task(*task)[1].write(swapped)
    fails(_join(bank, invite=str(swapped), host=clinic), mallory.fingerprint, "do not join", "by telephone")
    code = _pairing_code(created.stdout)
    fails(bank.run("task", "join", str(swapped), "--pairing-code", code), code, "do not join", "by telephone")
    fails(bank.run("task", "join", str(swapped), "--host-fingerprint", "AB:CD"), "64 hexadecimal digits")
    assert TaskStore(bank.home).list() == ()
    # What succeeded before: the file alone was believed.
    assert join_task(TaskStore(bank.home), Identity.load_or_create(bank.home), Invite.read(swapped)).host.name == (
        invite.host.name
    )


def test_list_shows_every_task_and_its_state(clinic: User, bank: User):
    assert "No tasks here yet" in clinic.run("task", "list").stdout
    task_id = _create(clinic)
    store = TaskStore(clinic.home)
    assert "created" in clinic.run("task", "list").stdout
    store.record_data_check(task_id, True, "fine")
    store.start(task_id)
    shown = clinic.run("task", "list").stdout
    assert "running" in shown
    assert "passed" in shown
    assert task_id in shown
    store.fail(task_id, "no power")
    (entry,) = json.loads(clinic.run("task", "list", "--json").stdout)
    assert (entry["task_id"], entry["state"], entry["failure"]) == (task_id, "failed", "no power")


def test_a_task_whose_process_died_is_shown_as_interrupted(clinic: User, bank: User):
    task_id = _create(clinic)
    code = (
        f"from secure_hfl.tasks import *; from secure_hfl.home import *; TaskStore(home_directory()).start({task_id!r})"
    )
    process = clinic.start("host", clinic.write("die.py", f"{code}\nimport os\nos._exit(9)\n"))
    process.communicate()
    assert process.returncode == 9
    assert "interrupted" in clinic.run("task", "list").stdout
    assert json.loads(clinic.run("task", "show", task_id, "--json").stdout)["state"] == "interrupted"


def test_show_prints_everything(clinic: User, bank: User, tmp_path: Path):
    task_id = _create(clinic)
    store = TaskStore(clinic.home)
    model = store.directory(task_id) / "model.safetensors"
    model.write_bytes(bytes(12345))
    store.record_data_check(task_id, True, "60000 images")
    store.start(task_id)
    store.record_round(task_id, 3)
    store.finish(task_id, {"accuracy": 0.98, "[red]": [1]}, [model, tmp_path / "gone.bin"])
    shown = clinic.run("task", "show", task_id[:6]).stdout
    assert fingerprints(shown) == _fingerprints(clinic, bank)
    for text in (task_id, "passed: 60000 images", "finished", "98.00%", "[red]", str(model), "12,345", "missing"):
        assert text in shown
    values = json.loads(clinic.run("task", "show", "digits", "--json").stdout)
    assert values["rounds_finished"] == 3
    assert values["metrics"] == {"accuracy": 0.98, "[red]": [1]}
    assert values["artifacts"][0] == {"path": str(model), "bytes": 12345}
    assert values["artifacts"][1]["bytes"] is None
    assert [party["fingerprint"] for party in values["participants"]] == _fingerprints(clinic, bank)
    assert values["data_check"]["passed"] is True


def test_show_says_why_a_task_failed(clinic: User, bank: User):
    task_id = _create(clinic)
    TaskStore(clinic.home).fail(task_id, "bank went away")
    assert "bank went away" in clinic.run("task", "show", task_id).stdout


def test_the_plan_and_what_is_allowed_are_shown_and_kept(clinic: User, bank: User):
    most = ("--max-rounds", "5", "--max-width", "20", "--max-projection-lr", "0.05")
    _create(clinic, *most, "--may-train", "bank", "--fusion", "sum")
    planned = "at most 5 rounds; at most 20 projection width; at most 0.05 projection_lr; bank may be shown gradients"
    planned += "; the host gets the sum of all projections only"
    assert planned in " ".join(clinic.run("task", "show", "digits").stdout.replace("│", " ").split())
    allowed = ("--max-rounds", "5", "--max-rows", "128", "--max-ids", "9000", "--least-others", "2")
    allowed += ("--max-predictions", "3", "--max-asked-a-day", "1000")
    joined = _join(bank, *allowed, host=clinic)
    assert joined.exit_code == 0, joined.output
    assert planned in " ".join(joined.stdout.split())
    shown = " ".join(bank.run("task", "show", "digits").stdout.replace("│", " ").split())
    assert "at most 5 rounds; at most 128 samples in a batch; at most 9000 samples in common" in shown
    assert "projections only in a sum with at least 2 others" in shown
    assert "at most 3 predictions of a sample; at most 1000 ids asked for in a day; projections" in shown
    values = json.loads(bank.run("task", "show", "digits", "--json").stdout)
    terms = {"max_rounds": 5, "max_width": 20, "projection_lr": 0.05, "may_train": ["bank"], "fusion": "sum"}
    assert values["terms"] == terms
    limits = {"width": 0, "rounds": 5, "projection_lr": 0.0, "rows": 128, "ids": 9000, "least_others": 2}
    limits |= {"predictions": 3, "asked_a_day": 1000}
    assert values["limits"] == limits


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (("--max-rounds", "4"), ("rounds", "at most 4", "asks for 5")),
        (("--max-width", "19"), ("projection width", "at most 19", "asks for 20")),
        (("--max-projection-lr", "0.01"), ("projection_lr", "at most 0.01", "asks for 0.05")),
    ],
    ids=["rounds", "width", "rate"],
)
def test_a_plan_for_more_than_is_allowed_is_not_joined(
    clinic: User, bank: User, options: tuple[str, str], numbers: tuple[str, ...]
):
    _create(clinic, "--max-rounds", "5", "--max-width", "20", "--max-projection-lr", "0.05")
    fails(_join(bank, *options, host=clinic), *numbers)
    assert TaskStore(bank.home).list() == ()


def test_plans_that_do_not_make_sense(clinic: User, bank: User):
    fails(clinic.run(*CREATE, "--invite", "i.json", "--may-train", "shop"), "may_train names 'shop'")
    fails(clinic.run(*CREATE, "--invite", "i.json", "--may-train", "bank", "--nobody-trains"), "contradict")
    fails(clinic.run(*CREATE, "--invite", "i.json", "--max-width", "70000"), "max_width")
    fails(clinic.run(*CREATE, "--invite", "i.json", "--fusion", "mean"), "fusion", "separate")
    assert clinic.run(*CREATE, "--invite", "i.json", "--nobody-trains").exit_code == 0
    assert "no collaborator may be shown gradients" in clinic.run("task", "show", "digits").stdout


def test_a_certificate_of_another_name_is_pointed_out(clinic: User, bank: User):
    made = clinic.run("task", "create", "d", "--collaborator", "c=bank.pem", "--address", "h:1", "--invite", "i.json")
    assert "The certificate of 'c' says 'bank'. The task calls that party 'c'" in made.stdout
    assert "--collaborator bank=CERT.pem" in made.stdout
    assert "The certificate of" not in clinic.run(*CREATE, "--invite", "invite.json").stdout


def test_show_has_figures_for_people(clinic: User, bank: User):
    task, store = _create(clinic), TaskStore(clinic.home)
    store.start(task)
    store.finish(task, {"accuracy": 0.8764999, "label_epsilon": 3.0, "bytes_sent": 1234567, "rounds": 5, "x": None}, [])
    shown = {" ".join(line.split()) for line in clinic.run("task", "show", task).stdout.splitlines()}
    assert {"accuracy 87.65%", "label_epsilon 3", "bytes_sent 1,234,567", "rounds 5", "x -"} <= shown


def _keep(user: User, task: str) -> Path:
    directory = TaskStore(user.home).directory(task) / "kept" / "bank-1"
    directory.mkdir(mode=0o700, parents=True)
    (directory / "3.kept").write_bytes(bytes(1000))
    return directory


def test_what_was_kept_for_a_judge_is_shown_and_purged(clinic: User, bank: User):
    task = _create(clinic)
    assert "nothing is kept" in clinic.run("task", "purge", task).stdout
    assert "For a judge" not in clinic.run("task", "show", task).stdout
    directory = _keep(clinic, task)
    transcript = TaskStore(clinic.home).directory(task) / "transcripts" / "bank-1.transcript"
    for path in (transcript, transcript.parents[1] / "psi" / "bucket-0"):
        path.parent.mkdir(mode=0o700)
        path.touch(0o600)
    assert f"SECRET files: 1; delete with: secure-hfl task purge {task}" in (
        " ".join(clinic.run("task", "show", task).stdout.split())
    )
    said = clinic.run("task", "purge", task).stdout
    assert "deleted what was kept for a judge (files: 1, 1.0 kB)" in said
    assert "deleted files of ids: 1" in said
    assert not (transcript.parents[1] / "psi").exists()
    assert not directory.parent.exists()
    assert transcript.exists()


def test_a_purge_by_age_leaves_what_is_younger_or_running(clinic: User, bank: User):
    task, store = _create(clinic), TaskStore(clinic.home)
    directory = _keep(clinic, task)
    fails(clinic.run("task", "purge"), "--older-than DAYS")
    assert clinic.run("task", "purge", "--older-than", "1").stdout == ""
    store.start(task)
    assert clinic.run("task", "purge", "--older-than", "0").stdout == ""
    fails(clinic.run("task", "purge", task), "is running")
    assert directory.exists()
    store.fail(task, "interrupted")
    assert "deleted" in clinic.run("task", "purge", "--older-than", "0").stdout
    assert not directory.exists()
