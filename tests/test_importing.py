"""`import nda_augment` brings nothing that `import torch, kornia` does not."""

from benchmarks import importing


def test_it_brings_no_other_library():
    # How long it takes is for `make bench`: a test that measured time would fail on a busy machine.
    _, _, modules = importing.measure()
    strangers = [name for name in modules if name.partition(".")[0] not in ("nda_augment", "__future__")]
    assert modules
    assert not strangers


def test_the_row_of_the_benchmark(monkeypatch):
    monkeypatch.setattr(importing, "measure", iter([(9.0, 9.0, []), (2.0, 0.1, ["a"]), (4.0, 0.3, ["a"])]).__next__)
    (row,) = importing.rows(2)
    assert row["CPU ms"] == 200.0
    assert row["torch and kornia, CPU ms"] == 3000.0
    assert row["modules"] == 1
