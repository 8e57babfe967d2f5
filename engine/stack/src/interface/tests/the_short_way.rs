//! Segments that are read without a look at what else a frame may be.

use super::*;

/// Both ways, each with an interface of its own.
fn ways_agree(mode: &AddressMode, frame: &[u8], verified: bool) -> Result<(), TestCaseError> {
    let mut config = config();
    config.mode = mode.clone();
    if *mode != AddressMode::Own {
        config.gateway_v4 = None;
    }
    let mut interface = Interface::new(&config, HashKey::new([9; 16])).unwrap();
    let long = match interface.read(NOW, frame, verified, &mut Replies::new()) {
        Ok(Input::Tcp(input)) => Some(input),
        _ => None,
    };
    match (interface.read_tcp(frame, verified), long) {
        // A segment to everybody's MAC address, or with a tag: the long way takes it.
        (None, Some(input)) => {
            let is_ordinary = frame[..6] == OURS.0 && input.vlan.is_none();
            prop_assert!(!is_ordinary, "{:?}", input);
        }
        (short, long) => prop_assert_eq!(short, long),
    }
    Ok(())
}

proptest! {
    #[test]
    fn ends_where_the_long_way_does(
        ipv6: bool, verified: bool, shared: bool,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut frame =
            if ipv6 { segment(THEIR_V6.into(), OUR_V6.into()) } else { segment(THEIR_V4.into(), OUR_V4.into()) };
        for (at, byte) in damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        let ports = if shared { &[443][..] } else { &[80] };
        for mode in [AddressMode::Own, AddressMode::Shared(ports.iter().copied().collect())] {
            ways_agree(&mode, &frame, verified)?;
        }
    }
}

#[test]
fn is_counted_as_the_long_way_is() {
    let (mut interface, mut replies) = settled();
    let frame = segment(THEIR_V4.into(), OUR_V4.into());
    let tagged = tagged_segment(THEIR_V4.into(), OUR_V4.into(), Some(0));
    for frame in [frame, tagged] {
        assert!(matches!(interface.on_frame(NOW, &frame, false, &mut replies), Input::Tcp(_)));
    }
    assert_eq!((interface.counters().frames, interface.counters().tcp), (2, 2));
}
