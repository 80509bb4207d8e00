# Third-party packages, each as an imported target. INSTALL.md lists the versions; docs/dependencies.md says why each.
find_package(Threads REQUIRED)
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
set(HDF5_PREFER_PARALLEL OFF)
find_package(HDF5 REQUIRED COMPONENTS C)
find_package(ZLIB REQUIRED)
find_path(TOMLPLUSPLUS_INCLUDE toml++/toml.h REQUIRED)
find_path(CEREAL_INCLUDE cereal/cereal.hpp REQUIRED)

# LibTorch ships headers of another fmt, which would hide the one we link. A folder that holds only a link to ours goes
# in front of them; target deepsearch_fmt is linked by core, so every folder sees it first.
get_target_property(FMT_INCLUDE_DIRS fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
find_path(FMT_INCLUDE fmt/format.h HINTS ${FMT_INCLUDE_DIRS} REQUIRED)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/fmt_first)
file(CREATE_LINK ${FMT_INCLUDE}/fmt ${CMAKE_BINARY_DIR}/fmt_first/fmt SYMBOLIC)
add_library(deepsearch_fmt INTERFACE)
target_include_directories(deepsearch_fmt SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/fmt_first)
target_link_libraries(deepsearch_fmt INTERFACE fmt::fmt)

find_path(PCRE2_INCLUDE pcre2.h REQUIRED)
find_library(PCRE2_LIBRARY pcre2-8 REQUIRED)
add_library(deepsearch_pcre2 INTERFACE)
target_include_directories(deepsearch_pcre2 SYSTEM INTERFACE ${PCRE2_INCLUDE})
target_link_libraries(deepsearch_pcre2 INTERFACE ${PCRE2_LIBRARY})

find_path(UTF8PROC_INCLUDE utf8proc.h REQUIRED)
find_library(UTF8PROC_LIBRARY utf8proc REQUIRED)
add_library(deepsearch_utf8proc INTERFACE)
target_include_directories(deepsearch_utf8proc SYSTEM INTERFACE ${UTF8PROC_INCLUDE})
target_link_libraries(deepsearch_utf8proc INTERFACE ${UTF8PROC_LIBRARY})

# GMP (with its C++ header) and MPFR: exact and bounded arithmetic of the verifier.
find_path(GMPXX_INCLUDE gmpxx.h)
find_path(MPFR_INCLUDE mpfr.h)
find_library(GMPXX_LIBRARY gmpxx)
find_library(GMP_LIBRARY gmp)
find_library(MPFR_LIBRARY mpfr)
if(NOT GMPXX_INCLUDE OR NOT MPFR_INCLUDE OR NOT GMPXX_LIBRARY OR NOT GMP_LIBRARY OR NOT MPFR_LIBRARY)
  message(FATAL_ERROR "GMP with C++ (libgmp-dev) and MPFR (libmpfr-dev) are needed; found gmpxx.h: '${GMPXX_INCLUDE}', "
                      "mpfr.h: '${MPFR_INCLUDE}'. Run jobs/setup.sh, or set CMAKE_PREFIX_PATH to where they are.")
endif()
add_library(deepsearch_mpfr INTERFACE)
target_include_directories(deepsearch_mpfr SYSTEM INTERFACE ${GMPXX_INCLUDE} ${MPFR_INCLUDE})
target_link_libraries(deepsearch_mpfr INTERFACE ${MPFR_LIBRARY} ${GMPXX_LIBRARY} ${GMP_LIBRARY})

add_library(deepsearch_hdf5 INTERFACE)
target_include_directories(deepsearch_hdf5 SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
target_link_libraries(deepsearch_hdf5 INTERFACE ${HDF5_C_LIBRARIES} ZLIB::ZLIB)

add_library(deepsearch_tomlplusplus INTERFACE)
target_include_directories(deepsearch_tomlplusplus SYSTEM INTERFACE ${TOMLPLUSPLUS_INCLUDE})
add_library(deepsearch_cereal INTERFACE)
target_include_directories(deepsearch_cereal SYSTEM INTERFACE ${CEREAL_INCLUDE})

# --- CUDA and NCCL: found by themselves -----------------------------------------------------------------------------
set(DEEPSEARCH_HAS_CUDA OFF)
if(NOT DEEPSEARCH_CUDA STREQUAL "OFF")
  find_package(CUDAToolkit 12.0 QUIET)
  find_path(NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV NCCL_HOME PATH_SUFFIXES include)
  find_library(NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR} ENV NCCL_HOME PATH_SUFFIXES lib lib64)
  if(CUDAToolkit_FOUND AND NCCL_INCLUDE AND NCCL_LIBRARY)
    set(DEEPSEARCH_HAS_CUDA ON)
  elseif(DEEPSEARCH_CUDA STREQUAL "ON")
    message(FATAL_ERROR "DEEPSEARCH_CUDA=ON, but CUDA toolkit: '${CUDAToolkit_FOUND}', nccl.h: '${NCCL_INCLUDE}', "
                        "libnccl: '${NCCL_LIBRARY}'. Set CUDAToolkit_ROOT and NCCL_HOME, or use -DDEEPSEARCH_CUDA=OFF.")
  endif()
