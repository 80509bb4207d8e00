#!/usr/bin/env bash
# A real Slurm cluster of two nodes on this machine, for tests: own slurmctld, munged and two slurmd, each node in a
# network namespace of its own with its own host name, /tmp and /dev/shm. Needs root and the packages of
# `jobs/setup.sh --with-slurm`; the machine's own Slurm or munge, if any, is left alone.
#
#   tests/slurm/cluster.sh up            starts it (nothing, if it runs already) and waits until both nodes are idle
#   tests/slurm/cluster.sh down          cancels its jobs, ends its processes, removes namespaces, bridge and files
#   tests/slurm/cluster.sh env           prints what to export so that sbatch, srun … talk to it
#   tests/slurm/cluster.sh run COMMAND…  up, COMMAND with that environment, down; COMMAND's exit code
#   tests/slurm/cluster.sh check         says what is missing here; exit code 77 if anything is
#
# Its files lie in $DEEPSEARCH_SLURM_TEST (default: slurm-test in $DEEPSEARCH_CACHE), which must not be below /tmp.
set -euo pipefail

CACHE=${DEEPSEARCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/deepsearch}
BASE=${DEEPSEARCH_SLURM_TEST:-$CACHE/slurm-test}
NODES=(n1 n2)
NET=10.77.0
BRIDGE=deepsearch-br
NAMESPACE=deepsearch # and a node's name
PATIENCE=60          # seconds for anything that is waited for

