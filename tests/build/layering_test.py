"""The layering check itself: what it must refuse and what it must let pass."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import layering


class Layering(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.src = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def check(self, **files):
        """Violations of files given as core__a_h="text"; paths are cut to be relative."""
        for name, text in files.items():
            folder, file = name.split("__")
            path = self.src / folder / file.replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return [line.replace(str(self.src) + "/", "") for line in layering.violations(self.src)]

    def assert_one(self, found, *parts):
        self.assertEqual(len(found), 1, found)
        for part in parts:
            self.assertIn(part, found[0])

    def test_own_folder_and_those_above_pass(self):
        self.assertEqual(
            self.check(search__a_cpp='#include "search/a.h"\n#include "core/x.h"\n#include <vector>\n'), []
        )

    def test_each_folder_may_not_include_the_next(self):
        for upper, lower in zip(layering.ORDER, layering.ORDER[1:]):
            self.assertIn("lies below", layering.complaint(upper, f"{lower}/a.h", True))
            self.assertIsNone(layering.complaint(lower, f"{upper}/a.h", True))

    def test_lower_folder_is_refused_with_its_line(self):
        found = self.check(search__a_cpp='// one\n#include "core/x.h"\n#include "comm/world.h"\n')
        self.assert_one(found, "search/a.cpp:3:", "search may not include comm/world.h")

    def test_angle_brackets_are_no_way_round(self):
        self.assert_one(self.check(core__a_h="#include <data/problem.h>\n"), "core/a.h:1:")

    def test_odd_spacing_is_no_way_round(self):
        self.assert_one(self.check(core__a_h='  #  include"data/problem.h"\n'), "core/a.h:1:")

    def test_parent_folders_are_refused(self):
        self.assert_one(self.check(core__a_h='#include "../data/problem.h"\n'), "folder/file")
        self.assert_one(self.check(core__a_h='#include "core/../data/problem.h"\n'), "without ..")

    def test_bare_names_are_refused_but_the_generated_one_passes(self):
        self.assert_one(self.check(core__a_h='#include "error.h"\n'), "folder/file")
        self.assertEqual(self.check(core__a_h='#include "deepsearch_version.h"\n'), [])

    def test_third_party_headers_have_owners(self):
        allowed = {
            "mpi.h": {"comm"},
            "nccl.h": {"comm"},
            "hdf5.h": {"store"},
            "H5public.h": {"store"},
            "hdf5_hl.h": {"store"},
            "torch/torch.h": {"learn"},
            "ATen/ops/cat.h": {"learn"},
            "c10/core/GradMode.h": {"learn"},
            "cuda_runtime_api.h": {"comm", "engine"},
            "cublasLt.h": {"comm", "engine"},
            "pcre2.h": {"tokenizer"},
            "toml++/toml.h": {"core"},
            "vector": set(layering.ORDER),
        }
        for header, folders in allowed.items():
            for folder in layering.ORDER:
                refused = layering.complaint(folder, header, False) is not None
                self.assertEqual(refused, folder not in folders, (header, folder))

    def test_comments_and_strings_are_no_includes(self):
        text = '// #include "run/a.h"\n/* \n#include "run/a.h"\n*/\nconst char* s = "// ";\n'
        self.assertEqual(self.check(core__a_h=text), [])

    def test_an_include_behind_a_comment_marker_in_a_string_counts(self):
        text = 'const char* s = "/*";\n#include "run/a.h"\n'
        self.assert_one(self.check(core__a_h=text), "core/a.h:2:")

    def test_a_quote_as_a_character_opens_no_string(self):
        text = 'bool q = c == \'"\';  /* "\n#include "run/a.h"\n*/\n'
        self.assertEqual(self.check(core__a_h=text), [])

    def test_cuda_files_are_read(self):
        self.assert_one(self.check(engine__kernel_cu='#include "run/a.h"\n'), "engine/kernel.cu:1:")

    def test_unknown_folder_and_empty_tree_are_refused(self):
        self.assert_one(self.check(), "no source files")
        self.assert_one(self.check(misc__a_h=""), "lies in no folder")

    def test_exit_codes(self):
        self.check(core__a_h='#include "run/a.h"\n')
        command = [sys.executable, layering.__file__, str(self.src)]
        self.assertEqual(subprocess.run(command, stdout=subprocess.DEVNULL).returncode, 1)
        (self.src / "core" / "a.h").write_text("", encoding="utf-8")
        self.assertEqual(subprocess.run(command, stdout=subprocess.DEVNULL).returncode, 0)


if __name__ == "__main__":
    unittest.main()
