from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from torch import nn

from lavae_rl.perception.sb3 import SetFeaturesExtractor
from lavae_rl.perception.tokens import TokenLayout
from lavae_rl.policies.set_extractor import ARCHITECTURES

INVARIANT = ("relation", "attention", "deepsets", "selection")
SLOTS, WIDTH = 8, 12


def token_space(slots=SLOTS, **others):
    space = TokenLayout(slots, WIDTH - 2).space()
    assert isinstance(space, spaces.Dict)
    return spaces.Dict({**space.spaces, **others})


def make_extractor(arch, slots=SLOTS, **options):
    torch.manual_seed(0)
    return SetFeaturesExtractor(token_space(slots), arch, **options)


def make_sets(counts, slots=SLOTS):
    """A batch of sets of random tokens, each object in a random slot; unused slots are 0."""
    generator = torch.Generator().manual_seed(1)
    place = torch.rand(len(counts), slots, generator=generator).argsort(dim=1)
    mask = (place < torch.tensor(counts)[:, None]).float()
    tokens = torch.randn(len(counts), slots, WIDTH, generator=generator) * mask[..., None]
    return {"tokens": tokens, "mask": mask}


def change_under_permutation(extractor):
    """Largest change of any feature when slots change places."""
    sets = make_sets([0, 1, 2, 3, 5, 7, 8])
    order = torch.randperm(SLOTS, generator=torch.Generator().manual_seed(2))
    permuted = {key: value[:, order] for key, value in sets.items()}
    with torch.no_grad():
        return (extractor(sets) - extractor(permuted)).abs().max().item()


def orthogonal(module):
    """The initialisation of Stable-Baselines3."""
    if isinstance(module, nn.Linear):
        nn.init.orthogonal_(module.weight, gain=2**0.5)
        nn.init.zeros_(module.bias) if module.bias is not None else None


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("arch", INVARIANT)
def test_order_of_the_objects_does_not_matter(arch, training):
    assert change_under_permutation(make_extractor(arch).train(training)) < 1e-5


def test_order_matters_to_the_flat_baseline():
    assert change_under_permutation(make_extractor("flat")) > 0.01


@pytest.mark.parametrize("filler", [100.0, float("inf"), float("nan")])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_content_of_unused_slots_does_not_matter(arch, filler):
    extractor = make_extractor(arch)
    sets = make_sets([0, 1, 4, 8])
    filled = {**sets, "tokens": sets["tokens"].masked_fill(sets["mask"][..., None] == 0, filler)}
    torch.testing.assert_close(extractor(filled), extractor(sets), rtol=0, atol=0)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_object_matters(arch):
    extractor = make_extractor(arch)
    sets = make_sets([1, 2, 8])
    for slot in range(SLOTS):
        moved = sets["tokens"].clone()
        moved[:, slot] += 1
        change = (extractor({**sets, "tokens": moved}) - extractor(sets)).abs().amax(dim=1)
        assert ((change > 1e-4) == sets["mask"][:, slot].bool()).all()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("count", [0, 1])
def test_empty_and_single_sets_have_finite_features_and_gradients(arch, count, training):
    extractor = make_extractor(arch).train(training)
    sets = make_sets([count] * 3)
    with torch.no_grad():
        assert extractor(sets).isfinite().all()
    tokens = sets["tokens"].requires_grad_()
    features = extractor(sets)
    assert features.shape == (3, 64)
    features.square().sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.isfinite().all()
    for parameter in extractor.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("arch", INVARIANT)
def test_more_slots_give_the_same_features(arch):
    small, large = make_extractor(arch, 8), make_extractor(arch, 12)
    nn.init.normal_(next(large.parameters()))
    large.load_state_dict(small.state_dict())
    sets = make_sets([0, 1, 3, 8])
    padded = {key: torch.cat([value, torch.zeros_like(value[:, :4])], dim=1) for key, value in sets.items()}
    torch.testing.assert_close(large(padded), small(sets), rtol=0, atol=1e-5)


@pytest.mark.parametrize("arch", INVARIANT)
def test_features_keep_their_scale_with_more_objects_than_in_training(arch):
    extractor = make_extractor(arch, 40)
    few, many = (extractor(make_sets([count] * 20, 40)).square().mean().sqrt() for count in (5, 40))
    assert many < 2 * few


