use rcgen::KeyPair;
use rustls::SignatureScheme;

use super::*;
use crate::tests::fixture::{certificate, issue_for};

const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
const ED25519: SignatureScheme = SignatureScheme::ED25519;

fn ed25519(names: &[&str]) -> Certificate {
    let pem = issue_for(names, &KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    Certificate::from_pem(pem.chain.as_bytes(), pem.key.as_bytes()).unwrap()
}

#[test]
fn names_are_those_in_the_certificate_in_lower_case() {
    assert_eq!(
        certificate(&["A.example.ORG", "*.b.example", "192.0.2.1"]).names(),
        ["a.example.org", "*.b.example"]
    );
}

#[test]
fn of_two_for_one_name_the_first_that_the_client_can_verify_is_chosen() {
    let both = Certificates::new(certificate(&["a.example"])).with(ed25519(&["a.example", "only.example"]));
    let chosen = |name, schemes: &[SignatureScheme]| both.choose(name, schemes).map(|c| c.names().len());
    assert_eq!(chosen(Some("a.example"), &[ED25519, ECDSA]), Some(1), "our order counts");
    assert_eq!(chosen(Some("a.example"), &[ED25519]), Some(2));
    assert_eq!(chosen(Some("only.example"), &[ECDSA]), Some(1), "a wrong name beats no connection");
    assert_eq!(chosen(None, &[ED25519]), Some(2));
    assert_eq!(
        chosen(None, &[SignatureScheme::RSA_PSS_SHA256]),
        Some(1),
        "so that rustls says what is missing"
    );
}
