"""Packed rows: the same states as each row read by itself, in every family, and no padding in between."""

from collections.abc import Callable

import pytest
import torch
from families import FAMILIES, make_base

from nerx.engine.bases.known import EMBEDDED
from nerx.engine.tagging.loading import load_base
from nerx.engine.tagging.model import LanguageModel, Tokens
from nerx.engine.tagging.packing import by_products, pack

HEADS = (7, 11)
ROWS = (30, 5, 17, 1)
HEAD_OF = torch.tensor([1, 0, 1, 1])
"""More tokens than the sliding windows of the Mistral and Gemma bases are wide."""


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LanguageModel]:
    def load(name: str) -> LanguageModel:
        folder = EMBEDDED if name == "embedded" else make_base(name, tmp_path_factory.mktemp(name))
        return load_base(folder)

    return load


def padded(lengths: tuple[int, ...], first: list[int], seed: int) -> Tokens:
    """Random tokens of these lengths, the order and positions of row i counting from `first[i]`."""
    generator = torch.Generator().manual_seed(seed)
    width = max(lengths)
    place = torch.arange(width)[None] + torch.tensor(first)[:, None]
    real = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    ids = torch.randint(5, 200, (len(lengths), width), generator=generator)
    zeros = torch.zeros_like(ids)
    return Tokens(torch.where(real, ids, zeros), torch.where(real, place, zeros), zeros, torch.where(real, place, -1))


@pytest.mark.parametrize("family", [*FAMILIES, "embedded"])
def test_packed_states_are_those_of_each_row_by_itself(family: str, load: Callable[[str], LanguageModel]) -> None:
    model = load(family)
    heads = padded(HEADS, [0] * len(HEADS), 1)
    rows = padded(ROWS, [HEADS[int(head)] for head in HEAD_OF], 2)
    with torch.inference_mode():
        head_states, row_states = model.states_behind(heads, rows, HEAD_OF)
        for row, length in enumerate(ROWS):
            head = int(HEAD_OF[row])
            alone = Tokens(
                *(
                    torch.cat([getattr(heads, name)[head, : HEADS[head]], getattr(rows, name)[row, :length]])[None]
                    for name in ("ids", "positions", "cases", "order")
                )
            )
            expected = model.states(alone)[0]
            torch.testing.assert_close(head_states[head, : HEADS[head]], expected[: HEADS[head]], atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(row_states[row, :length], expected[HEADS[head] :], atol=2e-5, rtol=1e-4)


def test_nothing_but_real_tokens_is_packed_block_after_block() -> None:
    heads = padded(HEADS, [0] * len(HEADS), 1)
    rows = padded(ROWS, [HEADS[int(head)] for head in HEAD_OF], 2)
    packed = pack(heads.order, rows.order, HEAD_OF)
    assert packed.blocks == ((0, 7 + 5), (12, 12 + 11 + 30 + 17 + 1))
    assert packed.take(heads.ids, rows.ids).shape == (1, sum(HEADS) + sum(ROWS))
    ids = packed.take(heads.ids, rows.ids)[0]
    assert torch.equal(ids[packed.row_slots[2, : ROWS[2]]], rows.ids[2, : ROWS[2]])
    assert torch.equal(ids[packed.head_slots[1]], heads.ids[1])


def test_a_row_sees_its_head_and_itself_and_no_other_row() -> None:
    heads, rows = padded((2,), [0], 1), padded((2, 2), [2, 2], 2)
    mask = pack(heads.order, rows.order, torch.tensor([0, 0])).mask(None)[0, 0]
    expected = [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 1, 1],
    ]
    assert mask.int().tolist() == expected


@pytest.mark.parametrize(("heads", "groups"), [(6, 2), (4, 4)])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_attention_by_products_is_pytorchs_and_so_are_its_gradients(
    heads: int, groups: int, dtype: torch.dtype, close: float
) -> None:
    torch.manual_seed(0)
    mask = pack(torch.arange(4)[None], torch.arange(4, 9)[None].expand(2, -1), torch.tensor([0, 0])).mask(None)
    slots = mask.shape[-1]
    query = torch.randn(1, heads, slots, 8, requires_grad=True)
    key, value = (torch.randn(1, groups, slots, 8, requires_grad=True) for _ in range(2))
    weights = torch.randn(1, slots, heads, 8)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=0.2, enable_gqa=True)
    given = [one.to(dtype) for one in (query, key, value)]
    found = by_products(given[0], given[1], given[2], mask, 0.2)
    torch.testing.assert_close(found.float(), expected.transpose(1, 2), atol=close, rtol=close)
    right = torch.autograd.grad((expected.transpose(1, 2) * weights).sum(), (query, key, value))
    got = torch.autograd.grad((found.float() * weights).sum(), (query, key, value))
    for one, other in zip(got, right, strict=True):
        torch.testing.assert_close(one, other, atol=2 * close, rtol=close)
