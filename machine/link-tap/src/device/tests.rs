//! What can be said of a device without making one; the rest is in `tests/conformance`, as root.

use super::*;

#[test]
fn a_name_that_no_interface_can_have_is_refused() {
    for name in ["", "sixteen-letters!", "a/b", "a b", "..", "tap%d"] {
        assert!(matches!(TapDevice::create(Some(name), 1), Err(TapError::BadName { .. })), "{name:?}");
    }
}

#[test]
fn a_name_that_is_taken_is_said_to_be() {
    let error = TapDevice::create(Some("lo"), 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the interface lo is in use: choose another name, or end the program that holds it"
    );
}
