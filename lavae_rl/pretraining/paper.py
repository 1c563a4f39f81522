"""The paper's recipe: the ELBO's own gradient for everything, locations through a Gumbel-softmax (appendix B)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor, nn

from lavae_rl.model.auxiliary import AuxiliaryVAE
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.objective import PerImage
from lavae_rl.model.posterior import find_peaks
from lavae_rl.model.relaxed import relaxed_elbo_terms
from lavae_rl.model.shapes import Images, LogitMaps
from lavae_rl.pretraining.lavae import LAVAETraining
from lavae_rl.pretraining.recipes import PaperRecipe
from lavae_rl.pretraining.state import make_seeded
from lavae_rl.shapes import Frames


class PaperTraining(LAVAETraining[PaperRecipe]):
    """Minimises the negative ELBO, its locations relaxed, and at first the distance to the map of information.

    * Early on, the auxiliary VAE's map of information says where to look (``model/auxiliary.py``).
    * The number of objects is q(n | x)'s, a count of peaks, which has no gradient; or it is forced to N_max, at first
      always, so that there is something to learn from before anything can be counted.
    * The logits are multiplied by a constant times log L, which is not learned; counts need no constant.
    """

    TERMS = (
        "loss",
        "log_likelihood",
        "kl_count",
        "kl_location",
        "kl_appearance",
        "map_distance",
        "auxiliary_elbo",
        "temperature",
        "gradient_norm",
    )
    PARTS = ("model", "average", "auxiliary", "optimizer")
    OPTIMIZER = torch.optim.Adamax

    def __init__(self, config: LAVAEConfig, recipe: PaperRecipe, seed: int, accelerator: Accelerator) -> None:
        self.auxiliary = make_seeded(lambda: AuxiliaryVAE(config.channels), seed).to(accelerator.device)
        super().__init__(config, recipe, seed, accelerator)

    def _parameter_groups(self) -> Sequence[tuple[list[nn.Parameter], float]]:
        model, recipe = self.model, self.recipe
        digits = model.config.channels == 1
        rate = recipe.location_learning_rate_digits if digits else recipe.location_learning_rate
        rest = [*model.appearance_network.parameters(), *model.sprite_decoder.parameters(), model.count_logits]
        return (
            (list(model.location_network.parameters()), rate),
            ([*rest, *self.auxiliary.parameters()], recipe.learning_rate),
        )

    def _networks(self) -> list[nn.Module]:
        return [self.model, self.auxiliary]

    def _rate_factors(self) -> Sequence[float]:
        recipe, step = self.recipe, self.progress.step
        return recipe.location_rate_factor(step), recipe.rate_factor(step)

    def _loss(self, frames: Frames) -> tuple[Tensor, dict[str, Tensor]]:
        images, step = self.model.images(frames), self.progress.step
        self.model.train()
        logits = self.model.location_network(images)
        loss, terms = self._negative_elbo(images, logits)
        weight = self.recipe.map_weight_at(step)
        if weight > 0:
            distance, auxiliary_elbo = self._warm_up(images, logits)
            loss = loss + weight * distance - auxiliary_elbo.mean() / 100
            terms |= {"map_distance": distance, "auxiliary_elbo": auxiliary_elbo.mean()}
        return loss, terms

    def _negative_elbo(self, images: Images, logits: LogitMaps) -> tuple[Tensor, dict[str, Tensor]]:
        recipe, step = self.recipe, self.progress.step
        counted, drawn = self._counts(logits)
        temperature = recipe.temperature(step)
        terms = relaxed_elbo_terms(self.model, images, logits, counted, drawn, temperature, self.generator)
        kl = recipe.kl_weight(step) * (terms.kl_location + terms.kl_appearance) + terms.kl_count
        measured = {name: value.mean() for name, value in vars(terms).items()}
        # Nats are large beside the map's distance and the clipped norm: a hundredth keeps all in one range.
        return (kl - terms.log_likelihood).mean() / 100, measured | {"temperature": torch.tensor(temperature)}

    @torch.no_grad()
    def _counts(self, logits: LogitMaps) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """Objects counted in each image, and objects drawn: as many, or where that is forced, N_max."""
        most = self.model.config.max_objects
        counted = find_peaks(logits).count.clamp(max=most)
        draws = torch.rand(len(counted), generator=self.generator, device=counted.device)
        forced = draws < self.recipe.forced_at(self.progress.step)
        return counted, counted.masked_fill(forced, most)

    def _warm_up(self, images: Images, logits: LogitMaps) -> tuple[Float[Tensor, ""], PerImage]:
        """Mean squared distance between the logits and the map of information, and the auxiliary VAE's ELBO."""
        log_likelihood, kl = self.auxiliary(images, self.generator)
        target = self.auxiliary.location_map(kl, (logits.shape[1], logits.shape[2]), self.model.config.sprite_size)
        elbo = log_likelihood - self.recipe.kl_weight(self.progress.step) * kl.sum((1, 2))
        return F.mse_loss(logits, target), elbo
