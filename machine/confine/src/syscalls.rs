//! seccomp: the system calls that a thread keeps, by kind of thread.
//!
//! ```text
//!                      every thread    worker    control    forwarder    writer    caller    monitor
//!   memory, exit       x
//!   read, write, poll  x
//!   io_uring_enter                     x
//!   packet sockets                     x                                                     x
//!   open, stat, list                             x                                           x
//!   accept                                       x          x
//!   socket, connect                                         TCP                    streams   x
//!   execve, ptrace, clone, mount, bpf: nobody, but for bpf the monitor
//! ```
//!
//! The lists were made by running every mode under `strace -f`, and by reading what the libraries call where no run goes
//! (an allocation that fails, a panic, a full disk); `docs/design/privileges.md` says how to do it again. A call outside of
//! its list ends the process with SIGSYS and leaves a line in the audit log. A few that libraries try and do well without
//! are refused instead ([`REFUSED`]).
//!
//! Unconditional entries cost nothing measurable: the kernel remembers in a bitmap that they always pass.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use std::collections::BTreeMap;

use crate::{ConfineError, Holds};

/// What sort of thread it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Turns an engine: packets, blocks, timers.
    Worker,
    /// Ports for the operator, logs, signals, the catalogue.
    Control,
    /// Splices connections of the loopback interface.
    Forwarder,
    /// Writes to a file that is open.
    Writer,
    /// Connects to others: asks them how they are, or tells them what happens here.
    Caller,
    /// Fetches from other servers, and keeps what it fetched in files.
    Courier,
    /// Reads files, again and again.
    Loader,
    /// Opens what the others may not.
    Monitor,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Worker,
        Self::Control,
        Self::Forwarder,
        Self::Writer,
        Self::Caller,
        Self::Courier,
        Self::Loader,
        Self::Monitor,
    ];
}

/// What becomes of a system call outside of its thread's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyscallMode {
    /// The process ends, and the kernel's audit log says by which call.
    #[default]
    Enforce,
    /// It is done, and the kernel's audit log says so.
    Log,
    /// There is no filter.
    Off,
}

/// A system call, and what its arguments must be like.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    number: i64,
    /// One of these has to hold; none means always.
    when: &'static [Condition],
}

/// What an argument of 32 bits must be like.
#[derive(Clone, Copy, Debug)]
enum Condition {
    /// Exactly this.
    Is { argument: u8, value: u32 },
    /// None of these bits.
    Without { argument: u8, bits: u32 },
}

const fn any(number: i64) -> Allowed {
    Allowed { number, when: &[] }
}

const fn only(number: i64, when: &'static [Condition]) -> Allowed {
    Allowed { number, when }
}

/// A flag or number of libc's, as seccomp sees it: the low half of a register.
const fn bits(value: i32) -> u32 {
    value.cast_unsigned()
}

/// PR_GET_AUXV (linux/prctl.h), which libc does not name: "AUXV".
const PR_GET_AUXV: u32 = 0x4155_5856;

/// No memory that was written to is executed.
const NOT_EXECUTABLE: &[Condition] = &[Condition::Without { argument: 2, bits: bits(libc::PROT_EXEC) }];

/// What no thread does without: memory, locks, signals that return, time, an end; and descriptors that are open.
const EVERYBODY: &[Allowed] = &[
    any(libc::SYS_brk),
    only(libc::SYS_mmap, NOT_EXECUTABLE),
    only(libc::SYS_mprotect, NOT_EXECUTABLE),
    any(libc::SYS_munmap),
    any(libc::SYS_mremap),
    any(libc::SYS_madvise),
    any(libc::SYS_membarrier),
    any(libc::SYS_futex),
    any(libc::SYS_sched_yield),
    any(libc::SYS_getcpu),
    any(libc::SYS_gettid),
    any(libc::SYS_getpid),
    any(libc::SYS_rt_sigreturn),
    // A signal's handler runs on whichever thread the kernel picks, and tells control through a socket that is there.
    any(libc::SYS_sendto),
    any(libc::SYS_rt_sigprocmask),
    any(libc::SYS_rt_sigaction),
    any(libc::SYS_sigaltstack),
    any(libc::SYS_restart_syscall),
    // To itself, in abort(); other processes' threads are out of Landlock's scope.
    any(libc::SYS_tgkill),
    only(
        libc::SYS_prctl,
        &[
            Condition::Is { argument: 0, value: bits(libc::PR_SET_NAME) },
            // rustix looks for the vDSO when the time is first asked for.
            Condition::Is { argument: 0, value: PR_GET_AUXV },
        ],
    ),
    any(libc::SYS_set_robust_list),
    any(libc::SYS_rseq),
    any(libc::SYS_exit),
    any(libc::SYS_exit_group),
    any(libc::SYS_clock_gettime),
    any(libc::SYS_clock_getres),
    any(libc::SYS_clock_nanosleep),
    any(libc::SYS_nanosleep),
    any(libc::SYS_gettimeofday),
    any(libc::SYS_getrandom),
    any(libc::SYS_read),
    any(libc::SYS_readv),
    any(libc::SYS_write),
    any(libc::SYS_writev),
    any(libc::SYS_lseek),
    any(libc::SYS_close),
    any(libc::SYS_fstat),
    any(libc::SYS_fcntl),
    any(libc::SYS_ppoll),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_poll),
];

