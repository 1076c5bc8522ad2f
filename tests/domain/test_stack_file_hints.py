"""A stack file of a wrong form says in which way it is wrong, in one message, and its right neighbour says nothing."""

from __future__ import annotations

from typing import Final

import pytest

from domain.fleet import check_files
from domain.stack_directory import decoded
from tests.domain.samples import DE, MN, SSH_PRIVATE_KEY, text

WHOLE: Final = text(DE)
NO_COLON: Final = "is not YAML: here a colon is missing, or the space behind it; write it like pod_cidr: 10.42.0.0/16."
INDENTED: Final = "is not YAML: this line is indented otherwise than those beside it; indent all of one level alike."
TAB: Final = "is not YAML: a tab stands where only spaces may; indent with spaces."
CONFLICT: Final = (
    "is not YAML: it holds a conflict of git that is not solved; "
    "keep one of the two sides, and remove the lines <<<<<<<, ======= and >>>>>>>."
)
QUOTE: Final = "is not YAML: a quote that is opened here is not closed; close it, or put the text in the other quotes."
BRACKET: Final = "is not YAML: a [ or { that is opened here is not closed, or a comma is missing; close it with ] or }."
KEY: Final = (
    "is not YAML: a private key stands in it as plain text; remove it, make a new one, and set that: "
    "`pulumi config set --secret NAME < KEYFILE`."
)
TOP: Final = "stands at the top of the file, where Pulumi reads no settings; move it below config:, indented, as"


OURS: Final = {key: value for key, value in DE.items() if key.startswith("isthmus:")}
OTHERS: Final = {key: value for key, value in DE.items() if not key.startswith("isthmus:")}
ONE_OBJECT: Final = (
    "isthmus holds settings as one object; to Pulumi isthmus is a namespace, which stands before the name of each; "
    "write them one by one, like isthmus:network. [Pulumi.de.yaml:2]"
)


def whole(old: str, new: str) -> str:
    assert old in WHOLE
    return WHOLE.replace(old, new, 1)


def at_the_top() -> str:
    """The file with its section network above config."""
    start, end = WHOLE.index("  isthmus:network:"), WHOLE.index("  isthmus:peers:")
    section = WHOLE[start:end].replace("\n  ", "\n").removeprefix("  ")
    return section + WHOLE[:start] + WHOLE[end:]


