#!/usr/bin/env bash
# A cluster of Slurm on this machine alone, for tests: munge, slurmctld and two slurmd on the loopback, without systemd.
# Needs root and: apt-get install slurmctld slurmd munge slurm-client
#
#   slurm_here.sh start FOLDER      starts the cluster, with all of its files in FOLDER
#   eval "$(slurm_here.sh env FOLDER)"    lets sbatch, squeue, srun and zoo use it
#   slurm_here.sh kill FOLDER n1    kills a node: its slurmd and all processes of its jobs, at once
#   slurm_here.sh revive FOLDER n1  starts it again
#   slurm_here.sh stop FOLDER       ends all processes of the cluster
#
# Nodes n1 and n2 have SLURM_HERE_CPUS cores (default 2) and a pretended GPU each. Partitions: debug (default, jobs may be
# preempted), urgent (preempts debug) and short (at most two minutes). There is no accounting, so sacct does not work.
set -euo pipefail

NODES="n1 n2"
PORT=${SLURM_HERE_PORT:-17001}
CPUS=${SLURM_HERE_CPUS:-2}

usage() { sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2; }
[ $# -ge 2 ] || usage
action=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
export SLURM_CONF=$folder/slurm.conf

configure() {
  mkdir -p "$folder"/{munge,state,spool,log}
  chmod 711 "$folder/munge"
  chmod 755 "$folder"
  [ -f "$folder/munge/key" ] || { head -c 128 /dev/urandom >"$folder/munge/key"; chmod 600 "$folder/munge/key"; }
  : >"$folder/plugstack.conf"
  cat >"$folder/gres.conf" <<EOF
NodeName=n[1-2] Name=gpu File=/dev/null
EOF
  cat >"$folder/slurm.conf" <<EOF
ClusterName=here
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# A job that is started again waits for its old credential: two minutes by default.
AuthInfo=socket=$folder/munge/socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/%n.log
PlugStackConfig=$folder/plugstack.conf
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=10
SlurmdTimeout=10
MinJobAge=3600
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((PORT + 1)) CPUs=$CPUS RealMemory=8000 Gres=gpu:1 Feature=fast
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((PORT + 2)) CPUs=$CPUS RealMemory=8000 Gres=gpu:1 Feature=slow
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
PartitionName=short Nodes=n1,n2 MaxTime=2 PriorityTier=1 PreemptMode=OFF
EOF
}

# Each slurmd has a namespace of processes: its death is that of all processes of its jobs, as where a machine fails.
# The first process of a namespace has to reap orphans, which bash does and slurmd does not.
node() {
  mkdir -p "$folder/spool/$1"
  setsid unshare --pid --fork --kill-child --mount-proc \
    bash -c 'slurmd -D -N "$0" & wait' "$1" \
    >"$folder/log/$1.out" 2>&1 </dev/null &
  echo $! >"$folder/$1.unshare.pid"
}

alive() { [ -f "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

case $action in
start)
  configure
  munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
    --log-file="$folder/log/munged.log" --seed-file="$folder/munge/seed"
  slurmctld
  for name in $NODES; do node "$name"; done
  for _ in $(seq 100); do
    [ "$(sinfo --noheader --Node --format=%N --states=idle --partition=debug 2>/dev/null | sort -u | wc -l)" = 2 ] && exit 0
    sleep 0.2
  done
  echo "The nodes do not come up; see $folder/log" >&2
  exit 1
  ;;
env) echo "export SLURM_CONF=$SLURM_CONF" ;;
kill)
  [ $# = 3 ] || usage
  kill -KILL "$(cat "$folder/$3.unshare.pid")"
  ;;
revive)
  [ $# = 3 ] || usage
  node "$3"
  ;;
stop)
  for name in $NODES; do
    if alive "$folder/$name.unshare.pid"; then kill -KILL "$(cat "$folder/$name.unshare.pid")"; fi
  done
  for file in "$folder/slurmctld.pid" "$folder/munge/pid"; do
    if alive "$file"; then
      pid=$(cat "$file")
      kill "$pid"
      # It writes files until its end, and the folder may be removed next.
      for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    fi
  done
  ;;
*) usage ;;
esac
