//! NSD, of Debian.

use crate::peers::Who;

#[test]
#[ignore = "needs root"]
fn nsd_and_we_say_the_same_of_an_unsigned_zone() {
    crate::unsigned(Who::Nsd);
}

#[test]
#[ignore = "needs root"]
fn nsd_and_we_say_the_same_of_signed_zones() {
    crate::signed(Who::Nsd);
}

#[test]
#[ignore = "needs root"]
fn nsd_and_we_say_the_same_of_random_zones_to_random_messages() {
    crate::random(Who::Nsd);
}
