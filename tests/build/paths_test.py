"""The check for machine paths itself."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import paths

SLASH = "/"  # keeps this file free of what it tests


class Paths(unittest.TestCase):
    def found(self, text):
        return paths.MACHINE_PATH.search(text) is not None

    def test_machine_paths_are_found(self):
        for top in ("home", "root", "work", "Users"):
            path = SLASH + top + SLASH + "x"
            for text in (
                path,
                f"cd {path}/y",
                f'"{path}"',
                f"-I{path}",
                f"-L{path}",
                f"/usr/bin:{path}",
                f"A={path}",
                f"({path})",
            ):
                self.assertTrue(self.found(text), text)

    def test_other_paths_pass(self):
        for text in (
            "runs/home/x",
            "$HOME/work/x",
            "${A}/work/x",
            "~/work/x",
            "/usr/lib/x",
            "https://a.org/home/x",
            "../work/x",
            "/workspace/x",
            "the " + SLASH + "home" + SLASH + " folder",
        ):
            self.assertFalse(self.found(text), text)

    def test_exit_codes(self):
        with tempfile.TemporaryDirectory() as folder:

            def check():
                return subprocess.run([sys.executable, paths.__file__, folder], stdout=subprocess.DEVNULL).returncode

            git = ["git", "-C", folder]
            subprocess.run(git + ["init", "-q"], check=True)
            path = Path(folder) / "a.txt"
            path.write_text("cd " + SLASH + "root" + SLASH + "x\n", encoding="utf-8")
            self.assertEqual(check(), 0)  # not tracked yet
            subprocess.run(git + ["add", "a.txt"], check=True)
            self.assertEqual(check(), 1)
            path.write_bytes(b"\0" + path.read_bytes())  # no text
            self.assertEqual(check(), 0)


if __name__ == "__main__":
    unittest.main()
