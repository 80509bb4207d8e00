# ruff: noqa
"""Spack recipe. LibTorch is not built by Spack: set LIBTORCH to the folder with its lib/ and include/ (INSTALL.md)."""

import os

from spack.package import *


class Deepsearch(CMakePackage):
    """Monte Carlo tree search inside reinforcement learning, as an MPI program."""

    # A checkout: `spack develop --path . deepsearch@main`, or `git` set to where yours lies.
    version("main", branch="main")

    variant("cuda", default=False, description="CUDA engine and NCCL")

    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi@3:")
    depends_on("hdf5@1.10: ~mpi +shared")
    depends_on("tomlplusplus@3.3:")
    depends_on("cli11@2.1:")
    depends_on("cereal@1.3:")
    depends_on("spdlog@1.10: +fmt_external")
    depends_on("fmt@9.1:")
    depends_on("nlohmann-json@3.11:")
    depends_on("pcre2")
    depends_on("utf8proc")
    depends_on("gmp +cxx")
    depends_on("mpfr")
    depends_on("cuda@13.0:", when="+cuda")
    depends_on("nccl@2.28:", when="+cuda")

    generator("ninja")

    def setup_build_environment(self, env):
        env.set("LIBTORCH", os.environ.get("LIBTORCH", ""))

    def cmake_args(self):
        return ["-DDEEPSEARCH_TESTS=OFF", "-DDEEPSEARCH_CUDA=" + ("ON" if self.spec.satisfies("+cuda") else "OFF")]
