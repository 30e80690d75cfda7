"""The key-value cache of a batch: slots that hold tokens, which of them stand, and buffers with room to grow.

Every row starts with the prompt head's keys and values, computed once a run. Rejected tokens stay in their slots,
masked by `order` -1, until they outnumber what is kept. Knows nothing of what the tokens mean.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class Slots:
    """`order` (batch, slots) says which token of its row's sequence each slot holds, -1 for nothing.

    room: slots to hold free from the start behind the head's; with fewer the buffers are copied when they grow.
    """

    def __init__(self, head_cache: Any, rows: int, room: int) -> None:
        self.cache = DynamicCache()
        self._layers = [_Layer(layer, rows, room) for layer in head_cache.layers]
        self.cache.layers = [*self._layers]
        head = head_cache.get_seq_length()
        self.order = torch.arange(head, device=head_cache.layers[0].device).repeat(rows, 1)
        self.lengths = [head] * rows
        """Standing tokens of each row."""

    def extend(self, order: Tensor, fed: Sequence[int]) -> None:
        """New slots, one for each column of `order`, that the next forward pass fills; `fed` tokens of each row."""
        self.order = torch.cat([self.order, order], dim=1)
        self.lengths = [length + given for length, given in zip(self.lengths, fed, strict=True)]

    def reject(self, standing: Sequence[int], fed: Sequence[int]) -> None:
        """Keep only the first `standing` of the tokens just `fed` visible, in each row."""
        self.lengths = [
            length - given + stands for length, given, stands in zip(self.lengths, fed, standing, strict=True)
        ]
        limit = torch.tensor(self.lengths, device=self.order.device)[:, None]
        self.order = self.order.masked_fill(self.order >= limit, -1)
        if self.order.shape[1] > 2 * max(self.lengths):
            self._compact()

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows, in the order that `closed` gives. Only rows from the end change their place."""
        index = torch.tensor(rows, device=self.order.device)
        moved = torch.tensor([to for to, row in enumerate(rows) if to != row], dtype=torch.long, device=index.device)
        self.order = self.order[index]
        self.lengths = [self.lengths[row] for row in rows]
        for layer in self._layers:
            layer.keep(len(rows), moved, index[moved])

    def _compact(self) -> None:
        """Move standing tokens to the front of each row and cut off the rest."""
        place = (self.order < 0).int().argsort(dim=1, stable=True)[:, : max(self.lengths)]
        self.order = self.order.gather(1, place)
        for layer in self._layers:
            layer.gather(place)


def closed(going: Sequence[int]) -> list[int]:
    """Order the places `going`, which are sorted, so that few rows move: the last rows fill the gaps."""
    stay = set(going)
    last = [place for place in going if place >= len(going)]
    return [place if place in stay else last.pop() for place in range(len(going))]


class _Layer(DynamicLayer):
    """Keys and values (rows, heads, slots, width) at the front of larger buffers. A pass copies only its own tokens.

    The library's layer concatenates, which copies everything at every pass. That takes 3 % of decoding's time on a CPU,
    and 9 % with a prompt of 1,900 tokens before the text.
    """

    def __init__(self, head: Any, rows: int, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(head.keys, head.values)
        self._used = head.keys.shape[2]
        self._keys = _grown(head.keys.expand(rows, -1, -1, -1), room)
        self._values = _grown(head.values.expand(rows, -1, -1, -1), room)
        self._show(self._used)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Put the new tokens behind the others; returns all of them."""
        begin, end = self._used, self._used + key_states.shape[2]
        if end > self._keys.shape[2]:
            self._keys, self._values = (_grown(part[:, :, :begin], end) for part in (self._keys, self._values))
        self._keys[:, :, begin:end] = key_states
        self._values[:, :, begin:end] = value_states
        return self._show(end)

    def keep(self, rows: int, to: Tensor, moved: Tensor) -> None:
        """The first `rows` rows go on, with the rows `moved` in the places `to`."""
        for part in (self._keys[:, :, : self._used], self._values[:, :, : self._used]):
            part[to] = part[moved]
        self._keys, self._values = self._keys[:rows], self._values[:rows]
        self._show(self._used)

    def gather(self, place: Tensor) -> None:
        """Keep the slots `place` (rows, kept) of each row, in this order."""
        kept = place.shape[1]
        for part in (self._keys, self._values):
            part[:, :, :kept] = part.gather(2, place[:, None, :, None].expand(-1, part.shape[1], -1, part.shape[3]))
        self._show(kept)

    def _show(self, used: int) -> tuple[Tensor, Tensor]:
        """Make the first `used` slots what the library sees."""
        self._used = used
        self.keys, self.values = keys, values = self._keys[:, :, :used], self._values[:, :, :used]
        return keys, values


def _grown(part: Tensor, room: int) -> Tensor:
    """A buffer with `room` slots behind those of `part`, which it holds a copy of."""
    rows, heads, used, width = part.shape
    buffer = part.new_empty((rows, heads, used + room, width))
    buffer[:, :, :used] = part
    return buffer