endif()
if(DEEPSEARCH_HAS_CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
  endif()
  enable_language(CUDA)
  # CMake 3.25 does not know that nvcc 13 speaks C++20, nor how to ask for it.
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  if(CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
  endif()
endif()
add_library(deepsearch_nccl INTERFACE)
if(DEEPSEARCH_HAS_CUDA)
  target_include_directories(deepsearch_nccl SYSTEM INTERFACE ${NCCL_INCLUDE} ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(deepsearch_nccl INTERFACE ${NCCL_LIBRARY} CUDA::cudart)
  target_compile_definitions(deepsearch_nccl INTERFACE DEEPSEARCH_HAS_CUDA=1)
endif()

# --- LibTorch: the headers and libraries of an unpacked wheel or of the official archive ----------------------------
# Torch's own CMake package insists on the whole CUDA toolkit when its binaries were built with CUDA. Linking the
# libraries we use through one imported target works on machines with and without it.
set(DEEPSEARCH_CACHE "$ENV{DEEPSEARCH_CACHE}")
if(NOT DEEPSEARCH_CACHE)
  if(DEFINED ENV{XDG_CACHE_HOME})
    set(DEEPSEARCH_CACHE "$ENV{XDG_CACHE_HOME}/deepsearch")
  else()
    set(DEEPSEARCH_CACHE "$ENV{HOME}/.cache/deepsearch")
  endif()
endif()
find_path(TORCH_ROOT lib/libtorch_cpu.so
  HINTS ENV LIBTORCH ${DEEPSEARCH_CACHE}/libtorch-2.11.0/torch
  DOC "Folder with lib/ and include/ of LibTorch 2.11" NO_DEFAULT_PATH)
if(NOT TORCH_ROOT)
  message(FATAL_ERROR "LibTorch was not found. Run jobs/setup.sh, or set LIBTORCH to the folder that holds its lib/ and include/.")
endif()
get_filename_component(TORCH_HOME ${TORCH_ROOT}/.. ABSOLUTE)
add_library(deepsearch_torch INTERFACE)
target_include_directories(deepsearch_torch SYSTEM INTERFACE
  ${TORCH_ROOT}/include ${TORCH_ROOT}/include/torch/csrc/api/include)
set(TORCH_LINK_LIBRARIES ${TORCH_ROOT}/lib/libtorch_cpu.so ${TORCH_ROOT}/lib/libc10.so)
if(DEEPSEARCH_HAS_CUDA AND EXISTS ${TORCH_ROOT}/lib/libtorch_cuda.so)
  # Nothing refers to libtorch_cuda by symbol; it registers itself when loaded.
  list(APPEND TORCH_LINK_LIBRARIES "-Wl,--no-as-needed,${TORCH_ROOT}/lib/libtorch_cuda.so,--as-needed"
    ${TORCH_ROOT}/lib/libc10_cuda.so)
  target_include_directories(deepsearch_torch SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
endif()
target_link_libraries(deepsearch_torch INTERFACE ${TORCH_LINK_LIBRARIES})
# libtorch finds its neighbours by a relative run path; the linker needs telling.
file(GLOB TORCH_WHEEL_LIBS LIST_DIRECTORIES true ${TORCH_HOME}/nvidia/*/lib)
set(TORCH_RPATH ${TORCH_ROOT}/lib ${TORCH_WHEEL_LIBS} ${CUDAToolkit_LIBRARY_DIR})
list(REMOVE_DUPLICATES TORCH_RPATH)
set(CMAKE_BUILD_RPATH ${TORCH_RPATH})
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib" ${TORCH_RPATH})  # lib/: where a moved tree may hold libraries
foreach(DIR IN LISTS TORCH_RPATH)
  target_link_options(deepsearch_torch INTERFACE "-Wl,-rpath-link,${DIR}")
endforeach()

message(STATUS "DeepSearch ${PROJECT_VERSION}: CUDA and NCCL ${DEEPSEARCH_HAS_CUDA}, LibTorch ${TORCH_ROOT}, MPI ${MPI_CXX_VERSION}, HDF5 ${HDF5_VERSION}")
