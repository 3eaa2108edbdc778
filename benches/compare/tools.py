"""The tools under comparison: how each makes an encrypted repository, pushes a stream into it and pulls it out.

Each uses its own defaults, with zstd level 3 where it lets one choose. All use a local directory as the store.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import measure

REPOSITORY_ROOT = Path(__file__).resolve().parents[2]
BENCH = Path(os.environ.get("CISTERN_BENCH_DIR", REPOSITORY_ROOT / ".cache/bench")).resolve()
# The repositories live for one measurement and hold made-up data: their passphrase is no secret.
PASSPHRASE = "benchmark"
INIT_LIMIT_SECS = 60


class Tool:
    """A backup tool and its one repository, which holds successive snapshots of one stream called `db`.

    `push` and `pull` return shell commands, for `measure.run`; a snapshot is named by a tag of the caller's choice.
    """

    name: str
    programs: list[str]

    def __init__(self):
        self.home = BENCH / "repositories" / f"{self.name}.home"
        self.repository = BENCH / "repositories" / self.name
        self.log = BENCH / "repositories" / f"{self.name}.log"
        self.env = {"HOME": str(self.home), "LC_ALL": "C.UTF-8"}

    def reason_missing(self) -> str | None:
        """Why this tool cannot take part, or None."""
        missing = [program for program in self.programs if shutil.which(program) is None]
        return f"{', '.join(missing)} not found: run ./peers" if missing else None

    def start_over(self):
        """A new, empty repository in place of the one that was."""
        self.remove()
        self.repository.mkdir(parents=True)
        self.home.mkdir()
        self.log.write_bytes(b"")
        self.init()

    def remove(self):
        """Deletes the repository; the log of the last commands stays."""
        for directory in (self.repository, self.home):
            shutil.rmtree(directory, ignore_errors=True)

    def init(self):
        """Makes the repository in its empty directory."""
        raise NotImplementedError

    def push(self, tag: str) -> str:
        """The command that stores its standard input."""
        raise NotImplementedError

    def pushed(self, tag: str):
        """Called after a push has ended, for tools that choose the snapshot's name themselves."""

    def pull(self, tag: str) -> str:
        """The command that writes a stored stream to standard output."""
        raise NotImplementedError

    def shell(self, command: str) -> str:
        """Runs a command that is not measured and returns what it printed."""
        with self.log.open("ab") as errors:
            done = subprocess.run(
                ["sh", "-c", command],
                env=os.environ | self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                timeout=INIT_LIMIT_SECS,
            )
        if done.returncode != 0:
            raise measure.CommandFailed(f"{self.name}: `{command}` ended with {done.returncode}; see {self.log}")
        return done.stdout.decode()


class Cistern(Tool):
    name = "cistern"

    def __init__(self):
        super().__init__()
        self.program = os.environ.get("CISTERN_BIN", str(REPOSITORY_ROOT / "target/release/cistern"))
        self.programs = [self.program]
        self.key_file = self.home / "key"
        self.env |= {"CISTERN_REPOSITORY": str(self.repository), "CISTERN_KEY_FILE": str(self.key_file)}
        self.ids: dict[str, str] = {}

    def reason_missing(self):
        return None if os.access(self.program, os.X_OK) else f"no {self.program}: build it, or set CISTERN_BIN"

    def init(self):
        self.ids.clear()
        self.shell(f"{self.program} init --key-file {self.key_file}")

    def push(self, tag):
        return f"exec {self.program} push db"

    def pushed(self, tag):
        listed = json.loads(self.shell(f"{self.program} ls --json"))
        new = {snapshot["id"] for snapshot in listed["snapshots"]} - set(self.ids.values())
        assert len(new) == 1, f"one push makes one snapshot, not {len(new)}"
        self.ids[tag] = new.pop()

    def pull(self, tag):
        return f"exec {self.program} pull db@{self.ids[tag]}"


