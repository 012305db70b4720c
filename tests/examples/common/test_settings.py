from dataclasses import dataclass, field

import pytest

from examples.common import settings
from examples.common.settings import ConfigError, Section, Settings, at_least, one_of, positive, share


@dataclass
class Model(Section):
    width: int = at_least(4, 2)
    depth: int = 2
    rate: float = positive(0.5)
    decay: float = share(0.9, whole=False)
    flip: float = share(0.5)
    scale: float = share(1.0, zero=False)
    method: str = one_of("moco", ("moco", "simclr"))
    size: int = one_of(8, (8, 16))
    places: list[int] = field(default_factory=lambda: [1])

    def check(self):
        if self.depth > self.width:
            raise ConfigError("MODEL.depth is more than MODEL.width")


@dataclass
class Run:
    seed: int = 0


@dataclass
class Config(Settings):
    MODEL: Model = field(default_factory=Model)
    RUN: Run = field(default_factory=Run)

    def check(self):
        if self.RUN.seed == 13:
            raise ConfigError("RUN.seed=13 brings bad luck")


def test_words_change_the_file_and_the_file_the_defaults(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("MODEL: {width: 8, depth: 3}\n")
    config = Config.load(path, ["MODEL.width=16", "MODEL.places=[2,3]"])
    assert config == Config(Model(width=16, depth=3, places=[2, 3]), Run())
    assert type(config) is Config


def test_a_saved_config_is_read_back(tmp_path):
    config = Config.load(None, ["RUN.seed=7", "MODEL.rate=1e-3"])
    config.save(tmp_path / "c.yaml")
    assert Config.load(tmp_path / "c.yaml") == config


def test_flat_names_every_value_in_full():
    flat = settings.flat(Config())
    assert (flat["MODEL.width"], flat["MODEL.places"], flat["RUN.seed"]) == (4, [1], 0)
    assert flat == settings.flatten(Config().to_dict())


def test_differences_are_named():
    now = settings.flat(Config.load(None, ["RUN.seed=1", "MODEL.depth=3"]))
    earlier = settings.flat(Config()) | {"RUN.gone": 2}
    assert settings.differences(now, earlier) == {
        "MODEL.depth": "was 2, now 3", "RUN.gone": "was 2, now None", "RUN.seed": "was 0, now 1",
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
        ("MODEL.width=1", "MODEL.width must be at least 2, got 1"),
        ("MODEL.rate=0", "MODEL.rate must be above 0, got 0"),
        ("MODEL.rate=.nan", "got nan"),
        ("MODEL.flip=1.1", r"MODEL.flip must be in \[0, 1\], got 1.1"),
        ("MODEL.flip=.nan", "got nan"),
        ("MODEL.decay=1", r"MODEL.decay must be in \[0, 1\), got 1"),
        ("MODEL.scale=0", r"MODEL.scale must be in \(0, 1\], got 0"),
        ("MODEL.method=mocco", "MODEL.method must be one of moco, simclr, got 'mocco'; did you mean 'moco'"),
        ("MODEL.size=12", "MODEL.size must be one of 8, 16, got 12"),
        ("MODEL.depth=9", "MODEL.depth is more than MODEL.width"),
        ("RUN.seed=13", "bad luck"),
    ],
)
def test_mistakes_are_named(word, message):
    with pytest.raises(ConfigError, match=message):
        Config.load(None, [word])


@pytest.mark.parametrize("text", ["- 1\n", "RUN:\n", "RUN: [1\n", "RUN: 3\n"])
def test_files_of_another_form_are_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError):
        Config.load(tmp_path / "c.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        Config.load(tmp_path / "none.yaml")


def test_the_ends_of_ranges_are_within():
    Config.load(None, ["MODEL.width=2", "MODEL.flip=0", "MODEL.decay=0", "MODEL.scale=1"])


def test_what_is_no_text_is_told(tmp_path):
    (tmp_path / "c.yaml").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        Config.load(tmp_path / "c.yaml")
