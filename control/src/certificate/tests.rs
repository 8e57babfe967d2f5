use super::*;
use crate::Directly;
use std::fs;

const DAY: Duration = Duration::from_secs(86_400);

/// A directory with PEM files, removed at the end.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("atlas-certificate-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// A pair of PEM texts: a certificate for `name`, and its key.
fn issue(name: &str, year_from: i32, year_to: i32) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(year_from, 1, 1);
    params.not_after = rcgen::date_time_ymd(year_to, 1, 1);
    let pair = KeyPair::generate().unwrap();
    (params.self_signed(&pair).unwrap().pem(), pair.serialize_pem())
}

/// 2026-11-20.
fn today() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_132_800)
}

fn load(certificate: &Path, key: &Path) -> Result<Certificate, CertificateError> {
    Certificate::load(&Directly, certificate, key, today(), &provider())
}

/// Made with `openssl x509 -req` without extensions; only its version matters.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIHWMIGJAhRU/CPA+BTgfIpNcnfDci7HvEMTpjAFBgMrZXAwDjEMMAoGA1UEAwwD
b2xkMB4XDTI2MTEyMDExNTUwMFoXDTM2MTExNzExNTUwMFowDjEMMAoGA1UEAwwD
b2xkMCowBQYDK2VwAyEAfN4Ku7hJY+j3amsH6Li4z2ctvOEWXKrb8qYmBuTzA1Qw
BQYDK2VwA0EAzCvdVLuM6hRhHjS6nzZwtTfvRR/drdZ0zVqNdDYnrA2jhL0HtNea
d5OK23wwT1HeuCZVESMltg/7fpVit8gxDw==
-----END CERTIFICATE-----
";

#[test]
fn a_valid_pair_tells_its_names_and_its_last_day() {
    let files = Files::new("valid");
    let (certificate, key) = issue("video.example", 2025, 2030);
    let loaded = load(&files.write("c.pem", &certificate), &files.write("k.pem", &key)).unwrap();
    assert_eq!(loaded.names(), ["video.example"]);
    assert_eq!(loaded.expiry_date(), "2030-01-01");
    assert!(!loaded.is_self_signed());
}

#[test]
fn certificate_and_key_may_share_a_file() {
    let files = Files::new("shared");
    let (certificate, key) = issue("video.example", 2025, 2030);
    let path = files.write("both.pem", &format!("{key}{certificate}"));
    assert_eq!(load(&path, &path).unwrap().chain().len(), 1);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let files = Files::new("mismatch");
    let (certificate, _) = issue("a.example", 2025, 2030);
    let (_, key) = issue("b.example", 2025, 2030);
    let error = load(&files.write("c.pem", &certificate), &files.write("k.pem", &key)).unwrap_err();
    assert!(matches!(error, CertificateError::KeyMismatch { .. }), "{error}");
}

#[test]
fn a_certificate_out_of_its_time_is_refused_with_the_date() {
    let files = Files::new("dates");
    for (from, to, told) in [(2020, 2021, "expired on 2021-01-01"), (2030, 2031, "only from 2030-01-01")] {
        let (certificate, key) = issue("video.example", from, to);
        let error = load(&files.write("c.pem", &certificate), &files.write("k.pem", &key)).unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn every_broken_file_is_named_in_one_line() {
    let files = Files::new("broken");
    let (certificate, key) = issue("video.example", 2025, 2030);
    let certificate = files.write("c.pem", &certificate);
    let key = files.write("k.pem", &key);
    let missing = files.0.join("missing.pem");
    let empty = files.write("empty.pem", "");
    let garbage = files.write(
        "garbage.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    let encrypted = files.write(
        "encrypted.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let table: [(&Path, &Path, &Path, &str); 7] = [
        (&missing, &key, &missing, "cannot read"),
        (&certificate, &missing, &missing, "cannot read"),
        (&empty, &key, &empty, "not a PEM certificate chain"),
        (&certificate, &empty, &empty, "not a PEM private key"),
        (&garbage, &key, &garbage, "not a PEM certificate chain"),
        (&certificate, &garbage, &garbage, "not a PEM private key"),
        (&certificate, &encrypted, &encrypted, "is encrypted"),
    ];
    for (certificate, key, guilty, told) in table {
        let line = load(certificate, key).unwrap_err().to_string();
        assert!(line.contains(&guilty.display().to_string()) && line.contains(told), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}

#[test]
fn a_certificate_of_our_own_is_for_its_names_and_for_thirteen_months() {
    let names = ["localhost".to_owned(), "10.77.0.2".to_owned(), "fd00::2".to_owned()];
    let made = Certificate::self_signed(&names, today(), &provider()).unwrap();
    assert!(made.is_self_signed());
    assert_eq!(Leaf::parse(&made.certified).unwrap().names, names);
    assert!(made.valid_for(today()) > 390 * DAY && made.valid_for(today()) < 398 * DAY);
    assert_eq!(Leaf::parse(&made.certified).unwrap().not_after, made.not_after);
    let again = Certificate::self_signed(&names, today(), &provider()).unwrap();
    assert!(!made.is_same(&again) && made.is_same(&made));
}

#[test]
fn a_certificate_of_the_first_version_is_called_that() {
    let files = Files::new("version");
    let (_, key) = issue("video.example", 2025, 2030);
    let error = load(&files.write("c.pem", VERSION_1), &files.write("k.pem", &key)).unwrap_err();
    assert!(matches!(error, CertificateError::OldVersion { version: 1, .. }), "{error}");
    assert!(error.to_string().contains("version 3"), "{error}");
}
