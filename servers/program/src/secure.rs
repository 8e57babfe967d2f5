//! What the TLS port needs: a certificate, ticket keys, and a place for secrets when somebody wants to read them.

use confine::{Files, Kind};
use control::{Certificate, CertificateError, Directly, Opener};
use core::fmt;
use core::net::IpAddr;
use handshake::{Certificates, SecretLog, ServerOptions, ServerSettings, SettingsError, Ticketing};
use host::Policy;
use rustls::crypto::CryptoProvider;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::SystemTime;

use crate::options::CertificateFiles;

/// Lines of secrets that may wait for the file.
const KEY_LOG_LINES: usize = 4_096;

/// Why there can be no TLS. One line each.
#[derive(Debug)]
pub(crate) enum SecureError {
    /// The certificate.
    Certificate(CertificateError),
    /// The certificate again, as the handshake sees it.
    Handshake(handshake::CertificateError),
    /// The settings: ours, or the machine's without randomness.
    Settings(SettingsError),
    /// The file for secrets.
    KeyLog {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for SecureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => error.fmt(f),
            Self::Handshake(error) => error.fmt(f),
            Self::Settings(error) => error.fmt(f),
            Self::KeyLog { path, source } => {
                write!(f, "cannot write secrets to {}: {source}", path.display())
            }
        }
    }
}

impl core::error::Error for SecureError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Certificate(error) => Some(error),
            Self::Handshake(error) => Some(error),
            Self::Settings(error) => Some(error),
            Self::KeyLog { source, .. } => Some(source),
        }
    }
}

/// TLS, as long as the server runs: certificates come and go, ticket keys stay.
#[derive(Debug)]
pub(crate) struct Secure {
    provider: CryptoProvider,
    ticketing: Ticketing,
    key_log: Option<KeyLog>,
    /// Until [`Self::write_secrets`].
    unwritten: Option<Unwritten>,
    certificate: Certificate,
    /// When the files were last changed, as far as we know.
    modified: Option<(SystemTime, SystemTime)>,
}

impl Secure {
    /// Reads the certificate, or makes one for these names.
    pub(crate) fn new(
        files: Option<&CertificateFiles>,
        addresses: &[IpAddr],
        key_log: Option<&Path>,
    ) -> Result<Self, SecureError> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let modified = files.and_then(modified);
        let certificate = match files {
            Some(files) => load(files, &provider, &Directly)?,
            None => Certificate::self_signed(&names(addresses), SystemTime::now(), &provider)
                .map_err(SecureError::Certificate)?,
        };
        let (key_log, unwritten) = key_log.map(KeyLog::open).transpose()?.unzip();
        let ticketing = Ticketing::new().map_err(SecureError::Settings)?;
        Ok(Self { provider, ticketing, key_log, unwritten, certificate, modified })
    }

    /// From now on secrets are written, if they are wanted. Starts a thread: to be called inside the namespace that the
    /// process is to be in.
    pub(crate) fn write_secrets(&mut self, policy: Policy) -> Result<(), SecureError> {
        self.unwritten.take().map_or(Ok(()), |unwritten| unwritten.start(policy))
    }

    /// What handshakes need from now on.
    pub(crate) fn settings(&self) -> Result<ServerSettings, SecureError> {
        let certificate = handshake::Certificate::from_der(
            self.certificate.chain().to_vec(),
            self.certificate.key().clone_key(),
        )
        .map_err(SecureError::Handshake)?;
        let secret_log = self.key_log.clone().map(|log| Box::new(log) as Box<dyn SecretLog>);
        let options = ServerOptions { secret_log, ..ServerOptions::default() };
        ServerSettings::new(Certificates::new(certificate), &self.ticketing, options)
            .map_err(SecureError::Settings)
    }

    /// Reads the certificate again. Returns whether it is another one; when it cannot be used the old one stays.
    pub(crate) fn reload(
        &mut self,
        files: &CertificateFiles,
        opener: &dyn Opener,
    ) -> Result<bool, SecureError> {
        // Noted first: a broken file is told once, not with every look.
        self.modified = modified(files);
        let certificate = load(files, &self.provider, opener)?;
        let changed = !certificate.is_same(&self.certificate);
        self.certificate = certificate;
        Ok(changed)
    }

    /// Whether the files were changed since they were read.
    pub(crate) fn has_changed(&self, files: &CertificateFiles) -> bool {
        modified(files) != self.modified
    }

    /// The certificate in force.
    pub(crate) const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// For people.
    pub(crate) fn description(&self) -> String {
        let names = self.certificate.names().join(", ");
        let made = if self.certificate.is_self_signed() {
            ", made just now and signed by itself (browsers will ask)"
        } else {
            ""
        };
        format!("certificate for {names}, valid to {}{made}", self.certificate.expiry_date())
    }
}

