//! Linux's own asynchronous reads (`io_submit`), which the figures compare ours with.

#![expect(unsafe_code, reason = "the kernel fills buffers after the call that names them has returned")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// `IOCB_CMD_PREAD`.
const PREAD: u16 = 0;
/// Past the page cache, buffers begin where a page does.
const ALIGN: usize = 4_096;

/// A request, as `linux/aio_abi.h` lays it out on machines that begin with the lowest byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: i32,
    opcode: u16,
    priority: i16,
    descriptor: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    result_descriptor: u32,
}

/// What came of one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Event {
    data: u64,
    object: u64,
    result: i64,
    result2: i64,
}

const _: () = assert!(size_of::<Iocb>() == 64 && size_of::<Event>() == 32);

/// A queue of reads of one size, each slot with a buffer of its own.
#[derive(Debug)]
pub(super) struct Aio {
    context: libc::c_ulong,
    /// Written by the kernel until the context is destroyed, so never touched, moved or freed before.
    buffers: Vec<u8>,
    first: usize,
    bytes: usize,
    requests: Vec<Iocb>,
    events: Vec<Event>,
}

impl Aio {
    /// A queue of `window` reads of `bytes` each.
    ///
    /// # Errors
    /// The kernel has no room for it (`fs.aio-max-nr`), or none of it at all.
    pub(super) fn new(window: usize, bytes: usize) -> io::Result<Self> {
        let stride = bytes.next_multiple_of(ALIGN);
        let buffers = vec![0; window * stride + ALIGN];
        let first = buffers.as_ptr().align_offset(ALIGN);
        let mut context: libc::c_ulong = 0;
        // SAFETY: The kernel writes the context's name to a place that outlives the call.
        let made = unsafe { libc::syscall(libc::SYS_io_setup, window, &raw mut context) };
        check(made)?;
        let events = vec![Event::default(); window];
        Ok(Self { context, buffers, first, bytes, requests: Vec::with_capacity(window), events })
    }

    /// Stages a read of `file` into the buffer of `slot`, which must not be on its way already.
    pub(super) fn stage(&mut self, file: &File, slot: usize, offset: u64) {
        let at = self.first + slot * self.bytes.next_multiple_of(ALIGN);
        let buffer = self.buffers[at..at + self.bytes].as_mut_ptr();
        self.requests.push(Iocb {
            data: slot as u64,
            opcode: PREAD,
            descriptor: file.as_raw_fd().cast_unsigned(),
            buffer: buffer as u64,
            bytes: self.bytes as u64,
            offset: offset.cast_signed(),
            ..Iocb::default()
        });
    }

    /// Submits what is staged, in one call if the kernel takes it.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut requests: Vec<*const Iocb> = self.requests.iter().map(core::ptr::from_ref).collect();
        let mut rest = &mut requests[..];
        while !rest.is_empty() {
            // SAFETY: The requests live until the call returns, for the kernel copies them; their buffers live as long as
            // the context, and one buffer belongs to one request that is on its way (`stage`'s condition).
            let taken =
                unsafe { libc::syscall(libc::SYS_io_submit, self.context, rest.len(), rest.as_mut_ptr()) };
            rest = &mut rest[check(taken)?..];
        }
        self.requests.clear();
        Ok(())
    }

    /// Waits for at least one, and says which slots have ended, and whether each was filled.
    ///
    /// # Errors
    /// A read failed or came short, or the kernel refuses to wait.
    pub(super) fn wait(&mut self, mut ended: impl FnMut(usize)) -> io::Result<()> {
        let count = loop {
            // SAFETY: The kernel writes at most as many events as there are.
            let count = unsafe {
                libc::syscall(
                    libc::SYS_io_getevents,
                    self.context,
                    1_usize,
                    self.events.len(),
                    self.events.as_mut_ptr(),
                    core::ptr::null_mut::<libc::timespec>(),
                )
            };
            match check(count) {
                // A signal, or work that the kernel gives to this thread.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                count => break count?,
            }
        };
        for event in &self.events[..count] {
            if event.result != i64::try_from(self.bytes).unwrap_or(i64::MAX) {
                let errno = i32::try_from(-event.result).unwrap_or(libc::EIO).max(0);
                return Err(if errno > 0 { io::Error::from_raw_os_error(errno) } else { short() });
            }
            ended(usize::try_from(event.data).unwrap_or(0));
        }
        Ok(())
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // SAFETY: The context is ours. The call returns when nothing is on its way any more: buffers may go.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
    }
}

fn check(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The file is longer than what is read of it.
pub(super) fn short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a read came short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_filled_from_its_place() {
        let path = std::env::temp_dir().join(format!("lab-aio-{}", std::process::id()));
        let content: Vec<u8> = (0..4_u8).flat_map(|page| [page + 1; 4_096]).collect();
        std::fs::write(&path, content).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut aio = Aio::new(4, 4_096).unwrap();
        for slot in 0..4 {
            aio.stage(&file, slot, (3 - slot as u64) * 4_096);
        }
        aio.flush().unwrap();
        let mut left = 4;
        while left > 0 {
            aio.wait(|_| left -= 1).unwrap();
        }
        for slot in 0..4 {
            let at = aio.first + slot * 4_096;
            assert!(aio.buffers[at..at + 4_096].iter().all(|byte| usize::from(*byte) == 4 - slot), "{slot}");
        }
        aio.stage(&file, 0, 4 * 4_096);
        aio.flush().unwrap();
        assert!(aio.wait(|_| {}).is_err(), "nothing lies beyond the end");
    }
}
