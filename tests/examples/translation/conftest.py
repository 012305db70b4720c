import pytest

from examples.translation import config


@pytest.fixture
def tiny(tmp_path):
    """Settings of a run of six steps at 16 pixels; the words given change them."""
    words = ["DATA.img_size=16", "MODEL.g_conv_dim=4", "MODEL.d_conv_dim=4", "OPTIMIZATION.batch_size=4"]
    words += ["OPTIMIZATION.total_steps=6", "RUN.accelerator=cpu", "RUN.print_freq=2", "RUN.sample_freq=4"]

    def settings(name, *more):
        return config.load(None, [*words, "RUN.save_freq=2", f"RUN.save_dir={tmp_path / name}", *more])

    return settings