WEB_SPACE: Final = (
    "is not YAML: a space of a web page stands where only a plain one may; type the spaces of the line anew."
)
MARKDOWN: Final = "is not YAML: a line of Markdown stands in it; remove the lines that begin with ```."
BAD: Final = {
    "no-break spaces before a key": (
        whole("    pod_cidr", "\u00a0\u00a0\u00a0\u00a0pod_cidr"),
        f"{WEB_SPACE} [Pulumi.de.yaml:3]",
    ),
    "a no-break space behind a colon": (whole("pod_cidr: ", "pod_cidr:\u00a0"), f"{WEB_SPACE} [Pulumi.de.yaml:3]"),
    "a fence of Markdown": (f"```yaml\n{WHOLE}```\n", f"{MARKDOWN} [Pulumi.de.yaml:1]"),
    "a fence of Markdown at the end": (f"{WHOLE}```\n", f"{MARKDOWN} [Pulumi.de.yaml:34]"),
    "tab before a key": ("config:\n\tisthmus:peers: []\n", f"{TAB} [Pulumi.de.yaml:2]"),
    "tab in a deeper line": (whole("    pod_cidr", "\tpod_cidr"), f"{TAB} [Pulumi.de.yaml:3]"),
    "tab behind spaces": (whole("    service_cidr", "  \t service_cidr"), f"{TAB} [Pulumi.de.yaml:4]"),
    "no colon behind a section": (whole("isthmus:network:", "isthmus:network"), f"{NO_COLON} [Pulumi.de.yaml:2]"),
    "no space behind a colon": (whole("pod_cidr: ", "pod_cidr:"), f"{NO_COLON} [Pulumi.de.yaml:3]"),
    "an equals sign": (whole("pod_cidr: ", "pod_cidr = "), f"{NO_COLON} [Pulumi.de.yaml:3]"),
    "no space behind a colon, before a remark": (
        whole("pod_cidr: 10.42.0.0/16", "pod_cidr:10.42.0.0/16 # of pods: all"),
        f"{NO_COLON} [Pulumi.de.yaml:3]",
    ),
    "no colon, before a remark, in the middle": (
        whole("service_cidr: 10.43.0.0/16", "service_cidr 10.43.0.0/16 # of services"),
        f"{NO_COLON} [Pulumi.de.yaml:4]",
    ),
    "a line too far to the right below a remark": (
        whole("    pod_cidr: 10.42.0.0/16\n", "    pod_cidr: 10.42.0.0/16 # of pods\n     # and more\n "),
        f"{INDENTED} [Pulumi.de.yaml:5]",
    ),
    "no colon in the last line": (f"{WHOLE}  isthmus:cilium\n", f"{NO_COLON} [Pulumi.de.yaml:34]"),
    "conflict": (
        whole("  isthmus:peers:\n", "<<<<<<< HEAD\n  isthmus:peers:\n=======\n  isthmus:peers: []\n>>>>>>> b\n"),
        f"{CONFLICT} [Pulumi.de.yaml:7]",
    ),
    "conflict in a section": (
        whole("    pod_cidr: 10.42.0.0/16\n", "<<<<<<< HEAD\n    pod_cidr: 10.42.0.0/16\n=======\n>>>>>>> b\n"),
        f"{CONFLICT} [Pulumi.de.yaml:3]",
    ),
    "half of a conflict": (f"{WHOLE}>>>>>>> feature\n", f"{CONFLICT} [Pulumi.de.yaml:34]"),
    "double quote": (whole("location: fsn1", 'location: "fsn1'), f"{QUOTE} [Pulumi.de.yaml:10]"),
    "single quote": (whole("location: fsn1", "location: 'fsn1"), f"{QUOTE} [Pulumi.de.yaml:10]"),
    "square bracket": (whole("isthmus:peers:\n  - mn", "isthmus:peers: [mn"), f"{BRACKET} [Pulumi.de.yaml:7]"),
    "curly bracket": (
        whole("    workers:\n      server_type: cx23\n      count: 1", "    workers: {server_type: cx23, count: 1"),
        f"{BRACKET} [Pulumi.de.yaml:17]",
    ),
    "no comma": (
        whole("    workers:\n      server_type: cx23\n      count: 1", "    workers: {server_type: cx23 count: 1}"),
        f"{BRACKET} [Pulumi.de.yaml:17]",
    ),
    "a line too far to the right": (whole("  isthmus:peers:", "   isthmus:peers:"), f"{INDENTED} [Pulumi.de.yaml:7]"),
    "a line too far to the left": (whole("    image:", "   image:"), f"{INDENTED} [Pulumi.de.yaml:13]"),
    "an at sign": (
        whole("location: fsn1", "location: @fsn1"),
        "is not YAML: a text can't start with an @; put the text in quotes. [Pulumi.de.yaml:10]",
    ),
    "a percent sign": (
        whole("location: fsn1", "location: %fsn1"),
        "is not YAML: a text can't start with a percent sign; put the text in quotes. [Pulumi.de.yaml:10]",
    ),
    "a backslash in double quotes": (
        whole("location: fsn1", 'location: "f\\sn1"'),
        (
            "is not YAML: a backslash in double quotes starts no sequence that YAML knows; put it in single quotes. "
            "[Pulumi.de.yaml:10]"
        ),
    ),
    "a colon in a text": (
        whole("location: fsn1", "location: fsn1: the first"),
        (
            "is not YAML: a colon stands where none can be; perhaps it is of the text, or of a second setting; "
            "put the text in quotes, or write each setting in a line of its own, indented alike. [Pulumi.de.yaml:10]"
        ),
    ),
    "a text behind a bar": (
        whole("location: fsn1", "location: |fsn1"),
        (
            "is not YAML: behind | or > stands what can't stand there; begin the text in the next line. "
            "[Pulumi.de.yaml:10]"
        ),
    ),
    "an entry of a list among settings": (whole("    image:", "    - image:"), f"{INDENTED} [Pulumi.de.yaml:13]"),
    "a bracket that nothing opened": (whole("  - mn", "  - mn\n  ]"), f"{INDENTED} [Pulumi.de.yaml:9]"),
    "a line between two levels": (f"{WHOLE} x: 1\n", f"{INDENTED} [Pulumi.de.yaml:34]"),
    "a NUL byte": (f"{WHOLE}\0\n", "is not YAML: it holds a NUL byte; remove it. [Pulumi.de.yaml:34]"),
    "a private key behind a key": (
        whole("  isthmus:peers:\n  - mn", f"  isthmus:sshPrivateKey: {SSH_PRIVATE_KEY}"),
        None,
    ),
    "a private key at the end": (WHOLE + SSH_PRIVATE_KEY, f"{KEY} [Pulumi.de.yaml:35]"),
}

ANCHOR: Final = (
    "Pulumi.de.yaml has an anchor or an alias (& or *); write the value out, or quote the text. [Pulumi.de.yaml:10]"
)

