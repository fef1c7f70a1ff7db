"""GaussianHitPredictor: a recurrent network that predicts a track's next hit with its covariance.

Farrell et al. (HEP.TrkX), "Novel deep learning methods for track reconstruction": ``LSTM(3, 32)`` runs along the hits
of a track, ``Linear(32, 5)`` gives the mean and the 2x2 covariance of (phi, z) on the next barrel layer; 4901
parameters, trained with the Gaussian log-likelihood. Inputs are prepared as those of
:class:`~mltrack_plugin.models.hit_predictor.HitPredictor`.

Shapes: B tracks, T hits of each on the layers 0 ... T - 1, L layers of the detector.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import torch
from torch import Tensor, nn

from mltrack_plugin.models.hit_predictor import HitPredictorConfig, StraightLine, example_tracks, wrap

#: Largest logarithm of a variance, in units of the output scale: float32 holds the covariance and its determinant.
MAX_LOG_VARIANCE = 20.0
#: Largest correlation: the covariance stays positive definite in float32.
MAX_CORRELATION = 0.999


class GaussianHitPredictorConfig(HitPredictorConfig):
    """Sizes and constants of a :class:`GaussianHitPredictor`."""


class GaussianHitPredictor(nn.Module):
    """Hits of a track in, after each of them a Gaussian in (phi, z) on the next layer out.

    Args:
        config: sizes and constants.
    """

    def __init__(self, config: GaussianHitPredictorConfig) -> None:
        super().__init__()
        self.line = StraightLine(config)
        self.lstm = nn.LSTM(3, config.hidden, batch_first=True)
        self.fc = nn.Linear(config.hidden, 5)
        self.max_log_variance = MAX_LOG_VARIANCE
        self.max_correlation = MAX_CORRELATION

    @torch.jit.unused
    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Hits (4, L - 1, 3) of four tracks that are nearly straight lines."""
        return (example_tracks(self.line.radii, seed),)

    def normalised(self, hits: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters of the Gaussian in units of the output scale.

        Returns:
            (B, T, 5): mean of phi and z (deviation from the line), logarithms of their variances, correlation in
            (-1, 1); and the line (B, T, 2), rad and mm.
        """
        deviations, line = self.line(hits)
        raw = self.fc(self.lstm(deviations)[0])
        log_variance = raw[..., 2:4].clamp(-self.max_log_variance, self.max_log_variance)
        correlation = self.max_correlation * torch.tanh(raw[..., 4:5])
        return torch.cat([raw[..., 0:2], log_variance, correlation], 2), line

    def forward(self, hits: Tensor) -> Tensor:
        """Gaussians on the next layer.

        Args:
            hits: (B, T, 3): r [mm], phi [rad], z [mm], T at most L - 1.

        Returns:
            (B, T, 5): phi [rad], z [mm], covariance phi-phi [rad^2], phi-z [rad mm], z-z [mm^2], which is positive
            definite.
        """
        gaussian, line = self.normalised(hits)
        scale = self.line.output_scale[: hits.shape[1]]
        mean = line + gaussian[..., 0:2] * scale
        sigma = torch.exp(0.5 * gaussian[..., 2:4]) * scale
        covariance = gaussian[..., 4] * sigma[..., 0] * sigma[..., 1]
        return torch.stack(
            [wrap(mean[..., 0]), mean[..., 1], sigma[..., 0] ** 2, covariance, sigma[..., 1] ** 2], 2
        )


def gaussian_nll(gaussian: Tensor, target: Tensor) -> Tensor:
    """Negative logarithm of the density of a Gaussian in two dimensions, without the constant log(2 pi).

    Args:
        gaussian: (..., 5): mean, logarithms of the variances, correlation, as ``normalised`` gives them.
        target: (..., 2).

    Returns:
        (...).
    """
    pull = (target - gaussian[..., 0:2]) * torch.exp(-0.5 * gaussian[..., 2:4])
    rho = gaussian[..., 4]
    rest = 1.0 - rho * rho
    distance = (pull.square().sum(-1) - 2.0 * rho * pull[..., 0] * pull[..., 1]) / rest
    return 0.5 * (distance + gaussian[..., 2:4].sum(-1) + torch.log(rest))