/// BLKGETSIZE64 and BLKSSZGET (linux/fs.h), which libc does not name everywhere.
const BLKGETSIZE64: u32 = 0x8008_1272;
const BLKSSZGET: u32 = 0x1268;
/// Socket levels (linux/socket.h).
const SOL_XDP: u32 = 283;

/// Packets and blocks. Rings are entered and told of files, never made: what a ring may do was fixed when it was.
const WORKER: &[Allowed] = &[
    any(libc::SYS_io_uring_enter),
    any(libc::SYS_io_uring_register),
    any(libc::SYS_sendmsg),
    any(libc::SYS_sendmmsg),
    any(libc::SYS_recvfrom),
    any(libc::SYS_recvmsg),
    any(libc::SYS_recvmmsg),
    any(libc::SYS_getsockopt),
    // The rings of a link that came back.
    only(
        libc::SYS_setsockopt,
        &[
            Condition::Is { argument: 1, value: SOL_XDP },
            Condition::Is { argument: 1, value: bits(libc::SOL_PACKET) },
        ],
    ),
    any(libc::SYS_bind),
    any(libc::SYS_getsockname),
    // The size of a device that a path of the content leads to.
    only(
        libc::SYS_ioctl,
        &[
            Condition::Is { argument: 1, value: BLKGETSIZE64 },
            Condition::Is { argument: 1, value: BLKSSZGET },
        ],
    ),
    // How many threads could run, and where this one does.
    any(libc::SYS_sched_getaffinity),
];

/// The admin port, logs, the catalogue.
const CONTROL: &[Allowed] = &[
    any(libc::SYS_openat),
    any(libc::SYS_openat2),
    any(libc::SYS_newfstatat),
    any(libc::SYS_statx),
    any(libc::SYS_getdents64),
    any(libc::SYS_readlinkat),
    any(libc::SYS_faccessat),
    any(libc::SYS_faccessat2),
    any(libc::SYS_getcwd),
    any(libc::SYS_uname),
    any(libc::SYS_sysinfo),
    any(libc::SYS_getrusage),
    any(libc::SYS_sched_getaffinity),
    any(libc::SYS_pread64),
    any(libc::SYS_pwrite64),
    any(libc::SYS_pwritev),
    any(libc::SYS_ftruncate),
    any(libc::SYS_fsync),
    any(libc::SYS_fdatasync),
    any(libc::SYS_accept4),
    any(libc::SYS_accept),
    any(libc::SYS_shutdown),
    any(libc::SYS_getsockname),
    any(libc::SYS_getpeername),
    any(libc::SYS_getsockopt),
    any(libc::SYS_setsockopt),
    any(libc::SYS_sendmsg),
    any(libc::SYS_recvfrom),
    any(libc::SYS_recvmsg),
    any(libc::SYS_wait4),
    any(libc::SYS_waitid),
    any(libc::SYS_dup),
    any(libc::SYS_dup3),
    any(libc::SYS_eventfd2),
    only(libc::SYS_ioctl, NONBLOCKING_AND_TERMINAL),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_open),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_stat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_lstat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_readlink),
];

const NONBLOCKING_AND_TERMINAL: &[Condition] = &[
    Condition::Is { argument: 1, value: 0x5421 }, // FIONBIO
    Condition::Is { argument: 1, value: 0x5401 }, // TCGETS
    Condition::Is { argument: 1, value: 0x5413 }, // TIOCGWINSZ
];

/// From one TCP connection to another.
const FORWARDER: &[Allowed] = &[
    any(libc::SYS_accept4),
    any(libc::SYS_accept),
    only(
        libc::SYS_socket,
        &[
            Condition::Is { argument: 0, value: bits(libc::AF_INET) },
            Condition::Is { argument: 0, value: bits(libc::AF_INET6) },
        ],
    ),
    any(libc::SYS_connect),
    any(libc::SYS_shutdown),
    any(libc::SYS_getsockopt),
    any(libc::SYS_setsockopt),
    any(libc::SYS_getsockname),
    any(libc::SYS_getpeername),
    any(libc::SYS_recvfrom),
    any(libc::SYS_splice),
    any(libc::SYS_pipe2),
    any(libc::SYS_epoll_ctl),
    any(libc::SYS_epoll_pwait),
    any(libc::SYS_epoll_pwait2),
    only(libc::SYS_ioctl, NONBLOCKING_AND_TERMINAL),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_epoll_wait),
];

