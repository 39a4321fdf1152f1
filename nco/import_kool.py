"""Reads the public weights of the Attention Model (Kool et al. 2019) into our network."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nco.data.errors import InputError
from nco.envs.environment import Environment
from nco.models.attention_model import AttentionModel

NUM_LAYERS = 3


def import_kool(path: Path, env: Environment) -> AttentionModel:
    """The published Attention Model for a problem, in eval mode.

    Args:
        path: a safetensors file with the original parameter names (``init_embed.weight``,
            ``embedder.layers.0.0.module.W_query``, ...).
        env: the environment that the weights were trained for.

    Raises:
        InputError: the file cannot be read, or its parameters do not fit the environment.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; accepted: a safetensors file")
    try:
        source = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file ({error})") from error
    # fresh weights are drawn and then replaced: the caller's random numbers are left alone
    with torch.random.fork_rng(devices=[]):
        model = AttentionModel(env)
    try:
        mapped = _mapped(source, model)
    except KeyError as error:
        raise InputError(
            f"{path}: parameter {error} is missing; accepted: the Attention Model's weights for "
            f"the same problem (node features {', '.join(env.node_feature_names)})"
        ) from error
    for name, value in model.state_dict().items():
        if name in mapped and mapped[name].shape != value.shape:
            raise InputError(
                f"{path}: {name} has shape {tuple(mapped[name].shape)}; this environment needs "
                f"{tuple(value.shape)}"
            )
    model.load_state_dict(mapped)
    return model.eval()


def _mapped(source: dict[str, Tensor], model: AttentionModel) -> dict[str, Tensor]:
    """The original parameters under our names and layouts."""
    has_depot = model.env.has_depot
    dim = source["project_out.weight"].shape[0]
    mapped = {
        "encoder.embedding.customer.weight": source["init_embed.weight"],
        "encoder.embedding.customer.bias": source["init_embed.bias"],
        "project_nodes.weight": source["project_node_embeddings.weight"],
        "project_graph.weight": source["project_fixed_context.weight"],
        "output.weight": source["project_out.weight"],
    }
    step = source["project_step_context.weight"]
    if has_depot:
        mapped["encoder.embedding.depot.weight"] = source["init_embed_depot.weight"]
        mapped["encoder.embedding.depot.bias"] = source["init_embed_depot.bias"]
        mapped["project_current.weight"] = step[:, :dim]
        mapped["project_features.weight"] = step[:, dim:].T
    else:
        mapped["project_first.weight"] = step[:, :dim]
        mapped["project_current.weight"] = step[:, dim:]
        mapped["placeholder"] = source["W_placeholder"].view(2, dim)
        mapped["project_features.weight"] = torch.zeros(0, dim)
    for i in range(NUM_LAYERS):
        old, new = f"embedder.layers.{i}", f"encoder.layers.{i}"
        # [heads, D, width] -> [heads * width, D], the layout of a linear layer
        parts = [
            source[f"{old}.0.module.{name}"].permute(0, 2, 1).reshape(dim, dim)
            for name in ("W_query", "W_key", "W_val")
        ]
        mapped[f"{new}.attention.qkv.weight"] = torch.cat(parts)
        # [heads, width, D] -> [D, heads * width]
        mapped[f"{new}.attention.out.weight"] = (
            source[f"{old}.0.module.W_out"].reshape(dim, dim).T.contiguous()
        )
        for j, norm in ((1, "norm1"), (3, "norm2")):
            for name in ("weight", "bias", "running_mean", "running_var"):
                mapped[f"{new}.{norm}.norm.{name}"] = source[f"{old}.{j}.normalizer.{name}"]
            mapped[f"{new}.{norm}.norm.num_batches_tracked"] = torch.tensor(0)
        for j, layer in ((0, "up"), (2, "down")):
            for name in ("weight", "bias"):
                mapped[f"{new}.feed_forward.{layer}.{name}"] = source[f"{old}.2.module.{j}.{name}"]
    return mapped
