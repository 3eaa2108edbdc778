"""How fast an operation could be at most, by the speeds of its stages on one core.

Every stage costs its time per byte on some core, so an operation cannot take less than their sum spread evenly over
the cores; and not less than those stages together that see the stream in its order, one byte after the other.
"""

import os
from statistics import median

# What `cistern benchmark --stages` measures of what each operation does to every byte: all stages, and of them those
# that have to go through the stream in its order. A digest of the whole stream is taken both ways.
STAGES = {
    "first push": (
        ["read", "recognise", "cut", "name", "digest", "sketch", "compress", "seal"],
        ["read", "cut"],
    ),
    "identical push": (["read", "recognise", "cut", "name", "digest"], ["read", "cut"]),
    "pull": (["open", "expand", "name", "digest"], ["digest"]),
}
# The shares of the roofline that are asked for.
GOALS = {"first push": 0.85, "identical push": 0.85, "pull": 0.80}


def medians(stages: dict[int, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """{stage: {stream: MB/s}} of all repeats as one."""
    found: dict[str, dict[str, list[float]]] = {}
    for speeds in stages.values():
        for stage, by_stream in speeds.items():
            for stream, speed in by_stream.items():
                found.setdefault(stage, {}).setdefault(stream, []).append(speed)
    return {stage: {stream: median(of) for stream, of in by.items()} for stage, by in found.items()}


def cores() -> int:
    """The cores this process may use, which are those of the tools it starts."""
    return len(os.sched_getaffinity(0))


def mb_per_sec(operation: str, stream: str, speeds: dict[str, dict[str, float]]) -> float | None:
    """The roofline of an operation on a stream; None where a stage was not measured."""
    every, in_order = STAGES[operation]
    if any(stream not in speeds.get(stage, {}) for stage in every):
        return None
    secs_per_mb = {stage: 1 / speeds[stage][stream] for stage in every}
    return 1 / max(sum(secs_per_mb.values()) / cores(), sum(secs_per_mb[stage] for stage in in_order))
