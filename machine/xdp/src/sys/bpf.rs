//! bpf(2): each command with the head of `union bpf_attr` that it reads (linux/bpf.h).

use core::ffi::{c_long, c_uint};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::assembler::Slot;
use crate::steering::AttachMode;

const BPF_MAP_CREATE: c_uint = 0;
const BPF_MAP_UPDATE_ELEM: c_uint = 2;
const BPF_MAP_DELETE_ELEM: c_uint = 3;
const BPF_PROG_LOAD: c_uint = 5;
const BPF_PROG_TEST_RUN: c_uint = 10;
const BPF_LINK_CREATE: c_uint = 28;

const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
/// The program may be given packets of several pieces; without it a driver refuses a large MTU.
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// How often a program is offered to a verifier that is disturbed.
const TRIES: usize = 5;

/// What kind of map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapKind {
    /// BPF_MAP_TYPE_HASH
    Hash = 1,
    /// BPF_MAP_TYPE_XSKMAP
    Sockets = 17,
}

#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

#[repr(C)]
struct MapElement {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct ProgTestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

const NAME: [u8; 16] = *b"atlas_steer\0\0\0\0\0";

/// A pointer as the kernel wants it in an attribute.
fn address<T>(bytes: &[T]) -> u64 {
    bytes.as_ptr().expose_provenance() as u64
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// One command.
///
/// # Safety
/// `attr` must be the head of `union bpf_attr` that the command reads, and what it points to must be as long as it
/// says, and writable where the kernel writes.
unsafe fn bpf<T>(command: c_uint, attr: &mut T) -> io::Result<c_long> {
    let attr = core::ptr::from_mut(attr);
    // SAFETY: the attribute lives through the call and its size is given; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The descriptor that a command returned.
///
/// # Safety
/// `result` must be a new descriptor, and nobody else's.
unsafe fn descriptor(result: c_long) -> OwnedFd {
    let fd = RawFd::try_from(result).expect("a descriptor");
    // SAFETY: by the contract of this function.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

pub(crate) fn create_map(kind: MapKind, key_size: u32, value_size: u32, entries: u32) -> io::Result<OwnedFd> {
    let mut attr = MapCreate {
        map_type: kind as u32,
        key_size,
        value_size,
        max_entries: entries,
        map_flags: 0,
        inner_map_fd: 0,
        numa_node: 0,
        map_name: NAME,
    };
    // SAFETY: the command reads no pointers.
    let result = unsafe { bpf(BPF_MAP_CREATE, &mut attr) }?;
    // SAFETY: the command returns a new descriptor.
    Ok(unsafe { descriptor(result) })
}

/// Sets `key` to `value`; both are as long as the map was created for.
pub(crate) fn set(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    // The kernel reads as much as the map's values are long, whatever we say: never beyond this.
    let (mut key_room, mut value_room) = ([0; 16], [0; 16]);
    key_room[..key.len()].copy_from_slice(key);
    value_room[..value.len()].copy_from_slice(value);
    element(BPF_MAP_UPDATE_ELEM, map, &key_room, &value_room)
}

/// Removes `key`.
pub(crate) fn unset(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    let mut key_room = [0; 16];
    key_room[..key.len()].copy_from_slice(key);
    element(BPF_MAP_DELETE_ELEM, map, &key_room, &[])
}

fn element(command: c_uint, map: BorrowedFd<'_>, key: &[u8; 16], value: &[u8]) -> io::Result<()> {
    let value = if value.is_empty() { 0 } else { address(value) };
    let mut attr = MapElement { map_fd: number(map), padding: 0, key: address(key), value, flags: 0 };
    // SAFETY: keys and values of our maps are at most 16 bytes, and so long is what is pointed to; a map that is not
    // ours with longer ones makes the kernel read further, which it survives, and it writes nothing.
    unsafe { bpf(command, &mut attr) }.map(drop)
}

/// Why a program was not loaded; the log is the end of what the verifier said, if it came to that.
#[derive(Debug)]
pub(crate) struct LoadError {
    pub(crate) source: io::Error,
    pub(crate) log: String,
}

pub(crate) fn load_program(code: &[Slot]) -> Result<OwnedFd, LoadError> {
    match try_load(code, &mut []) {
        Ok(program) => Ok(program),
        // Asked again for its reasons.
        Err(first)
            if first.raw_os_error() == Some(libc::EINVAL) || first.raw_os_error() == Some(libc::EACCES) =>
        {
            let mut log = vec![0; 64 << 10];
            match try_load(code, &mut log) {
                Ok(program) => Ok(program),
                Err(source) => {
                    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
                    let text = String::from_utf8_lossy(&log[..end]);
                    let lines: Vec<_> = text.lines().rev().take(4).collect();
                    let log = lines.into_iter().rev().collect::<Vec<_>>().join("; ");
                    Err(LoadError { source, log })
                }
            }
        }
        Err(source) => Err(LoadError { source, log: String::new() }),
    }
}

/// Again while the kernel's verifier was disturbed: it says so when a signal is pending, which a busy machine makes likelier.
fn try_load(code: &[Slot], log: &mut [u8]) -> io::Result<OwnedFd> {
    for _ in 1..TRIES {
        match try_load_once(code, log) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            ended => return ended,
        }
    }
    try_load_once(code, log)
}

fn try_load_once(code: &[Slot], log: &mut [u8]) -> io::Result<OwnedFd> {
    let license = *b"MIT\0";
    let mut attr = ProgLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: u32::try_from(code.len()).expect("a short program"),
        insns: address(code),
        license: address(&license),
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).expect("a short log"),
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr().expose_provenance() as u64 },
        kern_version: 0,
        prog_flags: BPF_F_XDP_HAS_FRAGS,
        prog_name: NAME,
        prog_ifindex: 0,
        expected_attach_type: BPF_XDP,
    };
    // SAFETY: code, licence and log live through the call, and their lengths are given.
    let result = unsafe { bpf(BPF_PROG_LOAD, &mut attr) }?;
    // SAFETY: the command returns a new descriptor.
    Ok(unsafe { descriptor(result) })
}

pub(crate) fn attach(program: BorrowedFd<'_>, interface: u32, mode: AttachMode) -> io::Result<OwnedFd> {
    let flags = match mode {
        AttachMode::Native => XDP_FLAGS_DRV_MODE,
        AttachMode::Generic => XDP_FLAGS_SKB_MODE,
    };
    let mut attr =
        LinkCreate { prog_fd: number(program), target_ifindex: interface, attach_type: BPF_XDP, flags };
    // SAFETY: the command reads no pointers.
    let result = unsafe { bpf(BPF_LINK_CREATE, &mut attr) }?;
    // SAFETY: the command returns a new descriptor.
    Ok(unsafe { descriptor(result) })
}

/// Runs the program once over a copy of `packet`. Returns what it returned.
pub(crate) fn test_run(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<u32> {
    let mut attr = ProgTestRun {
        prog_fd: number(program),
        data_size_in: u32::try_from(packet.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?,
        data_in: address(packet),
        repeat: 1,
        ..Default::default()
    };
    // SAFETY: the packet lives through the call, its length is given, and no room is given for an answer.
    unsafe { bpf(BPF_PROG_TEST_RUN, &mut attr) }?;
    Ok(attr.retval)
}