def test_a_scene_that_is_turned_is_seen_alike_from_other_sides():
    network = make_extractor("relation").network
    network.project = nn.Identity()
    sets = make_sets([0, 1, 2, 5, 8])
    x, y = sets["tokens"][..., :1], sets["tokens"][..., 1:2]
    turned = torch.cat([-y, x, sets["tokens"][..., 2:]], dim=2)
    before, after = (network(tokens, sets["mask"].bool()).unflatten(1, (4, -1)) for tokens in (sets["tokens"], turned))
    torch.testing.assert_close(after, before.roll(-1, dims=1), rtol=0, atol=1e-5)
    assert (before[:, 0] - before[:, 1]).abs().max() > 0.01


def test_relations_need_an_appearance():
    space = spaces.Dict({"tokens": spaces.Box(-1, 1, (SLOTS, 2)), "mask": spaces.MultiBinary(SLOTS)})
    with pytest.raises(ValueError, match="x, y and an appearance, got 2 numbers"):
        SetFeaturesExtractor(space, "relation")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_networks_are_small(arch):
    assert sum(parameter.numel() for parameter in make_extractor(arch).parameters()) < 60_000


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "unexplained"), [("relation", 0.1), ("attention", 0.6), ("deepsets", 0.8)])
@pytest.mark.parametrize("initialise", [orthogonal, lambda module: None], ids=["orthogonal", "own"])
def test_the_odd_one_out_is_located(arch, unexplained, initialise):
    extractor = make_extractor(arch)
    extractor.apply(initialise)
    head = nn.Sequential(nn.Tanh(), nn.Linear(64, 2))
    optimiser = torch.optim.Adam([*extractor.parameters(), *head.parameters()], 1e-3)
    generator = torch.Generator().manual_seed(3)
    losses = []
    for _ in range(300):
        appearance = torch.randn(32, 1, WIDTH - 2, generator=generator).repeat(1, SLOTS, 1)
        appearance[:, 0] = torch.randn(32, WIDTH - 2, generator=generator)
        xy = torch.rand(32, SLOTS, 2, generator=generator) * 2 - 1
        mask = (torch.arange(SLOTS) < torch.randint(3, 6, (32, 1), generator=generator)).float()
        predicted = head(extractor({"tokens": torch.cat([xy, appearance], dim=2), "mask": mask}))
        loss = (predicted - xy[:, 0]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < unexplained / 3  # 1/3 is the variance of the answer


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_further_entries_are_appended(arch):
    one, two = (spaces.Box(-1, 1, (length,), np.float32) for length in (1, 2))
    extractor = SetFeaturesExtractor(token_space(clock=one, goal=two), arch, features_dim=5)
    assert extractor.features_dim == 8
    sets = {**make_sets([2, 3]), "goal": torch.tensor([[1.0, 2], [3, 4]]), "clock": torch.tensor([[5.0], [6]])}
    features = extractor(sets)
    assert features.shape == (2, 8)
    assert features[:, 5:].tolist() == [[5, 1, 2], [6, 3, 4]]


BOX = spaces.Box(-1, 1, (8, 12), np.float32)
BITS = spaces.MultiBinary(8)


@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        (
            TokenLayout(8, 10, flatten=True).space(),
            TypeError,
            r'dictionary .*, got a Box of shape \(104,\): .* use "MlpPolicy" without it',
        ),
        (spaces.Dict(tokens=BOX), ValueError, r"got \['tokens'\] without \['mask'\]: wrap the environment"),
        (spaces.Dict(frame=BOX), ValueError, r"got \['frame'\] without \['mask', 'tokens'\]"),
        (spaces.Dict(tokens=BITS, mask=BITS), TypeError, r'"tokens" as a Box .* got MultiBinary'),
        (spaces.Dict(tokens=BOX, mask=BOX), TypeError, r'"mask" as MultiBinary\(K\), got Box'),
        (
            spaces.Dict(tokens=BOX, mask=spaces.MultiBinary(9)),
            TypeError,
            r"got Box of shape \(8, 12\) and MultiBinary of shape \(9,\)",
        ),
        (spaces.Dict(tokens=BOX, mask=spaces.MultiBinary((8, 12))), TypeError, r"MultiBinary of shape \(8, 12\)"),
        (
            token_space(frame=BOX),
            TypeError,
            "one-dimensional Boxes, got 'frame', a Box .* gymnasium.wrappers.FilterObs",
        ),
        (token_space(goal=spaces.Discrete(3)), TypeError, "got 'goal', a Discrete"),
    ],
)
def test_other_spaces_are_refused(space, error, message):
    with pytest.raises(error, match=message):
        SetFeaturesExtractor(space)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "transformer"}, "arch as one of relation, attention, deepsets, selection, flat, got 'transformer'"),
        ({"features_dim": 0}, "features_dim and width of at least 1, got 0 and 48"),
        ({"width": 0}, "features_dim and width of at least 1, got 64 and 0"),
        ({"arch": "attention", "width": 30}, "a width that is a multiple of 4, got 30"),
    ],
)
def test_other_options_are_refused(options: Any, message):
    with pytest.raises(ValueError, match=message):
        SetFeaturesExtractor(token_space(), **options)


