"""The Markdown that a comparison ends in: figures, the goals they are held against, stages and roofline."""

from statistics import median

import roofline
from results import Row

# Above this share of a run's CPU time used by others, its wall clock is called disturbed.
DISTURBED_SHARE = 0.1
# The data the goals are about: whole dumps whose next day changes rows all over.
GOAL_DATA = ["pg", "my"]
DEDUPLICATING = ["restic", "borg", "rustic", "bupstash"]
LEGEND = "Each cell: wall s · CPU s · peak MB; a push also **MB added to the repository**. MB = 10⁶ bytes.\n"


def table(heads: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    shown = ["| " + " | ".join(cells) + " |" for cells in [heads, *lines]]
    shown.insert(1, "|---" * len(heads) + "|")
    return "\n".join(shown) + "\n"


class Figures:
    """The medians of one data set."""

    def __init__(self, rows: list[Row]):
        self.rows = rows
        self.tools = list(dict.fromkeys(row.tool for row in rows))
        self.operations = list(dict.fromkeys(row.operation for row in rows))
        self.stream_bytes = next(row.stream_bytes for row in rows if row.operation == "first push")

    def runs(self, tool: str, operation: str) -> list[Row]:
        return [row for row in self.rows if (row.tool, row.operation) == (tool, operation)]

    def median(self, tool: str, operation: str, figure: str) -> float | None:
        runs = self.runs(tool, operation)
        return median(getattr(run, figure) for run in runs) if runs else None

    def best(self, tools: list[str], operation: str, figure: str) -> float | None:
        medians = [self.median(tool, operation, figure) for tool in tools]
        return min((of for of in medians if of is not None), default=None)


def comparison(data: str, figures: Figures) -> str:
    """What each tool took for each operation."""
    lines = [[tool] + [cell(figures, tool, operation) for operation in figures.operations] for tool in figures.tools]
    rounds = sorted({len(figures.runs(tool, "first push")) for tool in figures.tools})
    counted = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
    title = f"### {data}: {figures.stream_bytes / 1e6:.0f} MB\n\nRounds: {counted}.\n\n"
    disturbed = [row for row in figures.rows if row.foreign_secs > DISTURBED_SHARE * row.cpu_secs]
    note = ""
    if disturbed:
        note = f"\nOther processes disturbed {len(disturbed)} of {len(figures.rows)} runs: compare CPU, not wall.\n"
    return title + table(["tool", *figures.operations], lines) + note


def cell(figures: Figures, tool: str, operation: str) -> str:
    wall = figures.median(tool, operation, "wall_secs")
    if wall is None:
        return ""
    cpu, peak = figures.median(tool, operation, "cpu_secs"), figures.median(tool, operation, "peak_rss_bytes")
    text = f"{wall:.2f} · {cpu:.2f} · {peak / 1e6:.0f}"
    if operation.endswith("push"):
        text += f" · **{figures.median(tool, operation, 'added_bytes') / 1e6:.1f}**"
    return text


def goals(by_data: dict[str, Figures], speeds: dict[str, dict[str, float]], streams: dict[str, str]) -> str:
    """Each goal, what was reached of it on each data set, and whether that is enough on all."""
    sets = {data: by_data[data] for data in GOAL_DATA if data in by_data and "cistern" in by_data[data].tools}
    if not sets:
        return ""
    lines = []
    for text, wanted, unit, reach in goal_list(by_data, speeds, streams):
        reached = {data: reach(data, figures) for data, figures in sets.items()}
        known = {data: value for data, value in reached.items() if value is not None}
        if not known:
            continue
        missed = [data for data, value in known.items() if not wanted(value)]
        verdict = "reached" if not missed else "not reached" + (f" on {', '.join(missed)}" if len(known) > 1 else "")
        shown = ["" if value is None else unit.format(value) for value in reached.values()]
        lines.append([text, *shown, verdict])
    return "### Goals\n\n" + table(["goal", *sets, ""], lines)


def goal_list(by_data, speeds, streams):
    """Text, when it is reached, how it is shown, and how the figure comes about."""

    def faster(operation, factor, peers, text):
        def reach(_, figures):
            return ratio(figures.best(peers, operation, "wall_secs"), figures.median("cistern", operation, "wall_secs"))

        return text, lambda value: value >= factor, "{:.2f}", reach

    def deltas(_, figures):
        return ratio(*(figures.median("cistern", operation, "wall_secs") for operation in ("pull", "next-day pull")))

    def bytes_share(_, figures):
        best = figures.best(DEDUPLICATING, "next-day push", "added_bytes")
        return ratio(best, figures.median("cistern", "next-day push", "added_bytes"))

    def through_gzip(data, figures):
        gzipped = by_data.get(f"{data}.gz")
        added = [of and of.median("cistern", "next-day push", "added_bytes") for of in (gzipped, figures)]
        over = ratio(*added)
        return None if over is None else over - 1

    def memory(_, figures):
        return max(row.peak_rss_bytes for row in figures.rows if row.tool == "cistern") / 2**20

    def share(operation):
        return lambda data, figures: roofline_share(operation, streams[data], figures, speeds)

    return [
        faster("first push", 4, ["restic"], "first push, 4 × restic"),
        faster("first push", 3.5, ["borg"], "first push, 3.5 × borg"),
        faster("first push", 2, ["bupstash"], "first push, 2 × bupstash"),
        faster("first push", 1.3, ["zstd-age"], "first push, 1.3 × `zstd -3 \\| age`"),
        faster("identical push", 3, DEDUPLICATING, "identical push, 3 × the best deduplicating peer"),
        faster("pull", 1.25, DEDUPLICATING, "pull, 1.25 × the best deduplicating peer"),
        faster("next-day push", 2.5, ["restic"], "next day, 2.5 × restic"),
        faster("next-day push", 1, ["bupstash"], "next day, not slower than bupstash"),
        ("next day, bytes: 1/40 of the best peer's", lambda value: value >= 40, "1/{:.0f}", bytes_share),
        ("next day, bytes: gzipped at most 10 % over plain", lambda v: v <= 0.1, "{:+.1%}", through_gzip),
        ("pull of a snapshot full of deltas, 70 % of a plain one's speed", lambda v: v >= 0.7, "{:.0%}", deltas),
        ("peak memory, 200 MiB", lambda value: value <= 200, "{:.0f} MiB", memory),
        *(
            (f"{operation}, {goal:.0%} of the roofline", lambda v, goal=goal: v >= goal, "{:.0%}", share(operation))
            for operation, goal in roofline.GOALS.items()
        ),
    ]  # fmt: skip


def ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over is not None and under else None


def roofline_share(operation: str, stream: str, figures: Figures, speeds) -> float | None:
    """Which part of its roofline Cistern reaches."""
    wall, limit = figures.median("cistern", operation, "wall_secs"), roofline.mb_per_sec(operation, stream, speeds)
    return None if wall is None or limit is None else figures.stream_bytes / 1e6 / wall / limit


def roofs(by_data: dict[str, Figures], speeds: dict[str, dict[str, float]], streams: dict[str, str]) -> str:
    """What the stages allow, what was reached, and the share."""
    lines = []
    for data, figures in by_data.items():
        for operation, (every, in_order) in roofline.STAGES.items():
            share = roofline_share(operation, streams[data], figures, speeds)
            if share is None:
                continue
            limit = roofline.mb_per_sec(operation, streams[data], speeds)
            goal = f"{share:.0%} of {roofline.GOALS[operation]:.0%}"
            lines.append([data, operation, f"{limit:.0f}", f"{share * limit:.0f}", goal, ", ".join(every)])
    if not lines:
        return ""
    text = (
        f"### Roofline, {roofline.cores()} cores\n\n"
        "What the stages below, each measured alone on one core beside the runs, would allow if they were spread "
        "evenly over the cores and nothing else cost anything; reading and cutting follow the stream on one core.\n\n"
    )
    heads = ["data", "operation", "roofline MB/s", "reached MB/s", "share, of the goal", "stages"]
    return text + table(heads, lines)


def stages(speeds: dict[str, dict[str, float]]) -> str:
    """The speeds of the stages."""
    if not speeds:
        return ""
    columns = list(dict.fromkeys(stream for by_stream in speeds.values() for stream in by_stream))
    lines = [
        [stage] + [f"{by_stream[stream]:.0f}" if stream in by_stream else "" for stream in columns]
        for stage, by_stream in speeds.items()
    ]
    return "### Stages, MB/s on one core\n\n" + table(["stage", *columns], lines)
