"""The losses, as pure functions of tensors."""

import torch
import torch.nn.functional as F
from torch import Tensor


def legal_token_loss(logits: Tensor, right: Tensor) -> Tensor:
    """Mean negative log-likelihood of the right token among the legal ones: train as you decode.

    logits: (decisions, choices), -inf where a decision has fewer choices; right: (decisions,) index of the choice.
    Normalising over what the guide allows, instead of the vocabulary, spends a small model on decisions (open? close?
    which label?) and none of it on relearning to copy.
    """
    return F.cross_entropy(logits.float(), right)


def draft_loss(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood over text tokens of outside / begin / inside.

    log_probabilities: (batch, text, 1 + 2 labels); targets: (batch, text) class index, -100 for padding.
    """
    return F.nll_loss(log_probabilities.flatten(0, 1), targets.flatten(), ignore_index=-100)


def contrastive_loss(
    mentions: Tensor,
    labels: Tensor,
    anchors: Tensor,
    anchor_labels: Tensor,
    negatives: Tensor,
    temperature: float = 0.1,
) -> Tensor:
    """Supervised contrastive loss over mentions, with label names as anchors and wrong spans as negatives.

    mentions: (n, d), labels: (n,) label ids; anchors: (m, d), anchor_labels: (m,); negatives: (k, d) spans that are no
    mention (shifted, truncated, or outside). For each mention the positives are the other mentions and the anchors of
    its label; everything else is in the denominator. This function normalises the vectors. The loss is zero when no
    mention has a positive.

    Source: the L_out form of Khosla et al. 2020, "Supervised Contrastive Learning"; negatives next to the border after
    the idea of CLLMFS (Tang et al. 2024, arXiv 2408.12834).
    """
    if not len(mentions):
        return anchors.sum() * 0.0
    queries = F.normalize(mentions.float(), dim=1)
    keys = F.normalize(torch.cat([mentions, anchors, negatives]).float(), dim=1)
    none = labels.new_full((len(negatives),), -1)
    positive = labels[:, None] == torch.cat([labels, anchor_labels, none])[None, :]
    itself = torch.zeros_like(positive)
    itself[:, : len(mentions)].fill_diagonal_(True)
    positive &= ~itself
    logits = (queries @ keys.T / temperature).masked_fill(itself, float("-inf"))
    log_share = logits.log_softmax(dim=1).masked_fill(~positive, 0.0)
    counts = positive.sum(dim=1)
    has_positive = counts > 0
    if not has_positive.any():
        return anchors.sum() * 0.0
    return -(log_share.sum(dim=1)[has_positive] / counts[has_positive]).mean()
