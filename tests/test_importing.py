"""`import nda_augment` is cheap beside `import torch, kornia`."""

from benchmarks import importing


def test_it_adds_a_fifth_of_a_second_at_most_and_no_other_library():
    # Time of the CPU, and again if it was too long: a busy machine makes nothing faster.
    for _ in range(3):
        base, added, modules = importing.measure()
        if added * 1e3 <= importing.LIMIT_MS:
            break
    assert 0 < added * 1e3 <= importing.LIMIT_MS < base * 1e3
    strangers = [name for name in modules if name.partition(".")[0] not in ("nda_augment", "__future__")]
    assert not strangers


def test_the_row_of_the_benchmark(monkeypatch):
    monkeypatch.setattr(importing, "measure", iter([(9.0, 9.0, []), (2.0, 0.1, ["a"]), (4.0, 0.3, ["a"])]).__next__)
    (row,) = importing.rows(2)
    assert row["CPU ms"] == 200.0
    assert row["torch and kornia, CPU ms"] == 3000.0
    assert row["modules"] == 1
