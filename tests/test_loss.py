"""The losses against their definitions, written out."""

import math

import torch

from nerx.adapters.loss import contrastive_loss, draft_loss, legal_token_loss


def test_legal_token_loss_ignores_choices_that_are_not_legal():
    logits = torch.tensor([[1.0, 2.0, float("-inf")], [0.5, 0.1, 3.0]])
    expected = -(math.log(math.exp(1) / (math.exp(1) + math.exp(2))) + torch.log_softmax(logits[1], 0)[2].item()) / 2
    assert math.isclose(legal_token_loss(logits, torch.tensor([0, 2])).item(), expected, rel_tol=1e-6)


def test_draft_loss_leaves_padding_out():
    scores = torch.randn(1, 3, 5).log_softmax(dim=2)
    loss = draft_loss(scores, torch.tensor([[4, -100, 0]]))
    assert torch.isclose(loss, -(scores[0, 0, 4] + scores[0, 2, 0]) / 2)


def by_the_definition(mentions, labels, anchors, anchor_labels, negatives, temperature):
    """Khosla et al. 2020, L_out, as two loops."""
    keys = [torch.nn.functional.normalize(v, dim=0) for v in [*mentions, *anchors, *negatives]]
    names = [*labels.tolist(), *anchor_labels.tolist(), *[-1] * len(negatives)]
    losses = []
    for i, label in enumerate(labels.tolist()):
        others = [j for j in range(len(keys)) if j != i]
        scores = {j: math.exp(float(keys[i] @ keys[j]) / temperature) for j in others}
        positives = [j for j in others if names[j] == label]
        if positives:
            losses.append(-sum(math.log(scores[j] / sum(scores.values())) for j in positives) / len(positives))
    return sum(losses) / len(losses)


def test_contrastive_loss_is_its_definition():
    torch.manual_seed(0)
    mentions, labels = torch.randn(6, 8), torch.tensor([0, 0, 1, 2, 2, 2])
    anchors, anchor_labels = torch.randn(2, 8), torch.tensor([0, 1])
    negatives = torch.randn(5, 8)
    expected = by_the_definition(mentions, labels, anchors, anchor_labels, negatives, 0.2)
    loss = contrastive_loss(mentions, labels, anchors, anchor_labels, negatives, 0.2)
    assert math.isclose(loss.item(), expected, rel_tol=1e-4)


def test_contrastive_loss_falls_when_a_label_s_mentions_come_together():
    anchors, none = torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)
    labels = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    together = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    assert contrastive_loss(together, labels, anchors, none, anchors) < contrastive_loss(
        apart, labels, anchors, none, anchors
    )


def test_contrastive_loss_without_any_positive_is_zero_with_a_gradient():
    vectors = torch.randn(2, 4, requires_grad=True)
    empty = torch.zeros(0, dtype=torch.long)
    for mentions, labels in ((vectors, torch.tensor([0, 1])), (vectors[:0], empty)):
        loss = contrastive_loss(mentions, labels, vectors[:0], empty, vectors)
        assert loss.item() == 0
        loss.backward()
    assert torch.isfinite(vectors.grad).all()
