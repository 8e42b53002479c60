"""Keys of the PMIx standard, by the strings that travel (pmix_common.h, 4.2 to 6.1)."""

from __future__ import annotations

from typing import Final

# The job.
JOBID: Final = "pmix.jobid"
UNIV_SIZE: Final = "pmix.univ.size"
MAX_PROCS: Final = "pmix.max.size"
JOB_SIZE: Final = "pmix.job.size"
JOB_NUM_APPS: Final = "pmix.job.napps"
NUM_NODES: Final = "pmix.num.nodes"
NODE_LIST: Final = "pmix.nlist"
NODE_MAP: Final = "pmix.nmap"
PROC_MAP: Final = "pmix.pmap"
ANL_MAP: Final = "pmix.anlmap"
SPAWNED: Final = "pmix.spawned"
RM_NAME: Final = "pmix.rm.name"
ALLOC_ID: Final = "pmix.alloc.id"
ALLOCATED_NODELIST: Final = "pmix.alist"
TIME_REMAINING: Final = "pmix.time.remaining"
USERID: Final = "pmix.euid"
GRPID: Final = "pmix.egid"
TMPDIR: Final = "pmix.tmpdir"
NSDIR: Final = "pmix.nsdir"
TDIR_RMCLEAN: Final = "pmix.tdir.rmclean"
BINDTO: Final = "pmix.bindto"
MAPBY: Final = "pmix.mapby"
SERVER_NSPACE: Final = "pmix.srv.nspace"
SERVER_RANK: Final = "pmix.srv.rank"

# An application (one command line) of the job.
APP_INFO_ARRAY: Final = "pmix.app.arr"
APPNUM: Final = "pmix.appnum"
APP_SIZE: Final = "pmix.app.size"
APPLDR: Final = "pmix.aldr"

# This node.
HOSTNAME: Final = "pmix.hname"
NODEID: Final = "pmix.nodeid"
LOCAL_SIZE: Final = "pmix.local.size"
NODE_SIZE: Final = "pmix.node.size"
LOCAL_PEERS: Final = "pmix.lpeers"
LOCALLDR: Final = "pmix.lldr"
LOCAL_CPUSETS: Final = "pmix.lcpus"

# One process.
PROC_DATA: Final = "pmix.pdata"
RANK: Final = "pmix.rank"
GLOBAL_RANK: Final = "pmix.grank"
LOCAL_RANK: Final = "pmix.lrank"
NODE_RANK: Final = "pmix.nrank"
APP_RANK: Final = "pmix.apprank"
CPUSET: Final = "pmix.cpuset"
LOCALITY_STRING: Final = "pmix.locstr"
REINCARNATION: Final = "pmix.reinc"
PROCDIR: Final = "pmix.pdir"

# Published data and events.
RANGE: Final = "pmix.range"
PERSISTENCE: Final = "pmix.persist"
WAIT: Final = "pmix.wait"
EVENT_CUSTOM_RANGE: Final = "pmix.evrange"
EVENT_NON_DEFAULT: Final = "pmix.evnondef"
SERVER_INTERNAL_NOTIFY: Final = "pmix.srvr.internal.notify"

# Groups.
GROUP_ASSIGN_CONTEXT_ID: Final = "pmix.grp.actxid"
GROUP_CONTEXT_ID: Final = "pmix.grp.ctxid"
GROUP_ENDPT_DATA: Final = "pmix.grp.endpt"
GROUP_LOCAL_ONLY: Final = "pmix.grp.lcl"
GROUP_MEMBERSHIP: Final = "pmix.grp.mbrs"

# Job control.
JOB_CTRL_KILL: Final = "pmix.jctrl.kill"
JOB_CTRL_PAUSE: Final = "pmix.jctrl.pause"
JOB_CTRL_RESUME: Final = "pmix.jctrl.resume"
JOB_CTRL_SIGNAL: Final = "pmix.jctrl.sig"
JOB_CTRL_TERMINATE: Final = "pmix.jctrl.term"

# Queries.
NSPACE: Final = "pmix.nspace"
PROCID: Final = "pmix.procid"
JOB_INFO_ARRAY: Final = "pmix.job.arr"
NODE_INFO_ARRAY: Final = "pmix.node.arr"
AVAIL_PHYS_MEMORY: Final = "pmix.pmem"
QUERY_SUPPORTED_KEYS: Final = "pmix.qry.keys"
QUERY_NAMESPACES: Final = "pmix.qry.ns"
QUERY_NAMESPACE_INFO: Final = "pmix.qry.nsinfo"
QUERY_PROC_TABLE: Final = "pmix.qry.ptable"
QUERY_LOCAL_PROC_TABLE: Final = "pmix.qry.lptable"
QUERY_NUM_GROUPS: Final = "pmix.qry.pgrpnum"
QUERY_GROUP_NAMES: Final = "pmix.qry.pgrp"

# Directives.
COLLECT_DATA: Final = "pmix.collect"
TIMEOUT: Final = "pmix.timeout"
LOCAL_COLLECTIVE_STATUS: Final = "pmix.loc.col.st"
GET_REFRESH_CACHE: Final = "pmix.get.refresh"
SERVER_TMPDIR: Final = "pmix.srvr.tmpdir"
SYSTEM_TMPDIR: Final = "pmix.sys.tmpdir"
LAUNCHER: Final = "pmix.tool.launcher"
