"""Files of a private SLURM: configuration, key, and commands that find it."""

import os
import pwd
import secrets
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sacct", "sacctmgr", "sinfo")
COMMANDS += ("sshare",)
HTC, GPU = ("htc01", "htc02"), ("gpu01", "gpu02")
NODES = (*HTC, *GPU)
USER = pwd.getpwuid(os.getuid()).pw_name

# Debian's SLURM runs several slurmd on one host. config_overrides: nodes may claim more cores and
# memory than there are. Memory is sampled, not confined: no cgroups are needed, nor systemd.
SLURM_CONF = """
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=2000
GresTypes=gpu
Licenses=sps:100
ReturnToService=2
SlurmdTimeout=10
KillWait=2
MinJobAge=86400
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=5
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={slurmdbd}
AccountingStoragePass={folder}/munge.socket
AccountingStorageEnforce=associations,limits
AccountingStoreFlags=job_comment
AccountingStorageTRES=gres/gpu,gres/gpu:v100,license/sps
"""
SLURMDBD_CONF = """
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={slurmdbd}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StorageLoc=private_slurm
"""
WRAPPER = """#!/bin/sh
# Jobs lose SLURM_CONF, but not PATH.
SLURM_CONF={folder}/slurm.conf exec {program} "$@"
"""


def ports_needed() -> tuple[str, ...]:
    return ("slurmctld", "slurmdbd", *NODES)


def write_files(folder: Path, ports: Mapping[str, int], n_v100: int) -> None:
    """All files below the scratch folder."""
    values = {"folder": folder, "host": socket.gethostname(), "user": USER, **ports}
    lines = [SLURM_CONF.format(**values)]
    gres = []
    for node in NODES:
        line = f"NodeName={node} NodeHostname={values['host']} NodeAddr=127.0.0.1 "
        line += f"Port={ports[node]} CPUs=16 RealMemory=64000"
        if node in GPU:
            line += f" Gres=gpu:v100:{n_v100}"
            gres.append(describe_gpus(folder, node, n_v100))
        lines.append(line)
    lines.append(f"PartitionName=htc Nodes={','.join(HTC)} Default=YES MaxTime=7-00:00:00")
    lines.append(f"PartitionName=gpu Nodes={','.join(GPU)} MaxTime=7-00:00:00")
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
    (folder / "gres.conf").write_text("\n".join(gres) + "\n")
    write_private(folder / "slurmdbd.conf", SLURMDBD_CONF.format(**values).encode())
    write_private(folder / "munge.key", secrets.token_bytes(128))
    for name in ("state", "mariadb", *NODES):
        (folder / name).mkdir()
    write_commands(folder)


def describe_gpus(folder: Path, node: str, n_v100: int) -> str:
    """A line of gres.conf. A V100 here is a file that is no device; no_gpu_env: no job is told."""
    for i in range(n_v100):
        (folder / f"{node}-v100-{i}").symlink_to("/dev/null")
    file = f"{folder}/{node}-v100-[0-{n_v100 - 1}]"
    return f"NodeName={node} Name=gpu Type=v100 Flags=no_gpu_env File={file}"


def write_private(path: Path, content: bytes) -> None:
    """A file that nobody else may read, as its reader demands."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(content)


def write_commands(folder: Path) -> None:
    (folder / "bin").mkdir()
    for name in COMMANDS:
        wrapper = folder / "bin" / name
        wrapper.write_text(WRAPPER.format(folder=folder, program=shutil.which(name)))
        wrapper.chmod(0o755)
