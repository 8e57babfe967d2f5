//! Open files: a bounded cache of descriptors, so that the next request for a segment opens nothing.
//!
//! A file is named by a [`FileRef`] while a connection sends from it; its descriptor stays open at least that long,
//! and the bytes of an entry in the map can be read again from the very file they came from, whatever has been put
//! in its place since. Without references a file stays until it is the oldest and room is needed, or until a look
//! finds another file under its name.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use clock::Instant;
use core::hash::BuildHasher;
use core::time::Duration;
use hashbrown::HashTable;
use platform::{FileId, FileMeta, Opened, RootId};

/// How long a look at a name is believed.
const FRESH: Duration = Duration::from_secs(1);

/// A reference that keeps a file open.
#[derive(Clone, Debug)]
pub(crate) struct FileRef {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: FileId,
    meta: FileMeta,
}

impl FileRef {
    pub(crate) fn id(&self) -> FileId {
        self.shared.file
    }

    pub(crate) fn meta(&self) -> &FileMeta {
        &self.shared.meta
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

struct Slot {
    root: RootId,
    path: Box<[u8]>,
    file: FileRef,
    looked_at: Instant,
    used_at: Instant,
}

/// The worker's open files.
pub(crate) struct Files<H> {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    names: HashTable<u32>,
    hasher: H,
    count_max: usize,
    /// Files under no name any more, open until their last reference is gone.
    retired: Vec<FileRef>,
}

/// What the cache knows of a name.
pub(crate) enum Lookup {
    /// Seen there within [`FRESH`].
    Fresh(FileRef),
    /// Not known, or not looked at lately: open it.
    Look,
}

impl<H: BuildHasher> Files<H> {
    pub(crate) fn new(count_max: usize, hasher: H) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            names: HashTable::with_capacity(count_max),
            hasher,
            count_max: count_max.max(1),
            retired: Vec::new(),
        }
    }

    fn hash(&self, root: RootId, path: &[u8]) -> u64 {
        self.hasher.hash_one((root, path))
    }

    fn find(&self, root: RootId, path: &[u8]) -> Option<u32> {
        let slots = &self.slots;
        self.names
            .find(self.hash(root, path), |&slot| {
                slots[slot as usize].as_ref().is_some_and(|known| known.root == root && *known.path == *path)
            })
            .copied()
    }

    /// A file that was lately under this name.
    pub(crate) fn lookup(&mut self, now: Instant, root: RootId, path: &[u8]) -> Lookup {
        let Some(slot) = self.find(root, path) else { return Lookup::Look };
        let known = self.slots[slot as usize].as_mut().expect("a name leads to a file");
        if now.since(known.looked_at) > FRESH {
            return Lookup::Look;
        }
        known.used_at = now;
        Lookup::Fresh(known.file.clone())
    }

    /// A look has found `opened` under this name. The answer may be the file that was there before, when it is
    /// unchanged. What has to be closed now goes to `close`.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        root: RootId,
        path: Box<[u8]>,
        opened: Opened,
        close: &mut impl FnMut(FileId),
    ) -> FileRef {
        if let Some(slot) = self.find(root, &path) {
            let known = self.slots[slot as usize].as_mut().expect("a name leads to a file");
            known.looked_at = now;
            known.used_at = now;
            if known.file.meta() == &opened.meta {
                close(opened.file);
                return known.file.clone();
            }
            let file = FileRef::new(opened);
            let old = core::mem::replace(&mut known.file, file.clone());
            self.retire(old, close);
            return file;
        }
        self.make_room(1, close);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("as many files as descriptors")
        });
        let file = FileRef::new(opened);
        let hash = self.hash(root, &path);
        self.slots[slot as usize] =
            Some(Slot { root, path, file: file.clone(), looked_at: now, used_at: now });
        let Self { names, slots, hasher, .. } = self;
        names.insert_unique(hash, slot, |&slot| {
            let known = slots[slot as usize].as_ref().expect("a name leads to a file");
            hasher.hash_one((known.root, &*known.path))
        });
        file
    }

    /// Makes room for `count` more files, before they are opened: the disk's own table is no larger than it has to be.
    pub(crate) fn make_room(&mut self, count: usize, close: &mut impl FnMut(FileId)) {
        while !self.names.is_empty() && self.names.len() + count > self.count_max {
            self.evict(close);
        }
    }

    /// A look has found nothing (usable) under this name.
    pub(crate) fn remove(&mut self, root: RootId, path: &[u8], close: &mut impl FnMut(FileId)) {
        if let Some(slot) = self.find(root, path) {
            self.take(slot, close);
        }
    }

    /// Closes retired files that nobody sends from any more.
    pub(crate) fn sweep(&mut self, close: &mut impl FnMut(FileId)) {
        self.retired.retain(|file| {
            let needed = Rc::strong_count(&file.shared) > 1;
            if !needed {
                close(file.id());
            }
            needed
        });
    }

    /// Files that are open: named ones and retired ones.
    pub(crate) fn len(&self) -> usize {
        self.names.len() + self.retired.len()
    }

    fn retire(&mut self, file: FileRef, close: &mut impl FnMut(FileId)) {
        if Rc::strong_count(&file.shared) > 1 {
            self.retired.push(file);
        } else {
            close(file.id());
        }
    }

    fn take(&mut self, slot: u32, close: &mut impl FnMut(FileId)) {
        let Some(known) = self.slots[slot as usize].take() else { return };
        let hash = self.hash(known.root, &known.path);
        if let Ok(entry) = self.names.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        self.free.push(slot);
        self.retire(known.file, close);
    }

    /// Makes room by the name that was used longest ago, preferring files that nobody sends from.
    fn evict(&mut self, close: &mut impl FnMut(FileId)) {
        let oldest = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| slot.as_ref().map(|known| (index, known)))
            .min_by_key(|(index, known)| (Rc::strong_count(&known.file.shared) > 1, known.used_at, *index))
            .map(|(index, _)| index);
        let Some(index) = oldest else { return };
        self.take(u32::try_from(index).expect("slots are numbered in 32 bits"), close);
    }
}

impl FileRef {
    fn new(opened: Opened) -> Self {
        Self { shared: Rc::new(Shared { file: opened.file, meta: opened.meta }) }
    }
}

impl<H> core::fmt::Debug for Files<H> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Files")
            .field("named", &self.names.len())
            .field("retired", &self.retired.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
