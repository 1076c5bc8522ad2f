"""A short run of the fuzzer; `python -m tests.fuzz_settings --inputs 100000` is the long one."""

from __future__ import annotations

from tests.fuzz_settings import KINDS, one_input, run


def test_a_short_run_finds_nothing() -> None:
    findings = run(inputs=400, seed=7)
    assert findings.failures == []
    assert findings.inputs == 400
    assert findings.accepted > 0, "no input reached the plan"
    assert findings.messages > 400
    assert set(findings.kinds) == {kind.__name__ for kind, _ in KINDS}


def test_inputs_can_be_repeated() -> None:
    assert one_input(3, 11) == one_input(3, 11)
    assert one_input(3, 11) != one_input(3, 12)
