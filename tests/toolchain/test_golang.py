"""Finding Go and building with it; the Go here is a script that writes down what it is asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from toolchain import BuildError, Progress, Recipe, golang
from toolchain.progress import Reporter
from toolchain.recipes import Binary, Copy, Embed, Generate

FAKE_GO = """#!{python}
import json, os, sys
from pathlib import Path

here = Path(sys.argv[0]).parent
arguments = sys.argv[1:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps({{"arguments": arguments, "cgo": os.environ["CGO_ENABLED"], "flags": os.environ["GOFLAGS"],
                            "toolchain": os.environ["GOTOOLCHAIN"]}}) + "\\n")
if arguments[0] == "version":
    print("go version go1.26.8 linux/amd64")
elif arguments[:2] == ["mod", "download"]:
    print(json.dumps({{"Dir": str(here / "modules" / arguments[-1])}}))
elif arguments[0] == "list":
    print("go: downloading example.org/dependency v1.0.0", file=sys.stderr)
    print("package fmt")
    for package in [word for word in arguments if word.startswith("example.org/")]:
        print("program", package)
elif arguments[0] == "build":
    print("fmt")
    packages = [word for word in arguments if word.startswith("example.org/")]
    if "example.org/broken" in packages:
        print("# example.org/broken")
        print("main.go:3:1: syntax error: unexpected x")
        sys.exit(1)
    output = Path(arguments[arguments.index("-o") + 1])
    for package in packages:
        print(package)
        file = output / package.rsplit("/", 1)[-1] if output.is_dir() else output
        if file.name == "generate":
            text = "#!/bin/sh\\nmkdir -p $3 && echo generated >$3/made.json\\n"
        else:
            text = "program " + " ".join(sorted(path.name for path in Path().rglob("*.json")))
        file.write_text(text)
        file.chmod(0o755)
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "go" / "go"
    program.parent.mkdir()
    program.write_text(FAKE_GO.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setattr(golang, "candidates", lambda: [program])
    return program


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    module = tmp_path / "repository/tool"
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module example.org/tool\n")
    return tmp_path / "repository"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


def recipe(*binaries: Binary, **others: object) -> Recipe:
    return Recipe(name="tool", version="1", module="tool", binaries=binaries, **others)  # type: ignore[arg-type]


def calls(go: Path, verb: str) -> list[dict[str, object]]:
    lines = (go.parent / "calls").read_text().splitlines()
    return [call for call in map(json.loads, lines) if call["arguments"][0] == verb]


def content(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.19 linux/amd64", (1, 19)),
        ("go version go1.27rc1 linux/amd64", None),
        ("go version devel +abc linux/amd64", None),
        ("", None),
    ],
)
def test_parse_version(text: str, expected: tuple[int, ...] | None) -> None:
    assert golang.parse_version(text) == expected


@pytest.mark.parametrize(
    ("memory", "own", "gogc"),
    [(16 * 2**30, {}, "400"), (8 * 2**30, {}, None), (16 * 2**30, {"GOGC": "50"}, "50")],
)
def test_only_a_roomy_machine_lets_garbage_lie(memory: int, own: dict[str, str], gogc: str | None) -> None:
    made = golang.compile_environment(memory_bytes=memory, environment={"HOME": "/home/me", **own})
    assert made.get("GOGC") == gogc
    assert {name: value for name, value in made.items() if name != "GOGC"} == golang.build_environment(
        environment={"HOME": "/home/me"}
    )


def test_what_changes_the_result_is_fixed_and_the_rest_is_the_callers() -> None:
    given = {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "auto", "GOWORK": "/x", "GOPROXY": "off", "HOME": "/home/me"}
    assert golang.build_environment(cgo=True, environment=given) == {
        "CGO_ENABLED": "1",
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOPROXY": "off",
        "HOME": "/home/me",
    }


def test_the_first_go_that_is_new_enough_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reporter: Reporter
) -> None:
    versions = {
        tmp_path / "old": (1, 19),
        tmp_path / "broken": None,
        tmp_path / "new": (1, 27),
        tmp_path / "b": (1, 26),
    }
    monkeypatch.setattr(golang, "candidates", lambda: list(versions))
    monkeypatch.setattr(golang, "go_version", versions.get)
    assert golang.find_go(reporter) == tmp_path / "new"


def test_an_old_go_fetches_the_new_one(
    tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch, reporter: Reporter
) -> None:
    old = tmp_path / "old"
    old.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        "from pathlib import Path\n"
        "assert sys.argv[1:4] == ['mod', 'download', '-json']\n"
        "assert sys.argv[4].startswith('golang.org/toolchain@v0.0.1-go1.26.8.'), sys.argv\n"
        "made = Path(os.environ['GOMODCACHE']) / 'golang.org' / 'toolchain'\n"
        "(made / 'bin').mkdir(parents=True)\n"
        "(made / 'pkg/tool/x').mkdir(parents=True)\n"
        "for name in ('bin/go', 'pkg/tool/x/compile', 'VERSION'):\n"
        "    (made / name).touch(mode=0o444)\n"
        "print(json.dumps({'Dir': str(made), 'Sum': 'h1:x='}))\n"
    )
    old.chmod(0o755)
    monkeypatch.setattr(golang, "candidates", lambda: [old])
    monkeypatch.setattr(golang, "go_version", lambda go: (1, 19))
    go = golang.find_go(reporter)
    assert go == cache_root / "go/go1.26.8/bin/go"
    assert content(go.parent.parent) == ["VERSION", "artifact.json", "bin/go", "pkg/tool/x/compile"]
    assert (go.parent.parent / "pkg/tool/x/compile").stat().st_mode & 0o777 == 0o755
    old.unlink()
    assert golang.find_go(reporter) == go


