"""The command as a process: exit codes, one error line, quick help, Ctrl-C."""

import signal
import subprocess
import sys

import pytest
from typer.main import get_command

import secure_hfl
from secure_hfl.cli.app import ORDER, app
from secure_hfl.cli.output import console, one_line, plain, table
from secure_hfl.cli.run import INTERRUPTED
from tests.cli.helpers import ROOT, User, fails


def test_the_module_runs_and_reports_errors_in_one_line(clinic: User):
    process = clinic.start("task", "show", "nothing")
    output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert errors.startswith("error: no task 'nothing' in ")
    assert len(errors.splitlines()) == 1


def test_help_and_version_load_nothing_heavy():
    code = (
        "import sys; sys.argv = ['secure-hfl', {argument!r}]\n"
        "from secure_hfl.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {{'torch', 'numpy', 'grpc', 'cryptography', 'pydantic', 'sqlite3'}} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    for argument, shown in (("--help", "collaborator"), ("--version", secure_hfl.__version__)):
        command = [sys.executable, "-c", code.format(argument=argument)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert (done.returncode, done.stderr) == (0, "")
        assert shown in done.stdout


def test_tables_show_fingerprints_as_they_are(capsys: pytest.CaptureFixture[str]):
    grid = table("[red]Certificate[/red]")
    grid.add_row("27:AB:CL:0A:B:OK")  # rich would draw these as emoji
    console().print(grid)
    console().print("C9:AB:[bold]")
    shown = capsys.readouterr().out
    for text in ("[red]Certificate[/red]", "27:AB:CL:0A:B:OK", "C9:AB:[bold]"):
        assert text in shown


def test_wrong_usage_exits_with_2(clinic: User):
    assert clinic.run("task", "create").exit_code == 2
    assert clinic.run("nonsense").exit_code == 2
    assert clinic.run("host", "no_such_script.py").exit_code == 2
    assert clinic.run("host", clinic.write("script.py", ""), "--rounds", "0").exit_code == 2


def test_a_home_that_others_can_read_is_an_error_line(clinic: User):
    clinic.home.chmod(0o755)
    fails(clinic.run("task", "list"), "chmod 700")


def test_ctrl_c_exits_with_130_and_one_line(clinic: User):
    script = clinic.write("wait.py", "import time\nprint('waiting', flush=True)\ntime.sleep(60)\n")
    with clinic.start("host", script) as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, f"error: {INTERRUPTED}\n")
    assert "--resume" in INTERRUPTED


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\n c", "a b c"),
        ("\x1b[31mred", "\N{REPLACEMENT CHARACTER}[31mred"),
        ("x\u202ey", "x\N{REPLACEMENT CHARACTER}y"),
    ],
)
def test_text_from_elsewhere_cannot_steer_the_terminal(text: str, shown: str):
    assert one_line(text) == shown
    assert plain(f"[bold]{text}[/bold]").plain == f"[bold]{shown}[/bold]"


def test_help_lists_every_command_in_the_order_of_use(clinic: User):
    lines = clinic.run("--help").stdout.splitlines()
    named = [words[1] for line in lines if len(words := line.split()) > 2 and words[1] in ORDER and words[0] == "│"]
    assert named == list(ORDER)
    assert {*ORDER} == {*get_command(app).commands}
    for command in ORDER:
        assert clinic.run(command, "--help").exit_code == 0
