use std::string::ToString;

use super::*;

#[test]
fn parse_inverts_emit() {
    for code in 0..=255 {
        let description = AlertDescription(code);
        for alert in [Alert::fatal(description), Alert::warning(description)] {
            assert_eq!(Alert::parse(&alert.emit()), Some(alert));
        }
    }
}

#[test]
fn a_description_prints_by_its_name_or_number() {
    assert_eq!(AlertDescription::BAD_RECORD_MAC.to_string(), "bad_record_mac");
    assert_eq!(AlertDescription(109).to_string(), "alert 109");
}
