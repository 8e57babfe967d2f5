use super::*;

const HEADER: [u8; HEADER_BYTES] = [0; HEADER_BYTES];

/// A room with a frame of so many bytes, all alike.
fn room(len: usize, byte: u8) -> Room {
    let mut room = Room::new();
    let (space, spill) = (room.space().len(), vec![byte; len]);
    room.space().fill(byte);
    room.fill(len, &spill[..len.saturating_sub(space)], None);
    room
}

mod a_room {
    use super::*;

    #[test]
    fn begins_with_a_place_for_a_tag_and_puts_it_in() {
        let mut room = Room::new();
        room.space()[..HEADER_BYTES].fill(0);
        room.space()[HEADER_BYTES..HEADER_BYTES + 14].copy_from_slice(b"destinsource\x08\x00");
        room.fill(HEADER_BYTES + 14, &[], Some(VlanTag { tpid: 0x8100, tci: 7 }));
        assert_eq!(room.bytes()[HEADER_BYTES..], *b"destinsource\x81\x00\x00\x07\x08\x00");
        // The next frame has none.
        room.fill(HEADER_BYTES + 14, &[], None);
        assert_eq!(room.bytes().len(), HEADER_BYTES + 14);
    }

    #[test]
    fn grows_for_a_frame_that_ran_over_and_then_has_room_for_it() {
        let mut room = room(180_000, 5);
        assert_eq!(room.bytes(), &[5; 180_000][..]);
        assert!(room.space().len() >= 180_000);
    }

    #[test]
    fn holds_the_largest_frame_there_is() {
        assert_eq!(room(FRAME_BYTES_MAX, 5).bytes().len(), FRAME_BYTES_MAX);
    }
}

mod a_pool {
    use super::*;

    #[test]
    fn needs_no_buffer_for_an_acknowledgement() {
        let mut pool = Pool::new(Pool::BYTES_MIN);
        let frame = pool.keep(&mut room(SMALL_BYTES, 7)).unwrap();
        assert_eq!(
            (frame.bytes(), frame.ethernet().len()),
            (&[7; SMALL_BYTES][..], SMALL_BYTES - HEADER_BYTES)
        );
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn copies_a_short_frame_and_leaves_the_room_where_it_was() {
        let (mut pool, mut room) = (Pool::new(Pool::BYTES_MIN), room(200, 7));
        let before = room.bytes().as_ptr();
        let frame = pool.keep(&mut room).unwrap();
        assert_eq!(frame.bytes(), &[7; 200][..]);
        assert_eq!((room.bytes().as_ptr(), pool.used()), (before, 512));
    }

    #[test]
    fn keeps_the_memory_of_a_superframe_instead_of_copying_it() {
        for len in [60_000, 100_000, 180_000, FRAME_BYTES_MAX] {
            let (mut pool, mut room) = (Pool::new(1 << 20), room(len, 7));
            let before = room.bytes().as_ptr();
            let frame = pool.keep(&mut room).unwrap();
            assert_eq!((frame.bytes().as_ptr(), frame.bytes().len()), (before, len));
            assert!(room.space().len() >= len, "the next one has as much room");
        }
    }

    #[test]
    fn does_not_keep_half_a_megabyte_for_a_superframe() {
        let (mut pool, mut room) = (Pool::new(1 << 20), room(FRAME_BYTES_MAX, 7));
        room.fill(60_000, &[], None);
        assert_eq!(pool.keep(&mut room).unwrap().bytes(), &[7; 60_000][..]);
        assert_eq!(pool.used(), SUPERFRAME_BYTES);
    }

    #[test]
    fn hands_out_the_memory_that_came_back_last() {
        let mut pool = Pool::new(Pool::BYTES_MIN);
        let frame = pool.copy(&HEADER, &[1; 1_000]).unwrap();
        let memory = frame.bytes().as_ptr();
        pool.release(frame);
        assert_eq!(pool.copy(&HEADER, &[2; 1_500]).unwrap().bytes().as_ptr(), memory);
        assert_eq!(pool.used(), 2_048);
    }
}

mod a_pool_that_is_used_up {
    use super::*;

    #[test]
    fn refuses_and_leaves_the_frame_in_its_room() {
        let (mut pool, mut room) = (Pool::new(SUPERFRAME_BYTES), room(60_000, 9));
        let held = pool.keep(&mut room).unwrap();
        room.space().fill(9);
        assert!(pool.keep(&mut room).is_none());
        assert!(pool.copy(&HEADER, &[1; 200]).is_none());
        assert_eq!(room.bytes(), &[9; 60_000][..]);
        pool.release(held);
        assert!(pool.keep(&mut room).is_some());
    }

    #[test]
    fn turns_free_memory_of_one_size_into_another() {
        let mut pool = Pool::new(SUPERFRAME_BYTES);
        let short: Vec<_> = core::iter::from_fn(|| pool.copy(&HEADER, &[1; 200])).collect();
        assert_eq!(short.len(), SUPERFRAME_BYTES / 512);
        assert!(pool.copy(&HEADER, &[1; 1_000]).is_none() && !pool.lend(1_000));
        short.into_iter().for_each(|frame| pool.release(frame));
        assert!(pool.lend(20_000));
        assert!(pool.keep(&mut room(60_000, 1)).is_none());
        pool.redeem(20_000);
        assert!(pool.keep(&mut room(60_000, 1)).is_some());
        assert!(pool.allocated <= SUPERFRAME_BYTES);
    }
}