fn load(
    files: &CertificateFiles,
    provider: &CryptoProvider,
    opener: &dyn Opener,
) -> Result<Certificate, SecureError> {
    Certificate::load(opener, &files.chain, &files.key, SystemTime::now(), provider)
        .map_err(SecureError::Certificate)
}

fn modified(files: &CertificateFiles) -> Option<(SystemTime, SystemTime)> {
    let of = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    of(&files.chain).zip(of(&files.key))
}

/// Whoever comes to this server calls it one of these.
fn names(addresses: &[IpAddr]) -> Vec<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_name = !host.is_empty()
        && host.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
    let mut names: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    names.push("localhost".to_owned());
    if is_name && host != "localhost" {
        names.push(host);
    }
    names
}

/// Secrets on their way to a file, in the NSS format. The worker only leaves a line; a thread writes it.
#[derive(Clone, Debug)]
struct KeyLog {
    lines: Arc<SyncSender<String>>,
}

impl KeyLog {
    /// Opens the file. The thread comes later: whoever enters a namespace must be alone.
    fn open(path: &Path) -> Result<(Self, Unwritten), SecureError> {
        let refused = |source| SecureError::KeyLog { path: path.into(), source };
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(refused)?;
        // One that was there before may be open to others; a pipe is its maker's.
        if file.metadata().map_err(refused)?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600)).map_err(refused)?;
        }
        let (lines, waiting) = sync_channel::<String>(KEY_LOG_LINES);
        let unwritten = Unwritten { path: path.into(), file, waiting };
        Ok((Self { lines: Arc::new(lines) }, unwritten))
    }
}

/// Lines that nobody writes yet.
#[derive(Debug)]
struct Unwritten {
    path: PathBuf,
    file: File,
    waiting: Receiver<String>,
}

impl Unwritten {
    /// Starts the thread that writes them, until nobody has a line any more.
    fn start(self, policy: Policy) -> Result<(), SecureError> {
        let Self { path, mut file, waiting } = self;
        let write = move || {
            if let Err(error) = policy.apply(Kind::Writer, Files::default()) {
                tracing::error!("no secrets are written: {error}");
                return;
            }
            for line in waiting {
                write(&mut file, &line);
            }
        };
        match std::thread::Builder::new().name("key-log".to_owned()).spawn(write) {
            Ok(_) => Ok(()),
            Err(source) => Err(SecureError::KeyLog { path, source }),
        }
    }
}

/// A disk that is full costs lines; whoever reads secrets will see that some are missing.
fn write(file: &mut File, line: &str) {
    let _ = file.write_all(line.as_bytes());
}

impl SecretLog for KeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        use fmt::Write as _;
        let mut line = format!("{label} ");
        for byte in client_random {
            let _ = write!(line, "{byte:02x}");
        }
        line.push(' ');
        for byte in secret {
            let _ = write!(line, "{byte:02x}");
        }
        line.push('\n');
        // A worker must not wait: what has no room is lost.
        let _ = self.lines.try_send(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_for_the_addresses() {
        let addresses = ["10.77.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let secure = Secure::new(None, &addresses, None).unwrap();
        let names = secure.certificate().names();
        assert!(names.iter().any(|name| name == "10.77.0.2") && names.iter().any(|name| name == "localhost"));
        assert!(secure.settings().is_ok());
        assert!(secure.description().contains("signed by itself"));
    }

    #[test]
    fn a_broken_certificate_leaves_the_old_one_in_force() {
        let mut secure = Secure::new(None, &[], None).unwrap();
        let before = secure.certificate().chain().to_vec();
        let nowhere =
            CertificateFiles { chain: "/nonexistent/c.pem".into(), key: "/nonexistent/k.pem".into() };
        let line = secure.reload(&nowhere, &Directly).unwrap_err().to_string();
        assert!(line.contains("/nonexistent/c.pem"), "{line}");
        assert_eq!(secure.certificate().chain(), before);
    }

    #[test]
    fn secrets_are_lines_for_the_owner_alone() {
        let path = std::env::temp_dir().join(format!("atlas-key-log-{}", std::process::id()));
        // Somebody has left it there, open to all.
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let (log, unwritten) = KeyLog::open(&path).unwrap();
        unwritten.start(Policy::NOTHING).unwrap();
        log.log("CLIENT_RANDOM", &[0xab, 0x01], &[0x0c]);
        let written = || std::fs::read_to_string(&path).unwrap();
        for _ in 0..1_000 {
            if !written().is_empty() {
                break;
            }
            std::thread::sleep(core::time::Duration::from_millis(5));
        }
        assert_eq!(written(), "CLIENT_RANDOM ab01 0c\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(path).unwrap();
    }
}
