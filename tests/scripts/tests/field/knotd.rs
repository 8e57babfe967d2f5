//! Knot, of Debian.

use crate::peers::Who;

#[test]
#[ignore = "needs root"]
fn knot_and_we_say_the_same_of_an_unsigned_zone() {
    crate::unsigned(Who::Knot);
}

#[test]
#[ignore = "needs root"]
fn knot_and_we_say_the_same_of_signed_zones() {
    crate::signed(Who::Knot);
}

#[test]
#[ignore = "needs root"]
fn knot_and_we_say_the_same_of_random_zones_to_random_messages() {
    crate::random(Who::Knot);
}