class Restic(Tool):
    name = "restic"
    programs = ["restic"]

    def __init__(self):
        super().__init__()
        self.env |= {
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_PASSWORD": PASSPHRASE,
            "RESTIC_CACHE_DIR": str(self.home / "cache"),
        }

    def init(self):
        self.shell("restic init -q")

    def push(self, tag):
        return f"exec restic backup -q --stdin --stdin-filename db --host bench --tag {tag}"

    def pull(self, tag):
        return f"exec restic dump -q --tag {tag} latest /db"


class Borg(Tool):
    name = "borg"
    programs = ["borg"]

    def __init__(self):
        super().__init__()
        self.env |= {
            "BORG_REPO": str(self.repository / "r"),
            "BORG_PASSPHRASE": PASSPHRASE,
            "BORG_BASE_DIR": str(self.home),
        }

    def init(self):
        self.shell("borg init -e repokey-blake2")

    def push(self, tag):
        return f"exec borg create --compression zstd,3 --stdin-name db ::{tag} -"

    def pull(self, tag):
        return f"exec borg extract --stdout ::{tag}"


class Rustic(Tool):
    name = "rustic"
    programs = ["rustic"]

    def __init__(self):
        super().__init__()
        self.env |= {
            "RUSTIC_REPOSITORY": str(self.repository / "r"),
            "RUSTIC_PASSWORD": PASSPHRASE,
            "RUSTIC_CACHE_DIR": str(self.home / "cache"),
            "RUSTIC_NO_PROGRESS": "true",
            "RUSTIC_LOG_LEVEL": "warn",
        }

    def init(self):
        self.shell("rustic init --set-version 2 --set-compression 3")

    def push(self, tag):
        return f"exec rustic backup --force --stdin-filename db --host bench --tag {tag} -"

    def pull(self, tag):
        return f"exec rustic dump --filter-tags {tag} latest:db"


class Bupstash(Tool):
    name = "bupstash"
    programs = ["bupstash"]

    def __init__(self):
        super().__init__()
        self.env |= {
            "BUPSTASH_REPOSITORY": str(self.repository / "r"),
            "BUPSTASH_KEY": str(self.home / "key"),
        }

    def init(self):
        self.shell(f"bupstash init && bupstash new-key -o {self.home}/key")

    def push(self, tag):
        return f"exec bupstash put -q --compression zstd:3 tag={tag} -"

    def pull(self, tag):
        return f"exec bupstash get -q tag={tag}"


class Pipe(Tool):
    """What people write by hand: nothing is deduplicated, every push is a whole file."""

    name = "zstd-age"
    programs = ["zstd", "age", "age-keygen"]

    def init(self):
        self.shell(f"age-keygen -o {self.home}/key && age-keygen -y {self.home}/key >{self.home}/recipient")

    def push(self, tag):
        return f"zstd -q -3 -T0 -c | age -R {self.home}/recipient -o {self.repository}/{tag}"

    def pull(self, tag):
        return f"age -d -i {self.home}/key {self.repository}/{tag} | zstd -q -dc"


ALL = [Cistern, Restic, Borg, Rustic, Bupstash, Pipe]


def present(names: list[str] | None) -> list[Tool]:
    """The tools that can take part, of those named or of all; says on standard output why another one cannot."""
    # What `peers` built comes before what the distribution has.
    os.environ["PATH"] = f"{BENCH / 'peers/bin'}:{os.environ['PATH']}"
    unknown = set(names or []) - {kind.name for kind in ALL}
    if unknown:
        raise SystemExit(f"no such tool: {', '.join(sorted(unknown))}; there are {', '.join(k.name for k in ALL)}")
    found = []
    for kind in ALL:
        if names and kind.name not in names:
            continue
        tool = kind()
        reason = tool.reason_missing()
        if reason:
            print(f"{tool.name}: left out: {reason}", flush=True)
        else:
            found.append(tool)
    if not found:
        raise SystemExit("no tool to measure")
    return found
