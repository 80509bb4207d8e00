"""Checks that only a short list of files looks at a wall clock. Clocks of hosts differ by hours at times, and jump:
whatever waits, limits or measures takes now_seconds() (core/timer.h), which is steady. Standard library only:
`python3 tests/build/clocks.py [SRC]`; exit code 1 and one line a violation otherwise.
"""

import re
import sys

from sources import files_of, root_of, told, without_comments

# Who may, and what for. spdlog stamps log lines by itself (core/log.cpp).
ALLOWED = {
    "store/file_header.cpp": "time stamps in HDF5 files, for people",
    "store/writer_lock.cpp": "the age of a file, where its file system has no locks; `check` only",
    "run/time_budget.cpp": "the end of the Slurm job, a wall clock's time, read once; absurd values are passed over",
}

# Files' times are of a wall clock too. condition_variable::wait_for() is steady; waits until a time point are as good
# as their clock, which is named then.
WALL_CLOCK = re.compile(
    r"\b(?:system_clock|high_resolution_clock|file_clock|utc_clock|tai_clock|gps_clock|file_time_type::clock"
    r"|last_write_time|gettimeofday|ftime|timespec_get|localtime(?:_r)?|gmtime(?:_r)?|strftime|mktime|get_local_time"
    r"|CLOCK_REALTIME\w*|CLOCK_TAI|pthread_cond_timedwait|pthread_mutex_timedlock|sem_timedwait|MPI_Wtime|st_[mca]tim\w*"
    r"|__DATE__|__TIME__|__TIMESTAMP__)\b"
    r"|(?<![\w.>])(?:std::|::)?time\s*\(\s*(?:nullptr|NULL|0|&\w+)\s*\)"
)


def without_strings(text):
    return re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)


def uses(path):
    """(line number, what it names) of each look at a wall clock."""
    text = without_strings(without_comments(path.read_text(encoding="utf-8")))
    for number, line in enumerate(text.splitlines(), 1):
        found = WALL_CLOCK.search(line)
        if found:
            yield number, found[0]


def violations(src):
    """One line a use outside the list, and one for each file of the list that needs it no longer."""
    seen = set()
    files = files_of(src)
    for path in files:
        name = path.relative_to(src).as_posix()
        for number, what in uses(path):
            seen.add(name)
            if name not in ALLOWED:
                yield f"{path}:{number}: {what} is a wall clock, which may jump: use now_seconds() of core/timer.h"
    if not files:
        yield f"{src}: no source files"
    for name in sorted(set(ALLOWED) - seen):
        yield f"{src / name}: looks at no wall clock any more: take it off the list"


def main(arguments):
    return told(violations(root_of(arguments, "src")), "clocks: only the files of the list look at a wall clock")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
