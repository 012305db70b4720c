from dataclasses import dataclass, field

import pytest

from examples.common import settings
from examples.common.settings import ConfigError


@dataclass
class Model:
    width: int = 4
    depth: int = 2
    rate: float = 0.5
    places: list[int] = field(default_factory=lambda: [1])


@dataclass
class Run:
    seed: int = 0


@dataclass
class Config:
    MODEL: Model = field(default_factory=Model)
    RUN: Run = field(default_factory=Run)


def test_words_change_the_file_and_the_file_the_defaults(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("MODEL: {width: 8, depth: 3}\n")
    config = settings.load(Config, path, ["MODEL.width=16", "MODEL.places=[2,3]"])
    assert config == Config(Model(width=16, depth=3, places=[2, 3]), Run())
    assert type(config) is Config


def test_a_saved_config_is_read_back(tmp_path):
    config = settings.load(Config, None, ["RUN.seed=7", "MODEL.rate=1e-3"])
    (tmp_path / "c.yaml").write_text(settings.to_yaml(config))
    assert settings.load(Config, tmp_path / "c.yaml") == config


def test_flat_names_every_value_in_full():
    assert settings.flat(Config()) == {
        "MODEL.width": 4, "MODEL.depth": 2, "MODEL.rate": 0.5, "MODEL.places": [1], "RUN.seed": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("MODEL.widht=3", "unknown key 'MODEL.widht'; the nearest known one is 'MODEL.width'"),
        ("MODELS.width=3", "unknown key 'MODELS.width'; the nearest known one is 'MODEL.width'"),
        ("seed=3", "the nearest known one is 'RUN.seed'"),
        ("MODEL=3", "made of the sections MODEL, RUN"),
        ("MODEL.width", "'MODEL.width' is no override; write SECTION.key=value"),
        ("MODEL.width=wide", "wide"),
        ("MODEL.width=null", "width"),
        ("MODEL.places=[a]", "places"),
    ],
)
def test_mistakes_are_named(word, message):
    with pytest.raises(ConfigError, match=message):
        settings.load(Config, None, [word])


@pytest.mark.parametrize("text", ["- 1\n", "RUN:\n", "RUN: [1\n", "RUN: 3\n"])
def test_files_of_another_form_are_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError):
        settings.load(Config, tmp_path / "c.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        settings.load(Config, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("check", "good", "bad", "message"),
    [
        (lambda v: settings.check_words(v, {"A.b": ("jigsaw", "stitch")}), "jigsaw", "jigsav", "did you mean 'jigsaw'"),
        (lambda v: settings.check_smallest(v, {"A.b": 2}), 2, 1, "A.b must be at least 2, got 1"),
        (lambda v: settings.check_smallest(v, {"A.b": 2}), 3, float("nan"), "got nan"),
        (lambda v: settings.check_positive(v, ["A.b"]), 0.1, 0, "A.b must be above 0, got 0"),
        (lambda v: settings.check_positive(v, ["A.b"]), 0.1, float("nan"), "got nan"),
        (lambda v: settings.check_shares(v, ["A.b"]), 1, 1.1, r"A.b must be in \[0, 1\], got 1.1"),
        (lambda v: settings.check_shares(v, ["A.b"]), 0, float("nan"), "got nan"),
        (lambda v: settings.check_shares(v, ["A.b"], whole=False), 0.9, 1, r"A.b must be in \[0, 1\), got 1"),
    ],
    ids=["word", "least", "least nan", "positive", "positive nan", "share", "share nan", "less than the whole"],
)
def test_checks_let_good_values_pass_and_name_bad_ones(check, good, bad, message):
    check({"A.b": good})
    with pytest.raises(ConfigError, match=message):
        check({"A.b": bad})