/// Streams to others, of TCP or on this machine. Which ports, Landlock says; which paths, their permissions.
const CALLER: &[Allowed] = &[
    only(
        libc::SYS_socket,
        &[
            Condition::Is { argument: 0, value: bits(libc::AF_INET) },
            Condition::Is { argument: 0, value: bits(libc::AF_INET6) },
            Condition::Is { argument: 0, value: bits(libc::AF_UNIX) },
        ],
    ),
    any(libc::SYS_connect),
    any(libc::SYS_shutdown),
    any(libc::SYS_getsockopt),
    any(libc::SYS_setsockopt),
    any(libc::SYS_recvfrom),
    any(libc::SYS_sendmsg),
    only(libc::SYS_ioctl, NONBLOCKING_AND_TERMINAL),
];

/// Nothing but what everybody has, and what a disk needs to have it for good.
const WRITER: &[Allowed] = &[
    // A capture says on what it was made.
    any(libc::SYS_uname),
    any(libc::SYS_fsync),
    any(libc::SYS_fdatasync),
    any(libc::SYS_ftruncate),
    // How long the file is that is open.
    only(libc::SYS_statx, &[Condition::Is { argument: 2, value: bits(libc::AT_EMPTY_PATH) }]),
];

/// Connections to others and datagrams, and the files that keep what came.
const COURIER: &[Allowed] = &[
    only(
        libc::SYS_socket,
        &[
            Condition::Is { argument: 0, value: bits(libc::AF_INET) },
            Condition::Is { argument: 0, value: bits(libc::AF_INET6) },
        ],
    ),
    any(libc::SYS_connect),
    any(libc::SYS_shutdown),
    any(libc::SYS_getsockopt),
    any(libc::SYS_getsockname),
    any(libc::SYS_getpeername),
    any(libc::SYS_recvfrom),
    any(libc::SYS_openat),
    any(libc::SYS_newfstatat),
    any(libc::SYS_statx),
    any(libc::SYS_getcwd),
    any(libc::SYS_fsync),
    any(libc::SYS_fdatasync),
    any(libc::SYS_ftruncate),
    any(libc::SYS_utimensat),
    any(libc::SYS_renameat),
    any(libc::SYS_renameat2),
    only(libc::SYS_ioctl, NONBLOCKING_AND_TERMINAL),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_open),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_rename),
];

/// Files, to be read: which, Landlock says.
const LOADER: &[Allowed] = &[
    any(libc::SYS_openat),
    any(libc::SYS_newfstatat),
    any(libc::SYS_statx),
    any(libc::SYS_getcwd),
    any(libc::SYS_readlinkat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_open),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_stat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_readlink),
];

/// Devices, sockets of any kind, files.
const MONITOR: &[Allowed] = &[
    any(libc::SYS_openat),
    any(libc::SYS_openat2),
    any(libc::SYS_newfstatat),
    any(libc::SYS_statx),
    any(libc::SYS_readlinkat),
    any(libc::SYS_getcwd),
    any(libc::SYS_uname),
    any(libc::SYS_getuid),
    any(libc::SYS_geteuid),
    any(libc::SYS_pread64),
    any(libc::SYS_socket),
    any(libc::SYS_bind),
    any(libc::SYS_getsockname),
    any(libc::SYS_getsockopt),
    any(libc::SYS_setsockopt),
    any(libc::SYS_sendmsg),
    any(libc::SYS_recvfrom),
    any(libc::SYS_recvmsg),
    any(libc::SYS_shutdown),
    any(libc::SYS_listen),
    any(libc::SYS_ioctl),
    any(libc::SYS_bpf),
    any(libc::SYS_dup),
    any(libc::SYS_dup3),
    any(libc::SYS_sched_getaffinity),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_open),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_stat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_lstat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_readlink),
];

/// What libraries try, and do without when they are told no: a panic's backtrace looks for the program's own file, the
/// standard library for limits. Answered with EPERM to threads that have no use for them.
const REFUSED: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_prlimit64,
    libc::SYS_sched_setaffinity,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];

const fn own(kind: Kind) -> &'static [Allowed] {
    match kind {
        Kind::Worker => WORKER,
        Kind::Control => CONTROL,
        Kind::Forwarder => FORWARDER,
        Kind::Writer => WRITER,
        Kind::Courier => COURIER,
        Kind::Loader => LOADER,
        Kind::Caller => CALLER,
        Kind::Monitor => MONITOR,
    }
}

fn allowed(kind: Kind) -> impl Iterator<Item = &'static Allowed> {
    EVERYBODY.iter().chain(own(kind))
}

