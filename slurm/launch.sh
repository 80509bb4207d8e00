# shellcheck shell=bash disable=SC2034
# Sourced by the job files here: finds the program and says how its ranks are started. `home` is the folder above slurm/.
#
#   DEEPSEARCH            the program; default: build/release/deepsearch, or bin/deepsearch of an installed tree
#   DEEPSEARCH_LAUNCHER   srun (default) or mpirun
#   DEEPSEARCH_SRUN_MPI   pmix (default) or another of `srun --mpi=list` that the MPI library was built for
#   DEEPSEARCH_LAUNCH_OPTIONS   more words for the launcher
#   DEEPSEARCH_MPIRUN_KILL_SECONDS   from SIGTERM to SIGKILL under mpirun; default 10
#   DEEPSEARCH_NETWORK    interface or subnet, where ranks on different nodes do not find each other: ib0, 10.0.0.0/8

PROGRAM=${DEEPSEARCH:-$home/build/release/deepsearch}
if [ ! -x "$PROGRAM" ] && [ -z "${DEEPSEARCH:-}" ] && [ -x "$home/../../bin/deepsearch" ]; then
    PROGRAM=$home/../../bin/deepsearch
fi
if [ ! -x "$PROGRAM" ]; then
    echo "error: $PROGRAM: no such program; build it (INSTALL.md) or set DEEPSEARCH" >&2
    exit 2
fi

# One thread a rank unless the job was given more: ranks that fight over cores are slower than fewer ranks.
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
# Several nodes write to one folder, but each file has one writer; locks only trouble network file systems.
export HDF5_USE_FILE_LOCKING=FALSE
if [ -n "${DEEPSEARCH_NETWORK:-}" ]; then
    export OMPI_MCA_btl_tcp_if_include=$DEEPSEARCH_NETWORK OMPI_MCA_oob_tcp_if_include=$DEEPSEARCH_NETWORK
fi

read -r -a LAUNCH_OPTIONS <<<"${DEEPSEARCH_LAUNCH_OPTIONS:-}"
case ${DEEPSEARCH_LAUNCHER:-srun} in
srun)
    LAUNCH=(srun "--mpi=${DEEPSEARCH_SRUN_MPI:-pmix}" --kill-on-bad-exit=1)
    # A heterogeneous job: one world over all its groups.
    if [ -n "${SLURM_HET_SIZE:-}" ]; then LAUNCH+=("--het-group=0-$((SLURM_HET_SIZE - 1))"); fi
    ;;
mpirun)
    # How long ranks have after SIGTERM, which Slurm sends to Open MPI's daemons when it takes the job away. So long
    # mpirun also waits whenever ranks end with another code than 0.
    LAUNCH=(mpirun -n "${SLURM_NTASKS:-1}" --mca odls_base_sigkill_timeout "${DEEPSEARCH_MPIRUN_KILL_SECONDS:-10}")
    ;;
*)
    echo "error: DEEPSEARCH_LAUNCHER=$DEEPSEARCH_LAUNCHER: srun or mpirun is wanted" >&2
    exit 2
    ;;
esac
LAUNCH+=(${LAUNCH_OPTIONS[@]+"${LAUNCH_OPTIONS[@]}"})
