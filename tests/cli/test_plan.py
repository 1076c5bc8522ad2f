"""`./isthmus plan` and `./isthmus schema`: exit codes, what is printed, and that nothing ends in a traceback."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final
from unittest import mock

import jsonschema
import pytest

from cli import plan as plan_module
from cli import schema as schema_module
from cli.app import main
from cli.plan import MANY
from domain.changes import raised_with
from domain.places.outputs import RAISED_WITH
from tests.benchmark_plan import compare, fleet_files, grow
from tests.domain.samples import DE, GIVEN, MN, REMOVE, changed, data_of, settings_of, text
from tests.domain.test_stack_directory import ODD
from tests.domain.test_starter import filled_in, made

REPOSITORY = Path(__file__).resolve().parents[2]
ABOUT_THE_START_SECONDS = 30.0
"""Starting the command line on a busy machine, 8.6 s beside three others; what is measured is that nothing hangs."""


NOT_COMPARED = "Not compared with what runs; --running does that.\n"


def isthmus(
    *arguments: str, path: str | None = None, cwd: Path = REPOSITORY, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100", **variables}
    if path is not None:
        environment["PATH"] = path
    return subprocess.run(
        [sys.executable, "-P", "-m", "cli", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
    )


def called(
    *arguments: str,
    columns: int = 100,
    path: str | None = None,
    cwd: Path = REPOSITORY,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """:func:`isthmus` within this process, where it is not about streams or processes: a start takes 0.3 s each. What
    ends in a traceback there is raised here.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    before = signal.getsignal(signal.SIGTERM)
    command = ["isthmus", *arguments]
    code: object = "it has not ended by itself"
    with (
        contextlib.chdir(cwd),
        mock.patch.object(sys, "argv", command),
        mock.patch.dict(
            os.environ, {"COLUMNS": str(columns), **({} if path is None else {"PATH": path}), **(variables or {})}
        ),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        finally:
            signal.signal(signal.SIGTERM, before)
    assert isinstance(code, int), code
    said = []
    for stream in streams:
        stream.seek(0)
        said.append(stream.read())
    return subprocess.CompletedProcess(command, code, *said)


def plan(directory: Path, *arguments: str, columns: int = 100) -> subprocess.CompletedProcess[str]:
    """`isthmus plan` of a directory, within this process."""
    return called("plan", "--directory", str(directory), *arguments, columns=columns)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two stack files that go together."""
    write(tmp_path, de=DE, mn=MN)
    return tmp_path


def write(directory: Path, **stacks: Any) -> None:
    for name, config in stacks.items():
        (directory / f"Pulumi.{name}.yaml").write_text(text(config), encoding="utf-8")


def meshed(count: int) -> dict[str, str]:
    """Clusters of both kinds, as `./isthmus new` proposes them and their users fill them in, each linked with each."""
    return dict(_meshed(count))


@functools.cache
def _meshed(count: int) -> dict[str, str]:
    names = [f"c{number:02}" for number in range(1, count + 1)]
    files: dict[str, str] = {}
    for number, name in enumerate(names):
        place = "on_premise" if number % 2 else "hetzner"
        lan = IPv4Network(f"192.168.{number}.0/24") if number % 2 else None
        files[name] = filled_in(made(name, place, files, node_cidr=lan, peers=[]))
    for name in names:
        config = data_of(files[name])["config"]
        files[name] = text({**config, "isthmus:peers": [peer for peer in names if peer != name]})
    return files


def write_all(directory: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        (directory / f"Pulumi.{name}.yaml").write_text(content, encoding="utf-8")


def golden(name: str, found: str) -> None:
    """As :func:`tests.domain.samples.golden`, of this folder."""
    path = Path(__file__).parent / "golden" / name
    if os.environ.get("ISTHMUS_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


LINES_OF_40: Final = 200


@pytest.mark.parametrize("count", [2, 10, 40])
def test_at_80_columns(tmp_path: Path, count: int) -> None:
    write_all(tmp_path, {"de": text(DE), "mn": text(MN)} if count == 2 else meshed(count))
    # The pair as a person starts it; the others differ in what is planned.
    done = isthmus("plan", "--directory", str(tmp_path), COLUMNS="80") if count == 2 else plan(tmp_path, columns=80)
    assert (done.returncode, done.stderr) == (0, NOT_COMPARED), done.stdout
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= LINES_OF_40
    golden(f"plan-{count}.txt", done.stdout)


def test_at_40_columns(directory: Path) -> None:
    """Tables wrap by cell, and where their columns have no room, every row is a block."""
    done = plan(directory, columns=40)
    assert (done.returncode, done.stderr) == (0, NOT_COMPARED)
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 40
    golden("plan-2-at-40.txt", done.stdout)


def test_for_people(directory: Path) -> None:
    done = plan(directory, columns=200)
    assert (done.returncode, done.stderr) == (0, NOT_COMPARED)
    assert "\x1b" not in done.stdout
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for expected in (
        "de 10.42.0.0/16 10.43.0.0/16 10.0.1.0/24 in 10.0.0.0/16 astring-de.internal",
        "mn 10.52.0.0/16 10.53.0.0/16 192.168.7.0/24 astring-mn.internal",
        "de de-server-1 server cx23 10.0.1.11",
        "mn mn-2 agent 192.168.7.12 carries the link",
        "de 10.43.0.1 10.43.0.10 10.43.0.53",
        "all v1.34.9+k3s1 1.19.6 0.8.0 netbirdio/netbird:0.77.1 https://api.netbird.io",
        "de Hetzner fsn1 203.0.113.0/24 203.0.113.0/24",
        "cluster underlay WireGuard NetBird egress VXLAN pod",
        "all 1340 1280 1280 1270 1280 1230",
        "de → mn 10.52.0.0/16, 10.53.0.0/16 1230 bytes astring-mn.internal",
    ):
        assert expected in lines, done.stdout
    assert lines[-1] == "2 clusters, 4 nodes, 1 link of up to 1230 bytes; no problem found."


def test_no_row_stands_there_twice(tmp_path: Path) -> None:
    files = meshed(MANY)
    config = data_of(files["c02"])["config"]
    files["c02"] = text({**config, "isthmus:k3s": {**config["isthmus:k3s"], "version": "v1.34.1+k3s1"}})
    write_all(tmp_path, files)
    lines = plan(tmp_path, columns=200).stdout.splitlines()
    versions = lines.index("Versions") + 2
    assert [line.split()[:2] for line in lines[versions : versions + 3]] == [
        ["c01,", "c03,"],
        ["c02", "v1.34.1+k3s1"],
        [],
    ]


def test_a_matrix_shows_who_is_linked_and_what_fits_through(tmp_path: Path) -> None:
    files = fleet_files(MANY)  # a ring
    write_all(tmp_path, files)
    lines = plan(tmp_path).stdout.splitlines()
    start = lines.index("Links, from the row to the column")
    assert lines[start + 1 : start + 8] == [
        "        1 2 3 4",
        "  1 c0  - x . x",
        "  2 c1  x - x .",
        "  3 c2  . x - x",
        "  4 c3  x . x -",
        "  x: a link that carries packets of at most 1230 bytes from pod to pod",
        "  .: no link",
    ]


def test_a_matrix_tells_links_of_different_sizes_apart(tmp_path: Path) -> None:
    pairs = {"c0": "c1", "c1": "c0", "c2": "c3", "c3": "c2"}
    for name, content in fleet_files(MANY).items():
        config = {**data_of(content)["config"], "isthmus:peers": [pairs[name]]}
        more = {"isthmus:link": {"cluster_ips": False}} if name == "c3" else {}
        write(tmp_path, **{name: {**config, **more} if name > "c1" else {**config, "isthmus:cilium": {"mtu": 1200}}})
    lines = plan(tmp_path).stdout.splitlines()
    start = lines.index("Links, from the row to the column")
    assert lines[start + 2 : start + 9] == [
        "  1 c0  - a . .",
        "  2 c1  a - . .",
        "  3 c2  . . - b",
        "  4 c3  . . b -",
        "  a: a link that carries packets of at most 1150 bytes from pod to pod",
        "  b: a link that carries packets of at most 1230 bytes from pod to pod",
        "  .: no link",
    ]
    assert "  Without ClusterIPs, so to pods alone: c2 → c3, c3 → c2." in lines
    assert lines[-1] == "4 clusters, 8 nodes, 2 links of up to 1150 or 1230 bytes; no problem found."


def test_a_matrix_that_is_too_wide_comes_in_parts(tmp_path: Path) -> None:
    write_all(tmp_path, fleet_files(40))
    done = plan(tmp_path, columns=40)
    lines = done.stdout.splitlines()
    label = "   1 c0   "
    first, second = (line.removeprefix(label) for line in lines if line.startswith(label))
    assert len(first) == 40 - len(label)
    assert first + second == "-x" + 31 * "." + "x......"  # c1 and c39, as the names are sorted


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
@pytest.mark.parametrize("count", [2, 5])
def test_no_line_is_longer_than_the_terminal(tmp_path: Path, columns: int, count: int) -> None:
    write_all(tmp_path, {"de": text(DE), "mn": text(MN)} if count == 2 else meshed(count))
    done = plan(tmp_path, columns=columns)
    *lines, last = done.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert last.endswith("no problem found.")


def test_one_stack_with_all_its_nodes(tmp_path: Path) -> None:
    write_all(tmp_path, meshed(5))
    done = plan(tmp_path, "--stack", "c01")
    assert done.returncode == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "c01 c01-agent-1 agent cx23 10.0.1.31 carries the link" in lines
    assert "c01 → c05 10.50.0.0/16, 10.51.0.0/16 1230 bytes c05.internal" in lines
    assert "c05 → c01 10.42.0.0/16, 10.43.0.0/16 1230 bytes c01.internal" in lines
    assert not [line for line in lines if line.startswith(("c02 10.", "c02 → c03"))]
    assert lines[-1] == "1 cluster, 2 nodes, 4 links of up to 1230 bytes; no problem found."
    found = json.loads(plan(tmp_path, "--json", "-s", "c01").stdout)
    assert [cluster["cluster"] for cluster in found["clusters"]] == ["c01"]
    assert len(found["links"]) == 8


def test_one_stack_that_is_not_there(directory: Path) -> None:
    done = plan(directory, "--stack", "dee")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"error: there is no Pulumi.dee.yaml in {directory}; stacks there: de, mn.\n"


def test_environments_are_named_since_pulumi_alone_reads_them(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def planned(config: Mapping[str, Any], stack: str | None = None) -> tuple[str, list[str]]:
        path = directory / "Pulumi.de.yaml"
        path.write_text(f"environment: [team/isthmus]\n{text(config)}", encoding="utf-8")
        assert plan_module.plan(directory, as_json=False, running=False, stack=stack) == 0
        said = capsys.readouterr()
        return said.out.splitlines()[-1], said.err.splitlines()

    summary, (note, compared) = planned(DE)
    assert summary == "2 clusters, 4 nodes, 1 link of up to 1230 bytes; no problem found."
    assert note.startswith("de is shown as its file says: what environments of Pulumi ESC add to it, ")
    assert f"{compared}\n" == NOT_COMPARED

    without_ranges = changed(DE, {"network": REMOVE})
    summary, (note, _) = planned(without_ranges)
    assert summary == "1 cluster, 2 nodes, no link, since no stack has peers; no problem found."
    assert note.startswith("de is not shown: a part of its settings comes from environments of Pulumi ESC, ")
    _, (compared,) = planned(without_ranges, "mn")
    assert f"{compared}\n" == NOT_COMPARED


def test_a_problem_of_another_stack_counts_for_one_stack_too(directory: Path) -> None:
    """`pulumi up` of it would refuse as well."""
    write(directory, mn=changed(MN, {"network.pod_cidr": "10.42.0.0/16"}))
    assert plan(directory, "--stack", "de").returncode == 1


SCHEMA: Final = json.loads((REPOSITORY / "docs/plan.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("stacks", "code"),
    [
        ({"de": DE, "mn": MN}, 0),
        ({"de": DE, "mn": GIVEN}, 0),
        ({"de": changed(DE, {"peers": []})}, 0),
        ({"de": DE}, 1),
        ({}, 3),
    ],
    ids=["two", "existing", "alone", "problem", "none"],
)
def test_the_schema_of_json_holds(tmp_path: Path, stacks: dict[str, Any], code: int) -> None:
    write(tmp_path, **stacks)
    done = plan(tmp_path, "--json")
    assert done.returncode == code
    found = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(found, SCHEMA)
    for wrong in ({**found, "more": 1}, {}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)


def test_colours_change_no_character_and_end_with_their_line(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = plan(directory).stdout
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    coloured = isthmus("plan", "--directory", str(directory)).stdout
    assert coloured.startswith("\x1b[1;36mAddresses\x1b[0m\n\x1b[1m  cluster")
    assert all(line.count("\x1b[") in (0, 2) for line in coloured.splitlines())
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_for_machines(directory: Path) -> None:
    done = plan(directory, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert [cluster["cluster"] for cluster in found["clusters"]] == ["de", "mn"]
    assert [(link["from"], link["to"], link["mtu"]) for link in found["links"]] == [
        ("de", "mn", 1230),
        ("mn", "de", 1230),
    ]
    assert found["problems"] == []


def test_every_problem_and_exit_code_1(directory: Path) -> None:
    write(directory, de=changed(DE, {"hetzner.routers": 0}), mn=changed(MN, {"network.pod_cidr": "10.42.0.0/16"}))
    done = plan(directory)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "de: hetzner.routers 0 gives nothing that would carry the link; write 1, or leave it out. [Pulumi.de.yaml:20]",
        (
            "mn: network.pod_cidr 10.42.0.0/16 overlaps de: network.pod_cidr 10.42.0.0/16; linked clusters need "
            "distinct pod CIDRs; 10.44.0.0/16 is free for the one of the two that does not run yet. [Pulumi.mn.yaml:3]"
        ),
        "2 problems in the stack files; `pulumi up` would refuse, and change nothing.",
    ]
    machine = plan(directory, "--json")
    assert machine.returncode == 1
    found = json.loads(machine.stdout)
    assert (found["clusters"], found["links"]) == ([], [])
    assert [(problem["stack"], problem["setting"], problem["line"]) for problem in found["problems"]] == [
        ("de", "hetzner.routers", 20),
        ("mn", "network.pod_cidr", 3),
    ]
    assert found["problems"][1]["text"] == done.stdout.splitlines()[1]


@pytest.mark.parametrize(("make", "says"), [case[1:] for case in ODD], ids=[case[0] for case in ODD])
def test_odd_files(tmp_path: Path, make: Callable[[Path], object], says: str) -> None:
    write(tmp_path, de=DE)
    make(tmp_path / "Pulumi.mn.yaml")
    start = time.monotonic()
    done = plan(tmp_path)
    assert time.monotonic() - start < ABOUT_THE_START_SECONDS
    assert done.returncode == 1
    assert f"mn: Pulumi.mn.yaml {says}" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_an_empty_file_lacks_everything(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.mn.yaml").touch()
    done = plan(tmp_path)
    assert done.returncode == 1
    assert [line.split()[1] for line in done.stdout.splitlines()[:-1]] == [
        "network",
        "hetzner",
        "k3s",
        "netbirdApiToken",
    ]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"Pulumi.\xff\n.yaml")).touch()
    for options in ((), ("--json",)):
        done = isthmus("plan", "--directory", str(tmp_path), *options)
        assert done.returncode == 1, done.stderr
        assert r"\udcff\n" in done.stdout.replace("\\\\", "\\")
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--directory", "/nowhere/at/all"), "error: /nowhere/at/all can't be read: No such file or directory.\n"),
        (("--directory", "/dev/null"), "error: /dev/null can't be read: Not a directory.\n"),
    ],
)
def test_no_directory(arguments: tuple[str, ...], says: str) -> None:
    done = called("plan", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", says)


def test_no_stack_file(tmp_path: Path) -> None:
    done = plan(tmp_path)
    assert done.returncode == 3
    said = f"there is no stack file in {tmp_path}; `./isthmus new NAME --hetzner` makes one."
    assert (done.stdout, done.stderr) == ("", f"error: {said}\n")
    machine = plan(tmp_path, "--json")
    assert (machine.returncode, machine.stderr) == (3, f"error: {said}\n")
    assert json.loads(machine.stdout) == {"error": said}


# --- where the output goes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=pytest.mark.thorough), "utf-8"])
def test_an_output_of_another_encoding(directory: Path, encoding: str) -> None:
    done = isthmus("plan", "--directory", str(directory), PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, NOT_COMPARED)
    arrow = "→" if encoding == "utf-8" else "?"
    assert f"  de {arrow} mn  10.52.0.0/16" in done.stdout
    assert json.loads(isthmus("plan", "--json", "--directory", str(directory), PYTHONIOENCODING=encoding).stdout)


def redirected(directory: Path, words: str) -> subprocess.CompletedProcess[str]:
    """The plan with the rest of a shell's line behind it."""
    return subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m cli plan --directory '{directory}' {words}"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
    )