def test_a_go_that_cannot_be_fetched_is_explained(
    tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch, reporter: Reporter
) -> None:
    old = tmp_path / "old"
    old.write_text("""#!/bin/sh\necho '{"Error": "no such host"}'\nexit 1\n""")
    old.chmod(0o755)
    monkeypatch.setattr(golang, "candidates", lambda: [old])
    monkeypatch.setattr(golang, "go_version", lambda go: (1, 19))
    with pytest.raises(BuildError) as raised:
        golang.find_go(reporter)
    assert str(raised.value).startswith("Go 1.26.8 could not be fetched as golang.org/toolchain@v0.0.1-go1.26.8.")
    assert str(raised.value).endswith(": no such host")
    assert content(cache_root / "go") == [".lock"]


def test_programs_with_equal_tags_are_built_together(
    go: Path, repository: Path, target: Path, reporter: Reporter
) -> None:
    made = recipe(
        Binary(file="one", package="example.org/a"),
        Binary(file="two", package="example.org/b", tags=("x", "y")),
        Binary(file="three", package="example.org/c"),
        variables=(("example.org/v.V", "1 2"),),
        cgo=True,
    )
    assert golang.build(made, target, repository=repository, report=reporter) == "1.26.8"
    assert content(target) == ["one", "three", "two"]
    builds = calls(go, "build")
    assert [call["cgo"] for call in builds] == ["1", "1"]
    assert {call["flags"] for call in builds} == {"-mod=readonly -trimpath -buildvcs=false"}
    first, second = [call["arguments"] for call in builds]
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert first[:5] == ["build", "-v", "-gcflags=all=-dwarf=false", "-ldflags", "-s -w -X 'example.org/v.V=1 2'"]
    assert first[-2:] == ["example.org/a", "example.org/c"]
    assert second[:4] == ["build", "-v", "-tags", "x,y"]


def test_files_are_generated_embedded_and_copied(go: Path, repository: Path, target: Path, reporter: Reporter) -> None:
    module = go.parent / "modules/example.org/data"
    (module / "tree/below").mkdir(parents=True)
    (module / "schema.json").write_text('{"name": "x"}')
    (module / "run.sh").write_text("echo")
    (module / "tree/below/file").write_text("file")
    for path in module.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    made = recipe(
        Binary(file="one", package="example.org/a"),
        embeds=(Embed(module="example.org/data", source="schema.json", target="schema-embed.json", version="3"),),
        generate=(Generate(package="example.org/g", arguments=("to", "--out"), files=("made.json",), target="."),),
        copies=(
            Copy(module="example.org/data", source="run.sh", target="scripts/run.sh", executable=True),
            Copy(module="example.org/data", source="tree", target="tree"),
        ),
    )
    golang.build(made, target, repository=repository, report=reporter)
    assert content(target) == ["one", "scripts/run.sh", "tree/below/file"]
    # What the compiler found beside its sources.
    assert (target / "one").read_text() == "program made.json schema-embed.json"
    modes = {
        name: (target / name).stat().st_mode & 0o777 for name in ("scripts/run.sh", "tree/below/file", "tree/below")
    }
    assert modes == {"scripts/run.sh": 0o755, "tree/below/file": 0o644, "tree/below": 0o755}
    assert content(repository) == ["tool/go.mod"], "a build writes nothing into the repository"


def test_progress_counts_modules_and_packages(
    go: Path, repository: Path, target: Path, reporter: Reporter, events: list[Progress]
) -> None:
    golang.build(recipe(Binary(file="one", package="example.org/a")), target, repository=repository, report=reporter)
    assert [(event.step, event.completed, event.total) for event in events] == [
        ("resolve", 0, 0),
        ("resolve", 1, 0),
        ("compile", 0, 2),
        ("compile", 1, 2),
        ("link", 2, 2),
    ]


def test_a_failed_build_shows_the_compilers_words(go: Path, repository: Path, target: Path, reporter: Reporter) -> None:
    with pytest.raises(BuildError) as raised:
        golang.build(
            recipe(Binary(file="one", package="example.org/broken")), target, repository=repository, report=reporter
        )
    assert str(raised.value) == (
        "tool: `go build` failed in tool:\n# example.org/broken\nmain.go:3:1: syntax error: unexpected x"
    )


def test_a_missing_module_is_named(tmp_path: Path, target: Path, reporter: Reporter) -> None:
    with pytest.raises(BuildError) as raised:
        golang.build(recipe(Binary(file="one", package=".")), target, repository=tmp_path, report=reporter)
    assert str(raised.value) == "tool: there is no Go module in tool; is the working copy complete?"
