"""`secure-hfl host` and `collaborator`: scripts run as by python, options reach them, errors become one line."""

import json
import stat
import sys

import pytest

from secure_hfl.tasks import TaskStore
from tests.cli.helpers import User, fails

REPORT = """
import json, sys
from secure_hfl import run_options
import neighbour
print(json.dumps([__name__, __file__, sys.argv, sys.path[0], run_options.current().model_dump(exclude_none=True)]))
"""


@pytest.fixture
def task_id(clinic: User, bank: User) -> str:
    create = ("task", "create", "digits", "--collaborator", "bank=bank.pem", "--address", "localhost:50051")
    assert clinic.run(*create, "--invite", "invite.json").exit_code == 0
    return TaskStore(clinic.home).list()[0].task_id


@pytest.mark.parametrize("command", ["host", "collaborator"])
def test_a_script_runs_as_main_with_its_options(clinic: User, command: str):
    clinic.write("neighbour.py", "")
    script = clinic.write("script.py", REPORT)
    before = list(sys.path), list(sys.argv)
    result = clinic.run(
        *(command, script, "--task", "abc", "--rounds", "2", "--batches", "3", "--seed", "4"),
        *("--scheme", "plain", "--no-projection"),
    )
    assert result.exit_code == 0, result.output
    name, file, arguments, first_path, options = json.loads(result.stdout)
    assert (name, file, arguments, first_path) == ("__main__", script, [script], str(clinic.directory))
    assert options == {
        "task": "abc", "rounds": 2, "batches": 3, "seed": 4, "scheme": "plain", "projection": False
    }  # fmt: skip
    assert (list(sys.path), list(sys.argv)) == before


def test_without_options_nothing_is_overridden(clinic: User):
    clinic.write("neighbour.py", "")
    result = clinic.run("host", clinic.write("script.py", REPORT))
    assert json.loads(result.stdout)[4] == {}


def test_torchvision_can_be_imported_first_as_the_tutorial_does(clinic: User):
    result = clinic.run(
        "host", clinic.write("script.py", "import torchvision\nprint(torchvision.datasets.MNIST.__name__)")
    )
    assert (result.exit_code, result.stdout) == (0, "MNIST\n"), result.output


def test_a_scripts_error_is_one_line_with_its_place_and_the_log_has_the_traceback(clinic: User, task_id: str):
    clinic.write("helper.py", "def read():\n    raise ValueError('no\\nlabels')\n")
    result = clinic.run("host", clinic.write("script.py", "import helper\n\nhelper.read()\n"))
    log = TaskStore(clinic.home).log_file(task_id)
    fails(result, f"error: script.py: ValueError: no labels (helper.py:2); traceback in {log}")
    text = log.read_text()
    assert text.startswith("Traceback")
    assert "runpy" not in text
    assert 'script.py", line 3' in text
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_the_place_of_an_error_deep_in_a_library_is_the_users_line(clinic: User):
    result = clinic.run("host", clinic.write("script.py", "import json\n\njson.loads('{')\n"))
    fails(result, "script.py: JSONDecodeError: ", "(script.py:3)", "traceback in", "secure-hfl.log")


def test_a_syntax_error_has_its_line(clinic: User):
    fails(clinic.run("host", clinic.write("script.py", "x = 1\ny = (\n")), "script.py: SyntaxError: ", "(script.py:2)")


def test_the_traceback_is_printed_on_request(clinic: User):
    result = clinic.run("host", clinic.write("script.py", "1 / 0\n"), "--traceback")
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert result.stderr.splitlines()[-1] == "error: script.py: ZeroDivisionError: division by zero (script.py:1)"


def test_our_own_errors_pass_unchanged_and_are_logged_too(clinic: User, task_id: str):
    code = "from secure_hfl.errors import TaskFailed\nraise TaskFailed('bank went away', 'see the cable')\n"
    result = clinic.run("collaborator", clinic.write("script.py", code))
    fails(result)
    assert result.stderr == "error: bank went away (see the cable)\n"
    assert "TaskFailed" in TaskStore(clinic.home).log_file(task_id).read_text()


def test_a_script_may_end_itself(clinic: User):
    assert clinic.run("host", clinic.write("script.py", "import sys\nsys.exit(7)\n")).exit_code == 7


def test_a_data_checker_script_runs_for_the_chosen_task(clinic: User, task_id: str):
    code = """
from secure_hfl import DataChecker

class Checker(DataChecker):
    def verify_data(self):
        return False, "no labels"

Checker(task_id='TASK_ID').execute_verification()
"""
    result = clinic.run("host", clinic.write("check.py", code), "--task", task_id[:8])
    assert result.exit_code == 0, result.output
    check = TaskStore(clinic.home).get(task_id).data_check
    assert check is not None
    assert (check.passed, check.message) == (False, "no labels")