say() { printf 'cluster: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

check() {
    local missing=() tool
    [ "$(id -u)" = 0 ] || missing+=("root")
    for tool in slurmctld slurmd sbatch munged ip nsenter unshare setsid; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "skipped: not here: ${missing[*]} (jobs/setup.sh --with-slurm, as root)"
        return 77
    fi
    # Containers without the right to make namespaces, kernels without bridges.
    if ! unshare --net --uts --ipc --mount bash -c 'ip link add b0 type bridge && ip link add v0 type veth peer name v1 &&
        mount -t tmpfs tmpfs /mnt' 2>/dev/null; then
        say "skipped: this machine does not let root make network namespaces, bridges and mounts"
        return 77
    fi
}

# wait_for WHAT COMMAND…: until COMMAND succeeds.
wait_for() {
    local what=$1 deadline=$((SECONDS + PATIENCE))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || die "waited $PATIENCE s for $what; logs lie in $BASE/log"
        sleep 0.2
    done
}

alive() { [ -e "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
slurm() { SLURM_CONF=$BASE/slurm.conf timeout 20 "$@"; }
both_idle() { [ "$(slurm sinfo -h -N -p all -t idle,alloc,mix -o '%N' | sort -u | wc -l)" = ${#NODES[@]} ]; }
running() { alive "$BASE/slurmctld.pid" && alive "$BASE/munged.pid" && both_idle; }

write_configuration() {
    mkdir -p "$BASE"/{log,state,munge}
    chmod 755 "$BASE"
    chmod 700 "$BASE/munge"
    {
        echo "127.0.0.1 localhost"
        echo "$NET.1 head"
        for i in "${!NODES[@]}"; do echo "$NET.1$((i + 1)) ${NODES[$i]}"; done
    } >"$BASE/hosts"
    # cred_expire: a requeued job may start again after so many seconds. KillWait: from SIGTERM to SIGKILL. LLN: jobs are
    # spread over the nodes.
    cat >"$BASE/slurm.conf" <<CONF
ClusterName=deepsearch-test
SlurmctldHost=head($NET.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$BASE/munge.socket,cred_expire=10
SlurmctldPort=16817
SlurmdPort=16818
SrunPortRange=16900-17900
StateSaveLocation=$BASE/state
SlurmdSpoolDir=$BASE/%n/spool
SlurmctldPidFile=$BASE/slurmctld.pid
SlurmdPidFile=$BASE/%n/slurmd.pid
SlurmctldLogFile=$BASE/log/slurmctld.log
SlurmdLogFile=$BASE/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=pmix
ReturnToService=2
KillWait=20
InactiveLimit=0
MinJobAge=600
JobRequeue=1
SchedulerParameters=batch_sched_delay=1,sched_min_interval=500000,sched_interval=5,bf_interval=5
GresTypes=gpu
NodeName=n[1-2] NodeAddr=$NET.1[1-2] CPUs=16 RealMemory=4000 Gres=gpu:4 State=UNKNOWN
PartitionName=all Nodes=n[1-2] Default=YES MaxTime=60 State=UP LLN=YES
PartitionName=first Nodes=n1 MaxTime=60 State=UP
PartitionName=second Nodes=n2 MaxTime=60 State=UP
CONF
    # GPUs by name only, so that scripts which ask for some can be tried: slurmd wants files, and only complains that
    # they are no devices.
    touch "$BASE"/gpu{0..3}
    echo "Name=gpu File=$BASE/gpu[0-3]" >"$BASE/gres.conf"
}

start_munge() {
    if alive "$BASE/munged.pid"; then return; fi
    rm -f "$BASE"/munge.socket* "$BASE/munged.pid"
    (umask 077 && head -c 1024 /dev/urandom >"$BASE/munge/key")
    munged --force --key-file="$BASE/munge/key" --socket="$BASE/munge.socket" --pid-file="$BASE/munged.pid" \
        --log-file="$BASE/munge/log" --seed-file="$BASE/munge/seed"
    wait_for munged test -S "$BASE/munge.socket"
}

start_network() {
    local i name
    if ! ip link show "$BRIDGE" >/dev/null 2>&1; then
        ip link add "$BRIDGE" type bridge
        ip addr add "$NET.1/24" dev "$BRIDGE"
        ip link set "$BRIDGE" up
    fi
    for i in "${!NODES[@]}"; do
        name=${NODES[$i]}
        if [ -e "/run/netns/$NAMESPACE-$name" ]; then continue; fi
        ip netns add "$NAMESPACE-$name"
        ip link add "ds-$name" type veth peer name eth0 netns "$NAMESPACE-$name"
        ip link set "ds-$name" master "$BRIDGE" up
        ip -n "$NAMESPACE-$name" addr add "$NET.1$((i + 1))/24" dev eth0
        ip -n "$NAMESPACE-$name" link set eth0 up
        ip -n "$NAMESPACE-$name" link set lo up
    done
}

# start_node NAME. Not `ip netns exec`: it mounts /sys anew, and slurmd then fails on cgroups. Shared memory wants a
# /dev/shm of the node's own, srun --mpi=pmix a /tmp of its own; a checkout below /tmp is seen there all the same.
start_node() {
    local name=$1
    if alive "$BASE/$name/slurmd.pid"; then return; fi
    mkdir -p "$BASE/$name"/{spool,tmp}
    chmod 1777 "$BASE/$name/tmp"
    # shellcheck disable=SC2016
    SLURM_CONF=$BASE/slurm.conf nsenter --net="/run/netns/$NAMESPACE-$name" unshare --uts --mount --ipc \
        setsid bash -c 'set -e
            hostname "$2"
            mount --bind "$1/hosts" /etc/hosts
            mount -t tmpfs -o size=1g tmpfs /dev/shm
            case $3 in /tmp/*)
                mkdir -p "$1/$2$3"
                mount --bind "$3" "$1/$2$3" ;;
            esac
            mount --rbind "$1/$2/tmp" /tmp
            cd / && exec slurmd -f "$1/slurm.conf"' _ "$BASE" "$name" "$(realpath "$(dirname "$0")/../..")" \
        </dev/null >"$BASE/log/start-$name.log" 2>&1 || die "slurmd on $name did not start: $(tail -n 3 "$BASE/log/start-$name.log")"
}

up() {
    check
    case $BASE in /tmp | /tmp/*) die "$BASE: every node has a /tmp of its own; choose another DEEPSEARCH_SLURM_TEST" ;; esac
    if running; then return; fi
    if [ -e "$BASE/slurm.conf" ]; then down; fi
    write_configuration
    start_munge
    start_network
    # shellcheck disable=SC2016
    SLURM_CONF=$BASE/slurm.conf unshare --uts setsid bash -c 'hostname head && cd / && exec slurmctld -f "$1/slurm.conf"' _ "$BASE" \
        </dev/null >"$BASE/log/start-head.log" 2>&1 ||
        die "slurmctld did not start: $(tail -n 3 "$BASE/log/start-head.log")"
    local name
    for name in "${NODES[@]}"; do start_node "$name"; done
    wait_for "both nodes to be idle" both_idle
    say "up: $(slurm sinfo -h -p all -o '%D nodes, %N, %T')"
}

no_jobs() { [ -z "$(slurm squeue -h -t all -o '%T' | grep -vE 'COMPLETED|CANCELLED|FAILED|TIMEOUT|NODE_FAIL|PREEMPTED' || true)" ]; }

# end_by_file PIDFILE: one of our daemons.
end_by_file() {
    local pid deadline=$((SECONDS + 10))
    if ! alive "$1"; then return; fi
    pid=$(cat "$1")
    kill "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do
        if [ $SECONDS -ge $deadline ]; then kill -9 "$pid" 2>/dev/null || true; fi
        sleep 0.1
    done
}

down() {
    local name pid
    if alive "$BASE/slurmctld.pid"; then
        slurm squeue -h -o '%A' 2>/dev/null | sort -u | xargs -r env SLURM_CONF="$BASE/slurm.conf" timeout 20 scancel -s KILL --full 2>/dev/null || true
        slurm squeue -h -o '%A' 2>/dev/null | sort -u | xargs -r env SLURM_CONF="$BASE/slurm.conf" timeout 20 scancel 2>/dev/null || true
        local deadline=$((SECONDS + 10))
        until no_jobs || [ $SECONDS -ge $deadline ]; do sleep 0.2; done
    fi
    for name in "${NODES[@]}"; do end_by_file "$BASE/$name/slurmd.pid"; done
    end_by_file "$BASE/slurmctld.pid"
    # What is left in the nodes' namespaces: steps and their tasks. Nobody else lives there.
    for name in "${NODES[@]}"; do
        if [ ! -e "/run/netns/$NAMESPACE-$name" ]; then continue; fi
        for pid in $(ip netns pids "$NAMESPACE-$name"); do kill -9 "$pid" 2>/dev/null || true; done
        ip netns delete "$NAMESPACE-$name"
    done
    end_by_file "$BASE/munged.pid"
    for name in "${NODES[@]}"; do ip link delete "ds-$name" 2>/dev/null || true; done
    ip link delete "$BRIDGE" 2>/dev/null || true
    if [ -e "$BASE/slurm.conf" ]; then rm -rf "$BASE"; fi
}

environment() {
    echo "export SLURM_CONF=$BASE/slurm.conf"
}

run() {
    [ $# -gt 0 ] || die "run: which command?"
    check
    mkdir -p "$(dirname "$BASE")"
    # One user at a time.
    exec 9>"$BASE.lock"
    flock -w 900 9 || die "another test has used the cluster for 15 minutes"
    trap down EXIT
    up 9>&-
    SLURM_CONF=$BASE/slurm.conf "$@" 9>&-
}

case ${1:-} in
up) up ;;
down) down ;;
env) environment ;;
check) check ;;
run) shift && run "$@" ;;
*) sed -n '2,13s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
