//! One anonymous mapping, on huge pages when the machine has them reserved.

use core::fmt;
use core::ptr::NonNull;

/// Two megabytes: the huge page of every machine this runs on.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// The pages that a region got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Reserved huge pages (`vm.nr_hugepages`).
    Huge,
    /// Ordinary pages that the kernel was advised to make huge.
    TransparentHuge,
}

/// The kernel would not map the memory.
#[derive(Debug)]
pub struct RegionError {
    /// How much was asked for.
    pub bytes: usize,
    /// What the kernel said.
    pub source: std::io::Error,
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory for {} MiB of frames: {}", self.bytes >> 20, self.source)
    }
}

impl core::error::Error for RegionError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A private anonymous mapping, zeroed, unmapped when dropped.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    bytes: usize,
    pages: Pages,
}

impl Region {
    /// Maps at least `bytes`, rounded up to whole huge pages.
    ///
    /// # Errors
    /// The kernel has no memory, or the process may not have as much.
    pub fn map(bytes: usize) -> Result<Self, RegionError> {
        let bytes = bytes.next_multiple_of(HUGE_PAGE_BYTES);
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: an anonymous mapping at an address of the kernel's choice disturbs nobody's memory.
        let huge = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                bytes,
                prot,
                flags | libc::MAP_HUGETLB | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if huge != libc::MAP_FAILED {
            let base = NonNull::new(huge.cast()).expect("mmap returned null without failing");
            return Ok(Self { base, bytes, pages: Pages::Huge });
        }
        // One huge page more than needed, so that the region can begin on a huge page boundary.
        let span = bytes + HUGE_PAGE_BYTES;
        // SAFETY: as above.
        let plain = unsafe { libc::mmap(core::ptr::null_mut(), span, prot, flags, -1, 0) };
        if plain == libc::MAP_FAILED {
            return Err(RegionError { bytes, source: std::io::Error::last_os_error() });
        }
        let start: *mut u8 = plain.cast();
        let before = start.align_offset(HUGE_PAGE_BYTES);
        // SAFETY: `before` is less than a huge page, and the mapping is longer than that.
        let base = unsafe { start.add(before) };
        if before > 0 {
            // SAFETY: the pages below `base` are ours and nobody has seen their address.
            unsafe { libc::munmap(plain, before) };
        }
        let after = HUGE_PAGE_BYTES - before;
        if after > 0 {
            // SAFETY: `bytes + after` is what is left of the mapping from `base` on.
            let end = unsafe { base.add(bytes) };
            // SAFETY: as for the pages below.
            unsafe { libc::munmap(end.cast(), after) };
        }
        // SAFETY: the range is one mapping of ours; the advice changes no byte. A refusal only costs speed.
        unsafe { libc::madvise(base.cast(), bytes, libc::MADV_HUGEPAGE) };
        let base = NonNull::new(base).expect("a mapping does not begin at null");
        Ok(Self { base, bytes, pages: Pages::TransparentHuge })
    }

    /// The first byte.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// How long the mapping is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the kernel gave.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.pages
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and frames keep the region alive, so nothing points into it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
