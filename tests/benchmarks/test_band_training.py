"""What a model of music learns from several."""

import torch
from benchmarks.training.band_training.learn import BandModel, Teachers


def test_vocals_are_those_of_their_teacher_and_the_others_share_out_the_rest():
    torch.manual_seed(0)
    one, two = BandModel("fb-tiny").eval(), BandModel("fb-tiny").eval()
    powers = torch.rand(2, 1, 20, one.num_bands)
    sides = torch.rand(1, 20, one.num_bands)
    mean = Teachers(models=[one, two])(powers, sides)
    assert torch.allclose(mean, (one(powers, sides) + two(powers, sides)).detach() / 2)
    taught = Teachers(models=[one, two], of_vocals=one)(powers, sides)
    assert torch.equal(taught[:, 0], one(powers, sides).detach()[:, 0])
    assert torch.allclose(taught.sum(1), torch.ones(()), atol=1e-5)
    shares = [masks[:, 1:] / masks[:, 1:].sum(1, keepdim=True) for masks in (taught, mean)]
    assert torch.allclose(*shares, atol=1e-5)
