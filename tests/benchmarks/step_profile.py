"""Where the time of POMO's training and of its inference goes, part by part.

    python tests/benchmarks/step_profile.py
    python tests/benchmarks/step_profile.py --device cuda --infer-batch 64

Training is a real run of `nco.training.train`, inference a real `nco.decode.decode`, greedy from
all starts in 8 positions; the clock is put around their functions from outside (`spans.py`). Prints
Markdown and writes it with all figures to results/profile. It is not called profile.py, because
Python's own cProfile would import it from here.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import ceilings
import torch
import work
from measure import Task
from nco_worker import fresh, trained
from spans import Recorder, Span, Target

import nco.algorithm
import nco.cpu_pointer
import nco.decode
import nco.pomo_training
from nco.algorithm import Algorithm
from nco.cpu_pointer import PointerChooser
from nco.decode import decode
from nco.envs.environment import Environment
from nco.envs.variants import environments
from nco.kernels import Kernel
from nco.models.pomo import POMO
from nco.policy_config import POMOConfig
from nco.provenance import collect
from nco.rollout import Trajectory
from nco.strategies import Greedy, Sampling
from nco.threads import num_workers
from nco.train_config import (
    DataConfig,
    LoopConfig,
    SharedBaselineConfig,
    TrainConfig,
    ValidationConfig,
)
from nco.training import train

NETWORK = POMOConfig(type="pomo")


@dataclass(frozen=True)
class Part:
    """A row of the table."""

    label: str
    keys: tuple[tuple[str | None, str], ...]
    """(What a span is within, None for anything; its name)."""

    def holds(self, key: tuple[str, str]) -> bool:
        """Whether the own time of such spans belongs to this row."""
        return any(within in (None, key[0]) and name == key[1] for within, name in self.keys)


TRAINING = (
    Part("drawing instances", ((None, "draw"),)),
    Part("encoder", ((None, "encode"),)),
    Part("rollout: environment", ((None, "environment"),)),
    Part("rollout: scores of the decoder", (("rollout", "scores"),)),
    Part("rollout: choice", ((None, "choice"),)),
    Part("rollout: scores and choice, CPU kernel", (("rollout", "kernel"),)),
    Part("rollout: all else", ((None, "rollout"),)),
    Part("costs", ((None, "cost"),)),
    Part("scoring: scores of the decoder", (("scoring", "scores"),)),
    Part("scoring: decoder and its backward, CPU kernel", (("scoring", "kernel"),)),
    Part("scoring: all else, with its backward", ((None, "scoring"),)),
    Part("backward through the encoder", ((None, "backward"),)),
    Part("optimiser", ((None, "optimiser"),)),
    Part("training_step: all else, with logging", ((None, "step"),)),
    Part("Lightning", (("", "between"),)),
)
INFERENCE = (*TRAINING[1:8], Part("decode: all else", ((None, "decode"),)))


@dataclass(frozen=True)
class Profile:
    """The seconds of one training step, or of one batch of inference."""

    kind: str
    problem: str
    size: int
    batch: int
    seconds: dict[str, float]
    """By row, which add up to the whole."""
    copies: int
    """Of each instance that are encoded: 8 under augmentation."""
    rows: int
    """Copies of instances that are rolled out; more where starts are cut into several rollouts."""
    trajectories: int
    """Of a row."""
    decisions: float
    """Of a trajectory, the mean of the rollouts; those that are complete wait for the others."""

    @property
    def label(self) -> str:
        """Head of a column."""
        return f"{self.problem.upper()}{self.size}"

    @property
    def whole(self) -> float:
        """Seconds."""
        return sum(self.seconds.values())


def targets(env: Environment) -> list[Target]:
    """The functions that parts are made of; those that a kernel does not call take no time, and
    what it takes is then all else of what calls it."""
    rules = ("reset", "observe", "step", "done", "min_steps", "max_steps", "start_actions")

    def shape(trajectory: Trajectory) -> tuple[int, ...]:
        b, s, t = trajectory.actions.shape
        return b, s, t - trajectory.num_forced

    return [
        *(Target(type(env), name, "environment") for name in rules),
        Target(type(env), "cost", "cost"),
        Target(POMO, "encode", "encode"),
        Target(POMO, "scores", "scores"),
        *(Target(strategy, "__call__", "choice") for strategy in (Greedy, Sampling)),
        *(Target(m, "rollout", "rollout", shape) for m in (nco.pomo_training, nco.decode)),
        *(Target(PointerChooser, name, "kernel") for name in ("__init__", "__call__")),
        Target(nco.cpu_pointer, "graded", "kernel"),
        Target(nco.algorithm, "policy_gradient", "scoring"),
        Target(Algorithm, "draw", "draw"),
        Target(Algorithm, "training_step", "step"),
        Target(torch.Tensor, "backward", "backward"),
        *(Target(torch.optim.Adam, name, "optimiser") for name in ("step", "zero_grad")),
    ]


def by_row(parts: tuple[Part, ...], found: dict[tuple[str, str], float]) -> dict[str, float]:
    """Seconds of each row.

    Raises:
        SystemExit: a span belongs to no row or to several, so that the rows are not the whole.
    """
    rows = {part.label: 0.0 for part in parts}
    for key, seconds in found.items():
        labels = [part.label for part in parts if part.holds(key)]
        if len(labels) != 1:
            raise SystemExit(f"time of {key} belongs to {labels or 'no row'}")
        rows[labels[0]] += seconds
    return rows


def profile(kind: str, task: Task, rows: dict[str, float], spans: Sequence[Span]) -> Profile:
    """With the sizes of the rollouts among the spans of a step."""
    found = [span.result for span in spans if span.part == "rollout"]
    instances = sum(b for b, _, _ in found)
    return Profile(
        kind, task.problem, task.size, task.batch, rows,
        copies=task.augment,
        rows=instances,
        trajectories=max(s for _, s, _ in found),
        decisions=sum(b * t for b, _, t in found) / instances,
    )  # fmt: skip


def training(task: Task, steps: int, warm_up: int, kernel: Kernel) -> Profile:
    """The fastest of ``steps`` steps of a real run, after the first ones: other work on the machine
    lengthens the others."""
    config = TrainConfig(
        name="profile",
        problem=task.problem,  # type: ignore[arg-type]  # pydantic checks it
        seed=task.seed,
        data=DataConfig(num_customers=task.size),
        policy=NETWORK,
        algorithm=SharedBaselineConfig(type="pomo"),
        training=LoopConfig(
            epochs=1,
            batches_per_epoch=warm_up + steps + 1,
            batch_size=task.batch,
            accelerator=task.device,  # type: ignore[arg-type]
            kernel=kernel,
        ),
        validation=ValidationConfig(num_instances=1),
    )
    device = torch.device(task.device)
    # asked for here: within a worker there are no more
    recorder = Recorder(device, num_workers(device))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(recorder.around(targets(environments[task.problem])))
        train(config.model_copy(update={"output": Path(folder)}), progress=False)
    # what belongs to a step begins where the outermost span around it begins
    begins = [span.outermost for span in recorder.spans if span.part == "step"]
    index = {id(span): i for i, span in enumerate(recorder.spans)}
    profiles = []
    for first, last in pairwise(begins[warm_up : warm_up + steps + 1]):
        spans = recorder.spans[index[id(first)] : index[id(last)]]
        found = recorder.own_seconds(spans)
        # from step to step, less all spans
        found["", "between"] = recorder.seconds(first.begin, last.begin) - sum(found.values())
        profiles.append(profile("training", task, by_row(TRAINING, found), spans))
    return min(profiles, key=lambda one: one.whole)


def inference(task: Task, steps: int, kernel: Kernel) -> Profile:
    """The fastest of ``steps`` batches, after one."""
    trainer = trained(task)
    instance = fresh(task, trainer.generator)
    device = torch.device(task.device)
    recorder = Recorder(device, num_workers(device))

    def once() -> None:
        decode(trainer.env, trainer.policy, instance, augment=task.augment, kernel=kernel)

    once()
    profiles = []
    for _ in range(steps):
        recorder.spans.clear()
        with recorder.around(targets(trainer.env)), recorder.span("decode"):
            once()
        rows = by_row(INFERENCE, recorder.own_seconds(recorder.spans))
        profiles.append(profile("inference", task, rows, recorder.spans))
    return min(profiles, key=lambda one: one.whole)


def times_table(profiles: list[Profile]) -> list[str]:
    """Markdown: milliseconds and shares, a row a part, a column a profile."""
    lines = [
        f"| | {' | '.join(one.label for one in profiles)} |",
        f"|---|{'---|' * len(profiles)}",
    ]
    for row in profiles[0].seconds:
        if any(one.seconds[row] > 0 for one in profiles):
            cells = (f"{1e3 * one.seconds[row]:.1f} ({100 * one.seconds[row] / one.whole:.0f} %)"
                     for one in profiles)  # fmt: skip
            lines.append(f"| {row} | {' | '.join(cells)} |")
    whole = " | ".join(f"**{1e3 * one.whole:.1f}**" for one in profiles)
    rates = " | ".join(f"{one.batch / one.whole:.1f}" for one in profiles)
    return [*lines, f"| whole, ms | {whole} |", f"| instances/s | {rates} |"]


def counted(one: Profile) -> list[tuple[str, float, work.Work]]:
    """The parts whose operations are counted, with their seconds. The rollout and the scoring pass
    are whole, without the environment: a kernel does not tell scores and choice apart."""
    has_depot = environments[one.problem].has_depot
    nodes = one.size + has_depot
    encoder = work.encoder(NETWORK, one.batch * one.copies, nodes, has_depot=has_depot)
    steps = work.decoder(NETWORK, one.rows * one.decisions, one.trajectories, nodes)
    stacked = work.decoder(NETWORK, one.rows, one.trajectories * one.decisions, nodes)

    def seconds(*names: str) -> float:
        return sum(v for k, v in one.seconds.items() if k.startswith(names))

    decoder = seconds("rollout: ") - seconds("rollout: environment")
    found = [("encoder", seconds("encoder"), encoder), ("rollout, decoder", decoder, steps)]
    if one.kind == "training":
        found += [
            ("scoring pass", seconds("scoring: "), work.with_backward(stacked)),
            ("encoder, backward", seconds("backward"), work.backward(encoder)),
        ]
    return found


def rates_table(profiles: list[Profile], found: ceilings.Ceilings) -> list[str]:
    """Markdown: what each part achieves and which share of the ceilings that is."""
    lines = [
        "| | part | ms | GFLOP | GFLOP/s | of the large product | GB/s | of the copy "
        "| billion exp/s | of its own ceilings |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in profiles:
        for label, seconds, done in counted(one):
            rate, moved = done.total / seconds, done.bytes / seconds
            lines.append(
                f"| {one.label} | {label} | {1e3 * seconds:.1f} | {done.total / 1e9:.2f} "
                f"| {rate / 1e9:.1f} | {100 * rate / found.large:.0f} % | {moved / 1e9:.1f} "
                f"| {100 * moved / found.copied:.0f} % | {done.exponentials / seconds / 1e9:.2f} "
                f"| {100 * found.least_seconds(done, one.size) / seconds:.0f} % |"
            )
    return lines


def document(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[str, dict[str, Any]]:
    """Measure all; the Markdown and the figures."""
    device = torch.device(options.device)
    about = collect()
    found = ceilings.measure(NETWORK, options.sizes, options.batch, device)
    say("ceilings measured")
    profiles: dict[str, list[Profile]] = {"training": [], "inference": []}
    for problem in options.problems:
        for size in options.sizes:
            task = Task(
                problem=problem, size=size, batch=options.batch, seconds=0, device=options.device,
                seed=1, threads=options.threads, augment=1, starts=None, cpu_seconds=0,
                instances=Path(), output=Path(),
            )  # fmt: skip
            one = training(task, options.steps, options.warm_up, options.kernel)
            profiles["training"].append(one)
            say(f"training {one.label}: {1e3 * one.whole:.0f} ms a step")
            small = replace(task, batch=options.infer_batch, augment=8)
            two = inference(small, options.repeats, options.kernel)
            profiles["inference"].append(two)
            say(f"inference {two.label}: {1e3 * two.whole:.0f} ms a batch")
    hardware = about.hardware
    name = hardware.get("accelerator", "GPU") if device.type == "cuda" else hardware["processor"]
    lines = [
        f"{name}, {options.threads} threads, torch {about.versions['torch']}, commit "
        f"{about.git_commit}, {about.created}, kernel {options.kernel}.",
        "",
        *ceilings.table(found, options.sizes),
        "",
        f"Training, ms of the fastest of {options.steps} steps of {options.batch} instances "
        f"(share):",
        "",
        *times_table(profiles["training"]),
        "",
        *rates_table(profiles["training"], found),
        "",
        f"Inference, greedy from all starts in 8 positions, ms of the fastest of "
        f"{options.repeats} batches of {options.infer_batch} instances (share):",
        "",
        *times_table(profiles["inference"]),
        "",
        *rates_table(profiles["inference"], found),
        "",
    ]
    figures = {kind: [asdict(one) for one in ones] for kind, ones in profiles.items()}
    stored = asdict(found) | {"products": [[*k, v] for k, v in found.products.items()]}
    return "\n".join(lines), {"about": about.model_dump(), "ceilings": stored, **figures}


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--problems", nargs="+", choices=("tsp", "cvrp"), default=["tsp", "cvrp"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 50, 100])
    parser.add_argument("--batch", type=int, default=64, help="of training")
    parser.add_argument("--infer-batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5, help="training steps that are timed")
    parser.add_argument("--warm-up", type=int, default=2, help="training steps before them")
    parser.add_argument("--repeats", type=int, default=3, help="batches of inference, after one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kernel", choices=get_args(Kernel), default="auto")
    parser.add_argument("--output", type=Path, default=Path("results/profile"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    text, figures = document(options, lambda line: print(line, flush=True))
    options.output.mkdir(parents=True, exist_ok=True)
    name = f"{options.device}-{options.kernel}"
    (options.output / f"{name}.md").write_text(text)
    (options.output / f"{name}.json").write_text(json.dumps(figures, indent=1))
    print(f"\n{text}")


if __name__ == "__main__":
    main()
