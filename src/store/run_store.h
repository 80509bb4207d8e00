// A run's folder and its HDF5 (docs/hdf5.md lists every dataset):
//
//   runs/NAME/  config.toml   run.h5   parts/s0003-a01-0001.h5 …   checkpoints/step-000050/ …   log/rank-0003.log
//
// A part has one writer and is opened in SWMR mode, so that h5py can read it while it grows; run.h5 is written the same
// way by the coordinator. HDF5 is used from one thread of a process. This header is the whole of store/'s HDF5 side.
#pragma once

#include "store/metrics.h"
#include "store/part_writer.h"
#include "store/readers.h"
#include "store/run_folder.h"
#include "store/run_info.h"
#include "store/run_writer.h"
