"""The paper's recipe: the ELBO's own gradient for everything, locations through a Gumbel-softmax (appendix B)."""

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor

from lavae_rl.model.auxiliary import AuxiliaryVAE
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.relaxed import relaxed_elbo_terms
from lavae_rl.model.shapes import Images, LogitMaps, PerImage
from lavae_rl.pretraining.recipes import PaperRecipe
from lavae_rl.pretraining.state import Loss, Method, make_seeded
from lavae_rl.pretraining.validation import LAVAE_VALIDATION, validate_lavae
from lavae_rl.pretraining.wake_sleep import make_lavae
from lavae_rl.shapes import Frames


class PaperMethod(Method):
    """A ``Method`` that minimises the negative ELBO, its locations relaxed, and at first the distance to a map.

    * Early on, the information map of an auxiliary VAE says where to look (``model/auxiliary.py``).
    * The number of objects is q(n | x)'s, a count of peaks, which has no gradient; or it is forced to N_max, at first
      always, so that there is something to learn from before anything can be counted.
    * The logits are multiplied by a constant times log L, which is not learned; counts need no constant.
    """

    terms: tuple[str, ...] = ("loss", "log_likelihood", "kl_count", "kl_location", "kl_appearance")
    terms += ("map_distance", "auxiliary_elbo", "temperature", "gradient_norm")
    model_class, recipe_class = LAVAE, PaperRecipe
    validation, validate = LAVAE_VALIDATION, staticmethod(validate_lavae)
    optimizer = torch.optim.Adamax
    fixed_shapes = True

    def __init__(self, config: LAVAEConfig, recipe: PaperRecipe, seed: int, accelerator: Accelerator) -> None:
        if not config.networks.startswith("paper"):
            raise ValueError(f'expected networks "paper" or "paper-small", got {config.networks!r}')
        self.recipe = recipe
        self.auxiliary = make_seeded(lambda: AuxiliaryVAE(config.channels), seed).to(accelerator.device)
        self.model = model = make_lavae(config, seed, accelerator.device)
        self.modules = {"model": model, "auxiliary": self.auxiliary}
        location = list(model.location_network.parameters())
        rest = [*model.appearance_network.parameters(), *model.sprite_decoder.parameters(), model.count_logits]
        rest += self.auxiliary.parameters()
        self.parameter_groups = (
            (location, recipe.location_learning_rate, recipe.location_rate_factor),
            (rest, recipe.learning_rate, recipe.rate_factor),
        )

    def loss(self, frames: Frames, step: int, generator: torch.Generator) -> Loss:
        """The negative ELBO and, while the map counts, the distance to it."""
        images = self.model.images(frames)
        self.model.train()
        logits = self.model.location_network(images)
        loss, terms = self._negative_elbo(images, logits, step, generator)
        weight = self.recipe.map_weight_at(step)
        if weight > 0:
            distance, auxiliary_elbo = self._warm_up(images, logits, step, generator)
            loss = loss + weight * distance - auxiliary_elbo.mean() / 100
            terms |= {"map_distance": distance, "auxiliary_elbo": auxiliary_elbo.mean()}
        return loss, terms

    def _negative_elbo(self, images: Images, logits: LogitMaps, step: int, generator: torch.Generator) -> Loss:
        recipe = self.recipe
        counted, drawn = self._counts(logits, step, generator)
        temperature = recipe.temperature(step)
        terms = relaxed_elbo_terms(self.model, images, logits, counted, drawn, temperature, generator)
        kl = recipe.kl_weight(step) * (terms.kl_location + terms.kl_appearance) + terms.kl_count
        measured = {name: value.mean() for name, value in vars(terms).items() if name in self.terms}
        # Nats are large beside the map's distance and the clipped norm: a hundredth keeps all in one range.
        return (kl - terms.log_likelihood).mean() / 100, measured | {"temperature": torch.tensor(temperature)}

    @torch.no_grad()
    def _counts(
        self, logits: LogitMaps, step: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """Objects counted in each image, and objects drawn: as many, or where that is forced, N_max."""
        most = self.model.config.max_objects
        counted = self.model.peaks(logits).count.clamp(max=most)
        draws = torch.rand(len(counted), generator=generator, device=counted.device)
        forced = draws < self.recipe.forced_at(step)
        return counted, counted.masked_fill(forced, most)

    def _warm_up(
        self, images: Images, logits: LogitMaps, step: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], PerImage]:
        """Mean squared distance between the logits and the information map, and the auxiliary VAE's ELBO."""
        log_likelihood, kl = self.auxiliary(images, generator)
        target = self.auxiliary.location_map(kl, (logits.shape[1], logits.shape[2]), self.model.config.sprite_size)
        elbo = log_likelihood - self.recipe.kl_weight(step) * kl.sum((1, 2))
        return F.mse_loss(logits, target), elbo
