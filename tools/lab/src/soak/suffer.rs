//! How each misfortune is brought about, and made good.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use rand::{Rng as _, RngCore as _};
use rustix::process::Signal;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Instant;

use handshake::Trust;
use testbed::TestbedError;

use super::fault::Fault;
use super::load::{Helper, Load, plan};
use super::place::SERVER;
use super::run::{CHANGING, Soak, TIMEOUT};
use super::zone;
use crate::error::ProgramError;

/// A server finds out within this time that something was put in place: it looks every second.
const FOUND: Duration = Duration::from_secs(10);
/// It has certainly looked by then.
const LOOKED: Duration = Duration::from_millis(3_500);

impl Soak<'_> {
    /// The path of a round, from its beginning; its options.
    pub(super) fn begin_path(&mut self, fault: Fault) -> Result<Vec<String>, String> {
        let options = fault.path(&mut self.turns.dice);
        if fault.is_of_path() {
            self.place.lead(&options).map_err(said)?;
        }
        Ok(options)
    }

    /// The path is clean again.
    pub(super) fn end_path(&mut self, fault: Fault) -> Result<(), String> {
        if fault.is_of_path() || !self.place.is_led() {
            self.place.lead(&[]).map_err(said)?;
        }
        Ok(())
    }

    /// Brings a fault about for about `time`, and makes it good.
    pub(super) fn suffer(&mut self, fault: Fault, time: Duration) -> Result<(), String> {
        // Longer, and connections would rightly be given up.
        let outage = time.min(Duration::from_secs(4));
        let wrong = |error: TestbedError| error.to_string();
        match fault {
            Fault::Down => {
                self.place.server.ip(&["link", "set", "far", "down"]).map_err(wrong)?;
                self.keep(outage)?;
                self.place.server.ip(&["link", "set", "far", "up"]).map_err(wrong)?;
                self.relead()?;
            }
            Fault::Carrier => {
                self.place.carry(false).map_err(wrong)?;
                self.keep(outage)?;
                self.place.carry(true).map_err(wrong)?;
                self.relead()?;
            }
            Fault::Deleted => {
                self.place.unplug().map_err(wrong)?;
                self.keep(outage.min(Duration::from_secs(2)))?;
                self.place.plug().map_err(wrong)?;
                self.relead()?;
            }
            Fault::Mtu => {
                let mtu = self.turns.dice.random_range(1_280..1_500).to_string();
                self.place.server.ip(&["link", "set", "far", "mtu", &mtu]).map_err(wrong)?;
                self.keep(time)?;
                self.place.server.ip(&["link", "set", "far", "mtu", "1500"]).map_err(wrong)?;
            }
            Fault::Kill | Fault::Restart => {
                self.keep(time.mul_f64(0.3))?;
                self.end_life(if fault == Fault::Kill { Signal::KILL } else { Signal::TERM });
                std::thread::sleep(Duration::from_millis(self.turns.dice.random_range(0..500)));
                self.start().map_err(said)?;
                self.keep(time.mul_f64(0.3))?;
            }
            Fault::Reload => {
                for _ in 0..10 {
                    self.server.signal(Signal::HUP);
                    self.keep(time / 10)?;
                }
            }
            Fault::Certificate => self.change_certificate(time)?,
            Fault::Zone => {
                for _ in 0..3 {
                    self.change_zone(time / 3)?;
                }
            }
            Fault::BrokenZone => {
                self.put("zones/zone", b"$TTL 60\n@ SOA ns host 9 3600 900 604800\nn1 A 10.0.0\n")?;
                self.server.signal(Signal::HUP);
                self.keep(time / 2)?;
                self.change_zone(time / 2)?;
            }
            Fault::Replaced | Fault::Truncated | Fault::Unlinked | Fault::Forbidden => {
                self.change_file(fault, time)?;
            }
            Fault::Resets | Fault::HalfOpen | Fault::SlowReaders => {
                let tormentors = self.tormentors(fault);
                self.keep(time)?;
                tormentors.into_iter().for_each(Helper::end);
                if fault == Fault::HalfOpen {
                    self.flooded = Some(Instant::now());
                }
            }
            Fault::Calm
            | Fault::Loss
            | Fault::Burst
            | Fault::Reordering
            | Fault::Duplication
            | Fault::Delay
            | Fault::Rate
            | Fault::Police => self.keep(time)?,
        }
        Ok(())
    }

    /// The path's own devices went with the server's.
    fn relead(&mut self) -> Result<(), String> {
        self.place.lead_again().map_err(said)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.desk.put(name, bytes).map(|_| ()).map_err(|error| format!("{name}: {error}"))
    }

    /// A new version of the zone, which has to be answered from soon, and alone from then on.
    fn change_zone(&mut self, time: Duration) -> Result<(), String> {
        let (old, new) = (self.version, self.version + 1);
        self.version = new;
        self.versions.allow(old, new);
        self.put("zones/zone", zone::file(new).as_bytes())?;
        self.server.signal(Signal::HUP);
        if !self.until(FOUND, |soak| soak.versions.seen() == u64::from(new))? {
            self.complain(format!(
                "version {new} is not answered {} s after it was put in place",
                FOUND.as_secs()
            ));
        }
        // Questions that were under way.
        self.keep(Duration::from_millis(300))?;
        self.versions.allow(new, new);
        self.keep(time.saturating_sub(Duration::from_millis(300)))
    }

    /// A certificate and its key, for the server's address.
    pub(super) fn renew_certificate(&mut self) -> Result<(), ProgramError> {
        let made = rcgen::generate_simple_self_signed(vec![SERVER.to_string()])
            .map_err(|error| ProgramError::Arguments(format!("no certificate can be made: {error}")))?;
        let failed = |source| ProgramError::File { path: self.desk.path().to_owned(), source };
        self.desk.put("tls/key.pem", made.signing_key.serialize_pem().as_bytes()).map_err(failed)?;
        self.desk.put("tls/chain.pem", made.cert.pem().as_bytes()).map_err(failed)?;
        self.certificate = made.cert.pem();
        Ok(())
    }

    /// Changes the certificate; who believes the new one alone is served soon.
    fn change_certificate(&mut self, time: Duration) -> Result<(), String> {
        self.renew_certificate().map_err(said)?;
        self.server.signal(Signal::HUP);
        let root = self.desk.path().join("www");
        let mut served = false;
        for _ in 0..20 {
            let one = plan(
                &format!("https://{SERVER}"),
                (&root, &["s/3.bin".to_owned()]),
                (1, Some(1), Duration::ZERO, TIMEOUT),
                Trust::Roots(self.certificate.as_bytes()),
                self.order.seed,
            )?;
            let load = Load::web(&self.place.client, one, 0, 1.0);
            self.keep(Duration::from_millis(500))?;
            served = load.end()?.requests > 0;
            if served {
                break;
            }
        }
        if !served {
            self.complain("the new certificate is not shown 10 s after it was put in place".to_owned());
        }
        self.keep(time.saturating_sub(Duration::from_millis(500)))
    }

    /// Something happens to the file that changes.
    fn change_file(&mut self, fault: Fault, time: Duration) -> Result<(), String> {
        let (name, path) = (format!("www/{CHANGING}"), self.desk.path().join("www").join(CHANGING));
        let trouble = |error: std::io::Error| format!("{}: {error}", path.display());
        let refusable: &AtomicBool = &Arc::clone(&self.changing).may_be_refused;
        if fault == Fault::Replaced {
            let mut new = vec![0; self.turns.dice.random_range(300_000..500_000)];
            self.turns.dice.fill_bytes(&mut new);
            let new = Arc::new(new);
            self.changing.set(vec![Arc::clone(&self.content), Arc::clone(&new)], false);
            self.put(&name, &new)?;
            self.keep(time.max(LOOKED))?;
            self.content = new;
            self.changing.set(vec![Arc::clone(&self.content)], false);
            return Ok(());
        }
        refusable.store(true, Ordering::SeqCst);
        self.changing.set(vec![Arc::clone(&self.content)], true);
        match fault {
            Fault::Truncated => {
                let length = self.turns.dice.random_range(0..self.content.len() as u64);
                File::options()
                    .write(true)
                    .open(&path)
                    .and_then(|file| file.set_len(length))
                    .map_err(trouble)?;
            }
            Fault::Unlinked => fs::remove_file(&path).map_err(trouble)?,
            _ => fs::set_permissions(&path, Permissions::from_mode(0o000)).map_err(trouble)?,
        }
        self.keep(time)?;
        // Beside and into place: whoever has the old one keeps it.
        let content = Arc::clone(&self.content);
        self.put(&name, &content)?;
        self.keep(LOOKED)?;
        self.changing.set(vec![content], false);
        refusable.store(false, Ordering::SeqCst);
        Ok(())
    }
}

fn said(error: ProgramError) -> String {
    error.to_string()
}