FULL: Final = (">/dev/full", "the output or a file can't be written: No space left on device.")
CLOSED: Final = (">&-", "the output can't be written: standard output is closed.")


@pytest.mark.parametrize(
    ("options", "target", "reason"),
    [
        ("", *FULL),
        ("--json ", *CLOSED),
        pytest.param("", *CLOSED, marks=pytest.mark.thorough),
        pytest.param("--json ", *FULL, marks=pytest.mark.thorough),
    ],
)
def test_an_output_that_takes_nothing(directory: Path, options: str, target: str, reason: str) -> None:
    done = redirected(directory, options + target)
    assert (done.returncode, done.stderr) == (3, f"error: {reason}\n")


@pytest.mark.parametrize("options", ["", pytest.param("--json ", marks=pytest.mark.thorough)])
def test_a_reader_that_goes(directory: Path, options: str) -> None:
    done = redirected(directory, options + "| true; exit ${PIPESTATUS[0]}")
    assert done.returncode == 0
    assert done.stderr in ("", NOT_COMPARED)


def test_messages_that_nobody_takes(directory: Path) -> None:
    done = redirected(directory, "2>&-")
    assert done.returncode == 0
    assert done.stdout.startswith("Addresses\n")


# --- what runs --------------------------------------------------------------------------------------------------------