SHAPES: Final = {
    "a star before a name": (whole("location: fsn1", "location: *.example.net"), ANCHOR),
    "an ampersand alone": (whole("location: fsn1", "location: & fsn1"), ANCHOR),
    "Config": (
        whole("config:", "Config:"),
        "Config is unknown to Pulumi, which reads settings below config alone; write config. [Pulumi.de.yaml:1]",
    ),
    "CONFIG": (
        whole("config:", "CONFIG:"),
        "CONFIG is unknown to Pulumi, which reads settings below config alone; write config. [Pulumi.de.yaml:1]",
    ),
    "configs": (
        whole("config:", "configs:"),
        "configs is unknown to Pulumi, which reads settings below config alone; write config. [Pulumi.de.yaml:1]",
    ),
    "cofnig": (
        whole("config:", "cofnig:"),
        "cofnig is unknown to Pulumi, which reads settings below config alone; write config. [Pulumi.de.yaml:1]",
    ),
    "one object": (
        text({"isthmus": {key.removeprefix("isthmus:"): value for key, value in OURS.items()}, **OTHERS}),
        ONE_OBJECT,
    ),
    "a section at the top": (at_the_top(), f"isthmus:network {TOP} isthmus:network. [Pulumi.de.yaml:1]"),
    "a section at the top without its namespace": (
        at_the_top().replace("isthmus:network", "network"),
        f"network {TOP} isthmus:network. [Pulumi.de.yaml:1]",
    ),
    "everything at the top": (
        "isthmus:peers: [mn]\n" + whole("  isthmus:peers:\n  - mn\n", ""),
        f"isthmus:peers {TOP} isthmus:peers. [Pulumi.de.yaml:1]",
    ),
    "the provider's at the top": (
        "hcloud:token: {secure: v1:bm9uY2U=:Y2lwaGVy}\n"
        + whole("  hcloud:token:\n    secure: v1:bm9uY2U=:Y2lwaGVy\n", ""),
        f"hcloud:token {TOP} hcloud:token. [Pulumi.de.yaml:1]",
    ),
    "no namespace": (
        whole("isthmus:network:", "network:"),
        (
            "network has no namespace; settings of this program start with isthmus:; write isthmus:network. "
            "[Pulumi.de.yaml:2]"
        ),
    ),
}

RIGHT: Final = {
    "as it is": WHOLE,
    "byte order mark": f"\ufeff{WHOLE}",
    "line ends of Windows": WHOLE.replace("\n", "\r\n"),
    "an environment": f"environment:\n- team/production\n{WHOLE}",
    "an environment as an object": f"environment:\n  imports: [team/production]\n  values: {{a: 1}}\n{WHOLE}",
    "what Pulumi keeps of a passphrase": f"encryptionsalt: v1:abc:v1:def\n{WHOLE}",
    "what Pulumi keeps of a key service": f"secretsprovider: awskms://alias/x\nencryptedkey: AQEBAHg=\n{WHOLE}",
    "a quoted conflict marker": whole("location: fsn1", "location: fsn1 # <<<<<<< HEAD"),
    "a tab behind a value": whole("location: fsn1", "location: fsn1\t# the first"),
    "quotes": whole("location: fsn1", 'location: "fsn1"'),
}


def said(content: str) -> list[str]:
    return [str(problem) for problem in check_files({"de": content, "mn": text(MN)})]


@pytest.mark.parametrize(("content", "says"), BAD.values(), ids=BAD)
def test_why_it_is_not_yaml(content: str, says: str | None) -> None:
    (found,) = [sentence for sentence in said(content) if sentence.startswith("de:")]
    assert found.startswith("de: Pulumi.de.yaml is not YAML: ")
    if says is not None:
        assert found == f"de: Pulumi.de.yaml {says}"
    for line in SSH_PRIVATE_KEY.splitlines():
        assert line not in found


@pytest.mark.parametrize(("content", "says"), SHAPES.values(), ids=SHAPES)
def test_settings_in_a_wrong_place(content: str, says: str) -> None:
    assert said(content) == [f"de: {says}"]


@pytest.mark.parametrize("content", RIGHT.values(), ids=RIGHT)
def test_right(content: str) -> None:
    assert said(content) == []


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le"])
def test_utf_16(coding: str) -> None:
    content = WHOLE.encode(coding) if coding == "utf-16" else b"\xff\xfe" + WHOLE.encode(coding)
    (problem,) = check_files({"de": decoded(content)})
    assert str(problem) == "de: Pulumi.de.yaml is UTF-16 text; save it as UTF-8."
