//! A house with one wrong edge is refused, and the sentence names both ends.

use super::*;
use crate::workspace::Dependency;

fn package(name: &str, uses: &[(&str, Option<&str>)]) -> Package {
    let directory = room_of(name).map_or("elsewhere", |room| room.directory);
    Package {
        name: name.to_owned(),
        manifest_path: Path::new("/house").join(directory).join("Cargo.toml"),
        dependencies: uses
            .iter()
            .map(|(name, kind)| Dependency {
                name: (*name).to_owned(),
                kind: kind.map(str::to_owned),
                path: room_of(name).map(|room| Path::new("/house").join(room.directory)),
            })
            .collect(),
        ..Package::default()
    }
}

fn judge(packages: Vec<Package>) -> Vec<String> {
    let members = packages.into_iter().map(|package| (package.name.clone(), package)).collect();
    violations(Path::new("/house"), &members)
}

mod a_house_in_order {
    use super::*;

    #[test]
    fn is_left_in_peace() {
        let house = vec![
            package("clock", &[]),
            package("wire", &[("arrayvec", None)]),
            package("tcp", &[("wire", None), ("clock", None), ("proptest", Some("dev"))]),
            package("turn", &[("tcp", None), ("link-memory", Some("dev"))]),
        ];
        assert_eq!(judge(house), Vec::<String>::new());
    }
}

mod a_house_with_a_wrong_edge {
    use super::*;

    #[test]
    fn names_both_ends_of_an_upward_edge() {
        let found = judge(vec![package("wire", &[("tcp", None)])]);
        assert_eq!(found, ["wire: may not use tcp; it uses no room"]);
    }

    #[test]
    fn refuses_a_backend_in_the_engine() {
        let found = judge(vec![package("turn", &[("link-tap", None)])]);
        assert!(found[0].starts_with("turn: may not use link-tap"), "{found:?}");
    }

    #[test]
    fn refuses_in_code_what_it_allows_in_tests() {
        let found = judge(vec![package("turn", &[("disk-memory", None)])]);
        assert!(found[0].starts_with("turn: may not use disk-memory"), "{found:?}");
    }

    #[test]
    fn refuses_in_tests_what_no_line_allows() {
        let found = judge(vec![package("tcp", &[("turn", Some("dev"))])]);
        assert!(found[0].starts_with("tcp: may not in its tests use turn"), "{found:?}");
    }

    #[test]
    fn refuses_io_in_proto_and_engine_but_not_in_machine() {
        let found = judge(vec![
            package("http", &[("libc", None)]),
            package("stack", &[("tokio", None)]),
            package("dma", &[("libc", None)]),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("http: libc does I/O"), "{found:?}");
        assert!(found[1].starts_with("stack: tokio does I/O"), "{found:?}");
    }
}

mod a_package {
    use super::*;

    #[test]
    fn without_a_room_is_refused() {
        let found = judge(vec![package("utils", &[])]);
        assert!(found[0].starts_with("utils: a package without a room"), "{found:?}");
    }

    #[test]
    fn in_the_wrong_place_is_refused() {
        let mut tcp = package("tcp", &[]);
        tcp.manifest_path = "/house/engine/tcp/Cargo.toml".into();
        assert_eq!(judge(vec![tcp]), ["tcp: lies in engine/tcp, but its room is proto/tcp"]);
    }

    #[test]
    fn with_a_feature_that_changes_behaviour_is_refused() {
        let mut tcp = package("tcp", &[]);
        tcp.features.insert("testing".to_owned(), Vec::new());
        tcp.features.insert("default".to_owned(), Vec::new());
        assert_eq!(judge(vec![tcp.clone()]), Vec::<String>::new());
        tcp.features.insert("fast".to_owned(), Vec::new());
        assert_eq!(judge(vec![tcp]).len(), 1);
    }
}

mod the_table {
    use super::*;

    #[test]
    fn has_no_circle_and_names_only_rooms() {
        // A room may use only rooms above it: then no circle exists. The sim is the one that others exercise with.
        for (index, room) in ROOMS.iter().enumerate() {
            for used in room.uses.iter().filter(|used| **used != room.name) {
                let place = ROOMS.iter().position(|other| other.name == *used);
                assert!(
                    place.is_some_and(|place| place < index),
                    "{} uses {used}, which is not above it",
                    room.name
                );
            }
            for used in room.tests_use {
                assert!(room_of(used).is_some(), "the tests of {} use {used}, which is no room", room.name);
            }
        }
    }
}
