import re

import pytest
import torch

import nda_augment as nda
from nda_augment._negatives import check_negative

BY_CLASS, SOMETIMES, CLIPS = nda.Stitch(partner="same_class"), nda.Jigsaw(p=0.5), nda.FrameShuffle()


def test_most_negatives_are_usable_everywhere():
    for negative in (nda.Jigsaw(), nda.from_policy("jigsaw,stitch"), nda.AsNegative(torch.nn.Identity())):
        check_negative(negative)


@pytest.mark.parametrize(
    ("negative", "allowed", "message"),
    [
        (SOMETIMES, "always", "has p=0.5 .* use p=1, and a weight"),
        (BY_CLASS, "labels", "needs labels, and there are none here; let its partners be of any class"),
        (CLIPS, "clips", "works on clips; here are images only"),
    ],
)
def test_a_place_says_what_it_cannot_use(negative, allowed, message):
    with pytest.raises(ValueError, match=f"^AUG.policy: {re.escape(repr(negative))} {message}"):
        check_negative(negative, "AUG.policy")
    check_negative(negative, "AUG.policy", **{allowed: allowed != "always"})


@pytest.mark.parametrize("what", ["jigsaw", None, nda.Jigsaw, torch.nn.Identity(), nda.from_policy, [nda.Jigsaw()]])
def test_other_things_are_no_negatives(what):
    for allowed in (True, False):
        with pytest.raises(TypeError, match=r"shifts must be negatives .* such as nda_augment\.Jigsaw\(\).*AsNegative"):
            check_negative(what, "shifts", always=allowed, labels=allowed, clips=allowed)
