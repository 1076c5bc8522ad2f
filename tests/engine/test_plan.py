"""What a first preview shows, for each kind of cluster."""
from __future__ import annotations
import json
from typing import Any
import pytest
from tests.domain.samples import GIVEN, MN, changed
from tests.engine.project import Project, steps
pytestmark = pytest.mark.engine

def test_x(project: Project, de: dict[str, Any]) -> None:
    for n,c in (("de",de),("mn",MN)):
        project.write(n,c)
    project.init("de"); project.init("mn")
    for s in ("de","mn"):
        p=project.preview(s)
        print(*steps(p),sep="\n"); print(p["diagnostics"])
    project.write("mn",GIVEN)
    r=project.run("preview","-s","mn","--json")
    print(r.code, r.stderr); p=json.loads(r.stdout)
    print(*steps(p),sep="\n"); print(p["diagnostics"])
    r=project.run("preview","-s","mn"); print(r.output)