FAKE_PULUMI = """#!{python}
import json, pathlib, sys
assert sys.argv[1:6] == ["stack", "output", "--json", "--non-interactive", "--stack"], sys.argv
answer = pathlib.Path(__file__).parent / f"{{sys.argv[6]}}.json"
if not answer.exists():
    sys.exit(f"error: no stack named '{{sys.argv[6]}}' found")
if not answer.stat().st_size:
    sys.exit("error: PULUMI_ACCESS_TOKEN must be set")
print(answer.read_text())
"""


@pytest.fixture
def pulumi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a `pulumi` that answers with the files beside it."""
    directory = tmp_path_factory.mktemp("bin")
    program = directory / "pulumi"
    program.write_text(FAKE_PULUMI.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    return directory


def test_running_clusters_refuse_what_they_cannot_follow(directory: Path, pulumi: Path) -> None:
    outputs = {RAISED_WITH: raised_with(settings_of("mn", MN))}
    (pulumi / "mn.json").write_text(json.dumps(outputs), encoding="utf-8")
    done = isthmus("plan", "--running", "--directory", str(directory), path=str(pulumi))
    assert done.returncode == 0, done.stdout + done.stderr
    write(directory, mn=changed(MN, {"network.pod_cidr": "10.60.0.0/16"}))
    done = called("plan", "--running", "--directory", str(directory), path=str(pulumi))
    assert done.returncode == 1
    assert done.stdout.startswith(
        "mn: network.pod_cidr 10.60.0.0/16 is not 10.52.0.0/16, with which the cluster runs; every node holds a part"
    )
    assert "[Pulumi.mn.yaml:3]" in done.stdout
    # Without the question, nobody knows.
    assert plan(directory).returncode == 0


def test_pulumi_that_cannot_say(directory: Path, pulumi: Path) -> None:
    (pulumi / "de.json").touch()
    done = called("plan", "--running", "--directory", str(directory), path=str(pulumi))
    assert done.returncode == 3
    assert done.stderr.endswith("failed: error: PULUMI_ACCESS_TOKEN must be set\n")


def test_no_pulumi(directory: Path, tmp_path: Path) -> None:
    done = called("plan", "--running", "--directory", str(directory), path=str(tmp_path))
    assert done.returncode == 3
    assert done.stderr == "error: there is no `pulumi` on PATH, which knows what runs; leave out --running.\n"


# --- schema, large fleets ---------------------------------------------------------------------------------------------


def test_schema_is_printed() -> None:
    done = called("schema")
    assert done.returncode == 0
    assert json.loads(done.stdout)["title"] == "Stack file of Isthmus"


def test_schema_files_are_checked_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert schema_module.schema(write=False, check=True) == 0
    monkeypatch.setattr(schema_module, "REPOSITORY", tmp_path)
    (tmp_path / "docs").mkdir()
    assert schema_module.schema(write=False, check=True) == 1
    assert "docs/settings.md is not what the models say; run `./isthmus schema --write`." in capsys.readouterr().out
    assert schema_module.schema(write=True, check=False) == 0
    assert schema_module.schema(write=False, check=True) == 0
    assert sorted(path.name for path in (tmp_path / "docs").iterdir()) == ["settings.md", "stack-file.schema.json"]


@pytest.mark.thorough
def test_the_plan_of_a_thousand_clusters_grows_no_worse_than_n_log_n() -> None:
    """Generous, because tests run beside others; `python -m tests.benchmark_plan` is exact."""
    ends = (125, 1000)
    assert grow(sizes=ends, rounds=1).over_n_log_n < 4
    assert grow(lambda count: fleet_files(count, conflicts=True), sizes=ends, rounds=1).over_n_log_n < 4


def test_a_plan_takes_a_small_multiple_of_reading_the_yaml() -> None:
    """Generous, as above: a gross mistake shows, the goal of 3 is for the benchmark on a quiet machine."""
    assert compare(rounds=2).ratio < 5


@pytest.mark.parametrize(
    "options", [pytest.param((), id="text"), pytest.param(("--json",), id="json", marks=pytest.mark.thorough)]
)
def test_a_plan_loads_only_what_it_needs(directory: Path, options: tuple[str, ...]) -> None:
    """Most of its time is the loading of modules; these have nothing to do with it."""
    program = "import sys\nfrom cli.app import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program, "plan", "--directory", str(directory), *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.split())
    assert {"cli.plan", "domain.fleet", "pydantic"} <= loaded
    others = {"components", "lab", "toolchain", "pulumi", "cryptography", "rich.live", "cli.reporters", "cli.running"}
    assert not loaded & others


def test_json_of_problems_and_report_have_one_form() -> None:
    assert plan_module.as_plain_data(None, []) == {"clusters": [], "links": [], "problems": []}
