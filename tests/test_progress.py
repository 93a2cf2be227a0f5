"""Progress off a terminal: a line now and then of a command, nothing else."""

from taskgram_utils.progress import Bar


def drawn(capsys, **options):
    for _ in Bar(range(3), desc="work", unit="parts", disable=None, **options):
        pass
    return capsys.readouterr().err


def test_a_command_off_a_terminal_says_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(Bar, "every", 0.0)
    lines = drawn(capsys).splitlines()
    assert lines[0] == "taskgram: work: 0 of 3 parts, 00:00" and "taskgram: work: 2 of 3 parts, 00:00" in lines


def test_short_work_and_a_library_say_nothing(capsys, monkeypatch):
    assert drawn(capsys) == ""
    monkeypatch.setattr(Bar, "every", 30.0)
    assert drawn(capsys) == ""
