use super::*;

const HEADER: [u8; HEADER_BYTES] = [0; HEADER_BYTES];

fn room() -> Box<[u8]> {
    vec![7; ROOM_BYTES].into()
}

mod a_pool {
    use super::*;

    #[test]
    fn copies_a_small_frame_and_leaves_the_room_where_it_was() {
        let (mut pool, mut room) = (Pool::new(Pool::BYTES_MIN), room());
        let before = room.as_ptr();
        let frame = pool.keep(&mut room, 100).unwrap();
        assert_eq!((frame.bytes(), frame.ethernet().len()), (&[7; 100][..], 90));
        assert_eq!((room.as_ptr(), pool.used()), (before, (512, 512)));
    }

    #[test]
    fn keeps_the_memory_of_a_superframe_instead_of_copying_it() {
        let (mut pool, mut room) = (Pool::new(Pool::BYTES_MIN), room());
        let before = room.as_ptr();
        let frame = pool.keep(&mut room, 60_000).unwrap();
        assert_eq!(frame.bytes().as_ptr(), before);
        assert_eq!((frame.bytes().len(), room.len()), (60_000, ROOM_BYTES));
    }

    #[test]
    fn hands_out_the_memory_that_came_back_last() {
        let mut pool = Pool::new(Pool::BYTES_MIN);
        let frame = pool.copy(&HEADER, &[1; 1_000]).unwrap();
        let memory = frame.bytes().as_ptr();
        pool.release(frame);
        assert_eq!(pool.copy(&HEADER, &[2; 1_500]).unwrap().bytes().as_ptr(), memory);
        assert_eq!(pool.used(), (2_048, 2_048));
    }
}

mod a_pool_that_is_used_up {
    use super::*;

    #[test]
    fn refuses_and_leaves_the_frame_in_its_room() {
        let (mut pool, mut room) = (Pool::new(ROOM_BYTES), room());
        let held = pool.keep(&mut room, ROOM_BYTES).unwrap();
        room.fill(9);
        assert!(pool.keep(&mut room, ROOM_BYTES).is_none());
        assert!(pool.copy(&HEADER, &[1]).is_none());
        assert_eq!(room[..], [9; ROOM_BYTES]);
        pool.release(held);
        assert!(pool.keep(&mut room, ROOM_BYTES).is_some());
    }

    #[test]
    fn turns_free_memory_of_one_size_into_another() {
        let mut pool = Pool::new(ROOM_BYTES);
        let small: Vec<_> = core::iter::from_fn(|| pool.copy(&HEADER, &[1])).collect();
        assert_eq!(small.len(), ROOM_BYTES / 512);
        assert!(pool.copy(&HEADER, &[1; 1_000]).is_none());
        small.into_iter().for_each(|frame| pool.release(frame));
        assert!(pool.keep(&mut room(), ROOM_BYTES).is_some());
        assert!(pool.allocated <= ROOM_BYTES);
    }
}
