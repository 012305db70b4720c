import json

import pytest
import torch
from typer.testing import CliRunner

import nda_augment as nda
from examples.auditing import __main__ as audits
from examples.auditing import agreement
from nda_augment.auditing import run


@pytest.fixture
def _quick(monkeypatch):
    monkeypatch.setattr(run, "_STEPS", 2)


def test_textures_are_patches_of_three_kinds():
    found = audits.textures(24, 12)
    assert found.images.shape == (1200, 1, 24, 24)
    assert found.images.dtype == torch.uint8
    assert found.labels.bincount().tolist() == [400, 400, 400]
    # The next patch to the right begins where the right half of this one does.
    assert torch.equal(found.images[0, :, :, 12:], found.images[1, :, :, :12])


def test_what_is_audited_is_what_was_named_or_everything():
    images = torch.zeros(4, 1, 16, 16, dtype=torch.uint8)
    named = audits.arms(["jigsaw", "mixture=jigsaw,stitch"], images)
    assert list(map(str, named.values())) == ["jigsaw", "jigsaw,stitch"]
    everything = audits.arms([], images)
    assert {"jigsaw", "stitch", "cutmix", "jigsaw 4x4", "jigsaw 8x8"} <= set(everything)


def test_positives_keep_the_size_and_change_little():
    images = torch.rand(8, 3, 16, 16)
    for transform in audits.positives(16).values():
        assert transform(images).shape == images.shape


@pytest.mark.usefixtures("_quick")
def test_the_command_leaves_a_report_for_each_seed(tmp_path):
    words = ["digits", "--size", "8", "--limit", "150", "--seeds", "2", "--labels", "--arm", "flip=flip", "--output"]
    app = audits.typer.Typer()
    app.command()(audits.main)
    result = CliRunner().invoke(app, [*words, str(tmp_path)])
    assert result.exit_code == 0, result.output
    reports = [json.loads((tmp_path / f"audit-{seed}.json").read_text()) for seed in range(2)]
    assert [report["settings"]["seed"] for report in reports] == [0, 1]
    assert "classes" in reports[0]["settings"]["structure"]
    assert set(reports[0]["ranking"]) == {"flip", *audits.positives(8)}
    assert (tmp_path / "audit-1.html").is_file()
    assert set(agreement.measured(reports)["score"]) == set(reports[0]["ranking"])


class TestAgreement:
    @pytest.mark.parametrize(
        ("second", "rho", "p"),
        [([1, 2, 3, 4], 1.0, 2 / 24), ([4, 3, 2, 1], -1.0, 2 / 24), ([2, 1, 4, 3], 0.6, 10 / 24)],
        ids=["same", "reversed", "neighbours swapped"],
    )
    def test_is_spearmans_with_an_exact_p(self, second, rho, p):
        """Of the 24 orders of four, 5 have ρ of 0.6 or more."""
        assert agreement.agreement([1.0, 5.0, 7.0, 30.0], second) == pytest.approx((rho, p))

    @pytest.mark.parametrize("count", [2, 9])
    def test_needs_some_and_not_too_many(self, count):
        with pytest.raises(ValueError, match=f"needs 3 to 8 numbers on either side, got {count}"):
            agreement.agreement(range(count), range(count))

    @pytest.fixture
    def report(self):
        images = torch.rand(150, 1, 8, 8).cumsum(2).cumsum(3) / 64
        encoder = torch.nn.AdaptiveAvgPool2d(4)
        return json.loads(nda.audit(images, "flip,mixup,cutmix", encoder=encoder).to_json())

    def test_the_higher_in_the_ranking_the_larger(self, report):
        audited = agreement.measured([report, report])
        ranked = sorted(audited["ranking"], key=audited["ranking"].__getitem__, reverse=True)
        assert ranked == report["ranking"]
        rows = {row["name"]: row for row in report["rows"]}
        assert audited["broken"]["flip"] == pytest.approx(rows["flip"]["measures"]["broken"]["value"])

    def test_a_table_of_all_outcomes(self, report, tmp_path, capsys):
        outcome = {name: -place for place, name in enumerate(report["ranking"])}
        paths = [tmp_path / name for name in ("outcomes.json", "audit.json")]
        for path, held in zip(paths, ({"as ranked": outcome}, report), strict=True):
            path.write_text(json.dumps(held))
        agreement.main(paths[0], [paths[1]])
        assert capsys.readouterr().out.splitlines()[2].startswith("| as ranked | 3 | +1.00 (0.33) |")

    def test_a_negative_that_was_not_audited_is_named(self, report):
        with pytest.raises(ValueError, match="'coverage' has jigsaw, which no audit has"):
            agreement.table({"coverage": {"jigsaw": 1.0, "flip": 2.0}}, agreement.measured([report]))