fn refused(kind: Kind) -> impl Iterator<Item = i64> {
    REFUSED.iter().copied().filter(move |number| allowed(kind).all(|allowed| allowed.number != *number))
}

/// Restricts the calling thread.
pub(crate) fn restrict(kind: Kind, mode: SyscallMode) -> Result<Holds, ConfineError> {
    let failed = |error: seccompiler::Error| ConfineError::Syscalls { reason: error.to_string() };
    let (otherwise, holds) = match mode {
        SyscallMode::Enforce => (SeccompAction::KillProcess, Holds::Held),
        SyscallMode::Log => (SeccompAction::Log, Holds::OnlyLogged),
        SyscallMode::Off => return Ok(Holds::SwitchedOff),
    };
    let filters = filters(kind, mode, otherwise)
        .map_err(|error| ConfineError::Syscalls { reason: error.to_string() })?;
    for filter in filters {
        match apply_filter(&filter) {
            Ok(()) => {}
            Err(seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error))
                if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) =>
            {
                return Ok(Holds::KernelLacks { remedy: "it needs a kernel with CONFIG_SECCOMP_FILTER" });
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(holds)
}

/// The programs to be applied in this order. Of what they say, the kernel does the strictest: the last one lets the
/// refused calls pass, which the first one has refused.
fn filters(
    kind: Kind,
    mode: SyscallMode,
    otherwise: SeccompAction,
) -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let architecture: TargetArch = std::env::consts::ARCH.try_into()?;
    let mut programs = Vec::new();
    let mut rules = BTreeMap::new();
    for Allowed { number, when } in allowed(kind) {
        rules.insert(*number, when.iter().map(rule).collect::<Result<Vec<_>, _>>()?);
    }
    if mode == SyscallMode::Enforce && refused(kind).next().is_some() {
        let refuse = refused(kind).map(|number| (number, Vec::new())).collect();
        let errno = SeccompAction::Errno(libc::EPERM.cast_unsigned());
        programs.push(SeccompFilter::new(refuse, SeccompAction::Allow, errno, architecture)?.try_into()?);
        rules.extend(refused(kind).map(|number| (number, Vec::new())));
    }
    programs.push(SeccompFilter::new(rules, otherwise, SeccompAction::Allow, architecture)?.try_into()?);
    Ok(programs)
}

fn rule(condition: &Condition) -> Result<SeccompRule, seccompiler::BackendError> {
    let (argument, operator, value) = match *condition {
        Condition::Is { argument, value } => (argument, SeccompCmpOp::Eq, value),
        Condition::Without { argument, bits } => (argument, SeccompCmpOp::MaskedEq(bits.into()), 0),
    };
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value.into())?;
    SeccompRule::new(vec![condition])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_executes_traces_mounts_or_makes_a_ring() {
        for kind in Kind::ALL {
            for number in [
                libc::SYS_execve,
                libc::SYS_execveat,
                libc::SYS_ptrace,
                libc::SYS_process_vm_writev,
                libc::SYS_mount,
                libc::SYS_clone,
                libc::SYS_clone3,
                libc::SYS_unshare,
                libc::SYS_setns,
                libc::SYS_io_uring_setup,
                libc::SYS_kill,
                libc::SYS_pidfd_getfd,
                libc::SYS_userfaultfd,
            ] {
                assert!(allowed(kind).all(|allowed| allowed.number != number), "{kind:?} {number}");
            }
        }
    }

    #[test]
    fn a_worker_makes_no_socket_and_opens_no_file() {
        for number in [libc::SYS_socket, libc::SYS_connect, libc::SYS_openat, libc::SYS_openat2] {
            assert!(allowed(Kind::Worker).all(|allowed| allowed.number != number), "{number}");
        }
    }

    #[test]
    fn a_signals_handler_may_run_on_any_thread() {
        for kind in Kind::ALL {
            for number in [libc::SYS_sendto, libc::SYS_rt_sigreturn, libc::SYS_rt_sigprocmask] {
                let unconditional =
                    allowed(kind).any(|allowed| allowed.number == number && allowed.when.is_empty());
                assert!(unconditional, "{kind:?} {number}");
            }
        }
    }

    #[test]
    fn no_call_is_in_a_list_twice() {
        // The second entry would silently replace the first one's conditions.
        for kind in Kind::ALL {
            let mut numbers: Vec<_> = allowed(kind).map(|allowed| allowed.number).collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), count, "{kind:?}");
        }
    }

    #[test]
    fn every_kind_has_a_program_that_the_kernel_could_take() {
        for kind in Kind::ALL {
            for mode in [SyscallMode::Enforce, SyscallMode::Log] {
                for program in filters(kind, mode, SeccompAction::KillProcess).unwrap() {
                    assert!((1..4_096).contains(&program.len()), "{kind:?}: {} instructions", program.len());
                }
            }
        }
    }
}
