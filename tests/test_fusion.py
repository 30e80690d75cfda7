"""The weight of the drafter's evidence: where it starts, and that held-out decisions can change it."""

import torch

from nerx.adapters.fusion import DEFAULT, UNEARNED, Judged, choose_fusion


def decisions(count: int, *, drafter_is_right: bool) -> list[Judged]:
    """Decisions of two choices on which the model has no opinion and the drafter has a clear one."""
    bias = torch.tensor([2.0, 0.0]) if drafter_is_right else torch.tensor([0.0, 2.0])
    return [Judged(torch.zeros(2), bias, 0)] * count


def test_without_held_out_decisions_the_start_counts() -> None:
    assert choose_fusion([]) == DEFAULT
    assert choose_fusion([], UNEARNED) == UNEARNED
    assert UNEARNED.alpha == 0.0 < DEFAULT.alpha


def test_a_new_drafter_earns_its_weight_by_right_decisions_and_not_by_few() -> None:
    assert choose_fusion(decisions(3, drafter_is_right=True), UNEARNED).alpha < 0.5
    assert choose_fusion(decisions(300, drafter_is_right=True), UNEARNED).alpha >= 0.75


def test_a_drafter_that_is_wrong_has_no_say() -> None:
    assert choose_fusion(decisions(300, drafter_is_right=False), UNEARNED).alpha == 0.0
    assert choose_fusion(decisions(300, drafter_is_right=False), DEFAULT).alpha == 0.0
