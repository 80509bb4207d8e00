"""The check for wall clocks itself: what it must find and what it must let pass."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import clocks

FOUND = [
    "auto now = std::chrono::system_clock::now();",
    "using Clock = std::chrono::high_resolution_clock;",
    "timeval t; gettimeofday(&t, nullptr);",
    "clock_gettime(CLOCK_REALTIME, &t);",
    "clock_gettime(CLOCK_REALTIME_COARSE, &t);",
    "if (std::time(nullptr) > end) return;",
    "srand(time(0));",
    "time_t now; time(&now);",
    "std::filesystem::last_write_time(path);",
    "pthread_cond_timedwait(&cond, &mutex, &t);",
    "double t = MPI_Wtime();",
]
PASS = [
    "auto now = std::chrono::steady_clock::now();",
    "clock_gettime(CLOCK_MONOTONIC, &t);",
    "clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);",
    "// std::chrono::system_clock would jump",
    'log_info("system_clock {}", 1);',
    "double start_time(int64_t step);  due_by_time(0);",
    "budget.time(0);",
    "wake.wait_for(lock, std::chrono::duration<double>(interval));",
]


class Clocks(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.src = Path(self.folder.name)
        for name in clocks.ALLOWED:
            self.write(name, "system_clock\n")

    def tearDown(self):
        self.folder.cleanup()

    def write(self, name, text):
        path = self.src / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def test_wall_clocks_are_found_with_their_line(self):
        for line in FOUND:
            self.write("core/a.cpp", f"// one\n{line}\n")
            found = list(clocks.violations(self.src))
            self.assertEqual(len(found), 1, (line, found))
            self.assertIn("core/a.cpp:2:", found[0])

    def test_other_clocks_pass(self):
        self.write("core/a.cpp", "\n".join(PASS) + "\n")
        self.assertEqual(list(clocks.violations(self.src)), [])

    def test_the_list_holds_no_more_than_it_must(self):
        name = next(iter(clocks.ALLOWED))
        self.write(name, "\n")
        found = list(clocks.violations(self.src))
        self.assertEqual(len(found), 1)
        self.assertIn(name, found[0])

    def test_exit_codes(self):
        command = [sys.executable, clocks.__file__, str(self.src)]
        self.assertEqual(subprocess.run(command, stdout=subprocess.DEVNULL).returncode, 0)
        self.write("core/a.cu", FOUND[0])
        self.assertEqual(subprocess.run(command, stdout=subprocess.DEVNULL).returncode, 1)


if __name__ == "__main__":
    unittest.main()
