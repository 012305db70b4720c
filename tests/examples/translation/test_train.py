import pytest
import torch
import typer
from torch.nn import functional as F
from typer.testing import CliRunner

from examples.common.settings import ConfigError
from examples.translation import data, train
from examples.translation.train import CHECKPOINT, Training
from nda_augment._files import load_checkpoint


def same(a, b):
    """Tell whether two states are equal, tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


def final(folder):
    state = load_checkpoint(folder / CHECKPOINT, {})
    return {name: part for name, part in state.items() if name != "config"}


def test_a_run_writes_its_folder(tiny):
    folder = train.train(tiny("run"))
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.pt", "config.yaml", "samples"]
    assert sorted(path.name for path in (folder / "samples").iterdir()) == ["000004.png", "000006.png"]
    rows = load_checkpoint(folder / CHECKPOINT, {})["history"]
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert set(rows[0]) == {"step", "real", "fake", "negative", "gap", "translator", "l1"}


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tiny):
    whole = train.train(tiny("whole"))
    train.train(tiny("parts", "OPTIMIZATION.total_steps=4"))
    parts = train.train(tiny("parts"))
    assert same(final(whole), final(parts))


def test_a_kill_between_checkpoints_costs_nothing(tiny, monkeypatch):
    whole = train.train(tiny("whole"))
    advance, steps = Training.advance, []

    def killed(run):
        steps.append(run.step)
        if run.step == 3:
            raise KeyboardInterrupt
        return advance(run)

    monkeypatch.setattr(Training, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        train.train(tiny("killed"))
    monkeypatch.setattr(Training, "advance", advance)
    assert same(final(whole), final(train.train(tiny("killed"))))


def test_without_negatives_it_is_plain_pix2pix(tiny):
    """λ = 1 and no negatives are the same run bit for bit; with negatives it is another."""
    off, one = train.train(tiny("off", "AUG.apply_nda=false")), train.train(tiny("one", "LOSS.nda_fake_weight=1"))
    nda_run = train.train(tiny("nda"))
    assert same(final(off)["translator"], final(one)["translator"])
    assert not same(final(off)["discriminator"], final(nda_run)["discriminator"])
    assert "negative" not in final(off)["history"][0]


def test_the_first_step_is_the_loss_written_out(tiny, monkeypatch):
    """The negative is the true photograph, torn apart, beside its own edges; the translator never hears of it."""
    settings = tiny("run", "LOSS.nda_fake_weight=0.4")
    training, _ = data.load(settings.DATA)
    run = Training(settings, training)
    pairs = run._batch()
    judged, losses = [], []
    run.discriminator.network.register_forward_hook(lambda module, given, logits: judged.append((*given, logits)))
    monkeypatch.setattr(run, "_descend", lambda player, loss: losses.append(loss.detach()))
    row = run.advance()

    (_, torn, on_negative), (edges, real, on_real), (_, fake, on_fake), (_, _, on_translated) = judged
    assert all(torch.equal(given[0], pairs.edges) for given in judged)
    assert torch.equal(real, pairs.photographs)
    cells = [set(image.unfold(1, 8, 8).unfold(2, 8, 8).sum(dim=(0, 3, 4)).flatten().tolist()) for image in torn]
    assert cells == [set(image.unfold(1, 8, 8).unfold(2, 8, 8).sum(dim=(0, 3, 4)).flatten().tolist()) for image in real]
    assert all(not torch.equal(a, b) for a, b in zip(torn, real, strict=True))
    expected = F.softplus(-on_real).mean() + 0.4 * F.softplus(on_fake).mean() + 0.6 * F.softplus(on_negative).mean()
    torch.testing.assert_close(losses[0], expected.detach())
    l1 = (fake - real).abs().mean()
    torch.testing.assert_close(losses[1], (F.softplus(-on_translated).mean() + 100 * l1).detach())
    assert row["gap"].item() == pytest.approx((on_real.mean() - on_negative.mean()).item(), abs=1e-7)
    assert edges.shape == (4, 1, 16, 16)


def test_each_player_learns_from_its_own_loss_alone(tiny):
    settings = tiny("run")
    run = Training(settings, data.load(settings.DATA)[0])
    before = {
        name: [p.clone() for p in getattr(run, name).network.parameters()] for name in ("translator", "discriminator")
    }
    pairs = run._batch()
    run._discriminator_step(pairs, run.translator.network(pairs.edges).detach())
    assert all(
        torch.equal(a, b) for a, b in zip(before["translator"], run.translator.network.parameters(), strict=True)
    )
    changed = [p.clone() for p in run.discriminator.network.parameters()]
    assert not all(torch.equal(a, b) for a, b in zip(before["discriminator"], changed, strict=True))
    run._translator_step(pairs, run.translator.network(pairs.edges))
    assert all(torch.equal(a, b) for a, b in zip(changed, run.discriminator.network.parameters(), strict=True))


def test_edges_and_photograph_are_mirrored_together(tiny):
    settings = tiny("run")
    training, _ = data.load(settings.DATA)
    marked = data.Pairs(training.photographs.mean(dim=1, keepdim=True), training.photographs)
    run = Training(settings, marked)
    batches = [run._batch() for run.step in range(8)]
    for pairs in batches:
        torch.testing.assert_close(pairs.edges[:, 0], pairs.photographs.mean(dim=1))
    shown = {image.numpy().tobytes() for pairs in batches for image in pairs.photographs}
    straight = {image.numpy().tobytes() for image in training.photographs}
    assert 0 < len(shown & straight) < len(shown)


def test_it_learns(tiny):
    folder = train.train(tiny("run", "OPTIMIZATION.total_steps=60", "OPTIMIZATION.g_lr=2e-3"))
    rows = load_checkpoint(folder / CHECKPOINT, {})["history"]
    assert rows[-1]["l1"] < 0.8 * rows[0]["l1"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("AUG.nda_policy=stitch", r"other settings: AUG.nda_policy \(was 'jigsaw', now 'stitch'\)"),
        ("RUN.seed=1", r"RUN.seed \(was 0, now 1\)"),
        ("RUN.precision=bf16-mixed", r"RUN.precision \(was '32-true', now 'bf16-mixed'\)"),
        ("OPTIMIZATION.total_steps=2", r"already at step 6, beyond OPTIMIZATION.total_steps=2"),
    ],
)
def test_another_run_in_the_folder_is_not_continued(tiny, word, message):
    train.train(tiny("run"))
    with pytest.raises(ConfigError, match=message):
        train.train(tiny("run", word))


def test_other_images_are_refused(tiny):
    settings = tiny("run")
    training, held_out = data.load(settings.DATA)
    state = Training(settings, training).state_dict()
    with pytest.raises(ConfigError, match="on other images"):
        Training(settings, held_out).load_state_dict(state)


def test_too_few_images_are_refused(tiny):
    with pytest.raises(ValueError, match="468 training images do not fill a batch of 500"):
        train.train(tiny("run", "OPTIMIZATION.batch_size=500"))


def test_the_command_line_trains_and_names_what_is_wrong(tiny, tmp_path):
    tiny("run")
    app = typer.Typer()
    app.command()(train.main)
    words = ["DATA.img_size=16", "MODEL.g_conv_dim=4", "OPTIMIZATION.total_steps=1", "RUN.accelerator=cpu"]
    result = CliRunner().invoke(app, [*words, f"RUN.save_dir={tmp_path / 'cli'}"])
    assert result.exit_code == 0
    assert (tmp_path / "cli" / CHECKPOINT).exists()
    refused = CliRunner().invoke(app, ["AUG.nda_policy=jigsow"])
    assert refused.exit_code == 2