class SetEnv(gym.Env):
    """Random sets, now and then none, with a clock."""

    observation_space = token_space(clock=spaces.Box(0, 10, (1,), np.float32))
    action_space = spaces.Discrete(3)

    def _observation(self):
        mask = self.np_random.integers(0, 2, SLOTS).astype(np.int8) * (self.clock % 3 > 0)
        tokens = self.np_random.uniform(-1, 1, (SLOTS, WIDTH)).astype(np.float32) * mask[:, None]
        return {"tokens": tokens, "mask": mask.astype(np.int8), "clock": np.array([self.clock], np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock = 0
        return self._observation(), {}

    def step(self, action):
        self.clock += 1
        return self._observation(), float(action), False, self.clock == 10, {}


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_ppo_trains_and_is_the_same_after_loading(tmp_path, arch):
    policy = {
        "features_extractor_class": SetFeaturesExtractor,
        "features_extractor_kwargs": {"arch": arch, "features_dim": 16, "width": 32},
    }
    agent = PPO("MultiInputPolicy", SetEnv(), n_steps=8, batch_size=8, policy_kwargs=policy, seed=0, device="cpu")
    before = {key: value.clone() for key, value in agent.policy.features_extractor.state_dict().items()}
    agent.learn(32)
    after = agent.policy.features_extractor.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert any((value != before[key]).any() for key, value in after.items())
    agent.save(tmp_path / "agent.zip")
    loaded = PPO.load(tmp_path / "agent.zip", device="cpu")
    samples = [SetEnv.observation_space.sample() for _ in range(20)]
    batch = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
    np.testing.assert_array_equal(
        agent.predict(batch, deterministic=True)[0], loaded.predict(batch, deterministic=True)[0]
    )
    torch.testing.assert_close(loaded.policy.state_dict(), agent.policy.state_dict(), rtol=0, atol=0)


def _tokens(slots, width):
    return spaces.Dict({"tokens": spaces.Box(-1, 1, (slots, width)), "mask": spaces.MultiBinary(slots)})


def test_numbers_of_a_token_are_scaled():
    torch.manual_seed(0)
    plain = SetFeaturesExtractor(_tokens(3, 6), arch="selection")
    scaled = SetFeaturesExtractor(_tokens(3, 6), arch="selection", last_scales=(10.0, 1.0), appearance_scale=0.3)
    scaled.load_state_dict(plain.state_dict())  # scales are no weights
    tokens, mask = torch.rand(2, 3, 6), torch.ones(2, 3)
    larger = tokens.clone()
    larger[..., 2:4] *= 0.3
    larger[..., 4] *= 10
    torch.testing.assert_close(
        scaled({"tokens": tokens, "mask": mask}), plain({"tokens": larger, "mask": mask}), atol=1e-5, rtol=0
    )
    with pytest.raises(ValueError, match="expected at most 6 last_scales, one for each number"):
        SetFeaturesExtractor(_tokens(3, 6), last_scales=(1.0,) * 7)


def test_selection_reads_the_difference_of_two_objects():
    """The vertical distance of a ball to a paddle, which are told by their looks, among others."""
    torch.manual_seed(0)
    network = SetFeaturesExtractor(_tokens(6, 5), arch="selection", features_dim=1, width=32)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)

    def batch(number):
        tokens = torch.rand(number, 6, 5) * 2 - 1
        kinds = torch.zeros(6)
        kinds[:2] = torch.tensor([1.0, -1.0])
        tokens[..., 2] = kinds
        distance = tokens[:, 0, 1] - tokens[:, 1, 1]
        order = torch.rand(number, 6).argsort(1)
        return {"tokens": tokens[torch.arange(number)[:, None], order], "mask": torch.ones(number, 6)}, distance

    for _ in range(600):
        observations, distance = batch(128)
        loss = (network(observations)[:, 0] - distance).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    observations, distance = batch(1_000)
    assert (network(observations)[:, 0] - distance).square().mean() < 0.05 * distance.var()
