//! All zones, as one immutable value: a query is answered from one of these, whole.
//!
//! A reload makes another catalogue, which shares every zone that did not change, and the old one lives until its last
//! reader lets go.

use crate::hash::{Form, Key, Suffixes};
use crate::steer::Steering;
use crate::transfer::policy::Policy;
use crate::zone::Zone;
use dns::Name;
use std::sync::Arc;

/// The zones that are served.
#[derive(Clone, Debug)]
pub struct Catalogue {
    key: Key,
    form: Form,
    zones: Vec<Arc<Zone>>,
    /// Open addressing by the hash of the apex: its upper half, and the zone's index plus one.
    slots: Box<[u64]>,
    /// Which numbers of labels apexes have: other suffixes need not be looked up.
    depths: u128,
    /// Who may have which of them.
    policy: Arc<Policy>,
    /// What depends on who asks.
    steering: Option<Arc<Steering>>,
}

impl Catalogue {
    /// Zones that were built with this key and form. Of two with the same name, the later one counts.
    #[must_use]
    pub fn new(key: Key, form: Form, zones: Vec<Arc<Zone>>) -> Self {
        let mut catalogue = Self {
            key,
            form,
            slots: vec![0; (zones.len() * 2).next_power_of_two().max(2)].into(),
            zones,
            depths: 0,
            policy: Arc::default(),
            steering: None,
        };
        let mut name = Name::root();
        let mut hashes = Suffixes::new(key, form);
        for index in 0..catalogue.zones.len() {
            let apex = catalogue.zones[index].apex();
            name.set(apex).expect("a name");
            hashes.fill(&name);
            let slot = match catalogue.slot(hashes.suffix(0), apex) {
                Ok((slot, _)) | Err(slot) => slot,
            };
            catalogue.depths |= 1 << name.labels();
            catalogue.slots[slot] = hashes.suffix(0) >> 32 << 32 | (index as u64 + 1);
        }
        catalogue
    }

    /// No zones.
    #[must_use]
    pub fn empty(key: Key, form: Form) -> Self {
        Self::new(key, form, Vec::new())
    }

    /// The same with this zone, in place of the one of its name.
    #[must_use]
    pub fn with(&self, zone: Arc<Zone>) -> Self {
        let others = self.zones.iter().filter(|other| other.apex() != zone.apex()).cloned();
        let zones = others.chain([Arc::clone(&zone)]).collect();
        Self::new(self.key, self.form, zones).governed(Arc::clone(&self.policy))
    }

    /// The same under these rules.
    #[must_use]
    pub fn governed(mut self, policy: Arc<Policy>) -> Self {
        self.policy = policy;
        self
    }

    /// Who may have which of the zones, and the keys.
    #[must_use]
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The same zones, with some of their addresses steered by this, which was made for them.
    #[must_use]
    pub fn steered(&self, steering: Option<Arc<Steering>>) -> Self {
        Self { steering, ..self.clone() }
    }

    /// What depends on who asks.
    #[inline]
    #[must_use]
    pub fn steering(&self) -> Option<&Steering> {
        self.steering.as_deref()
    }

    /// What names are hashed with.
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// What is hashed.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Every zone.
    #[must_use]
    pub fn zones(&self) -> &[Arc<Zone>] {
        &self.zones
    }

    /// The zone of that very name.
    #[must_use]
    pub fn zone(&self, apex: &[u8]) -> Option<&Arc<Zone>> {
        self.zones.iter().rfind(|zone| zone.apex() == apex)
    }

    /// The zone that `name`, without its first `skip` labels, lies in: the one with the longest apex.
    #[inline]
    #[must_use]
    pub fn deepest(&self, name: &Name, hashes: &Suffixes, skip: usize) -> Option<&Zone> {
        let labels = name.labels();
        for skip in skip..=labels {
            if self.depths >> (labels - skip) & 1 == 1
                && let Ok((_, zone)) = self.slot(hashes.suffix(skip), name.suffix(skip))
            {
                return Some(zone);
            }
        }
        None
    }

    /// The place among [`zones`](Self::zones) of one whose apex has so many labels, perhaps, and this hash, most likely:
    /// its name is for the caller to compare.
    #[inline]
    pub(crate) fn likely(&self, labels: usize, hash: u64) -> Option<u32> {
        // Few names have 64 labels, and a word is shifted sooner than two.
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let shallow = self.depths as u64;
        if labels < 64 && shallow >> labels & 1 == 0 || labels >= 64 && self.depths >> labels & 1 == 0 {
            return None;
        }
        let mask = self.slots.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "masked")]
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                return None;
            }
            if entry >> 32 == hash >> 32 {
                #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
                return Some(entry as u32 - 1);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The zone with that apex and its slot; or the slot where it would go.
    #[inline]
    fn slot(&self, hash: u64, apex: &[u8]) -> Result<(usize, &Zone), usize> {
        let mask = self.slots.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "masked")]
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                return Err(slot);
            }
            if entry >> 32 == hash >> 32 {
                #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
                let zone = &self.zones[(entry as u32 - 1) as usize];
                if zone.apex() == apex {
                    return Ok((slot, zone));
                }
            }
            slot = (slot + 1) & mask;
        }
    }
}
