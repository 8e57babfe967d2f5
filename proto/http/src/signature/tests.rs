use super::{Denied, Key, KeyError, Keys};
use crate::target::{Resource, Target};
use std::string::String;
use std::vec::Vec;

const NOW: u64 = 1_700_000_000;

fn keys(secrets: &[&str]) -> Keys {
    Keys::new(secrets.iter().map(|secret| Key::new(secret.as_bytes()).unwrap()).collect()).unwrap()
}

fn one_key() -> Keys {
    keys(&["0123456789abcdef"])
}

/// The path that a URL opens, by way of the target as a request has it.
fn opens(keys: &Keys, url: &str, now: u64) -> Result<Vec<u8>, Denied> {
    let Ok(Target::Resource(Resource { path, query })) = Target::parse(url.as_bytes()) else {
        panic!("{url}")
    };
    keys.check(&path, query, now).map(<[u8]>::to_vec)
}

/// Computed apart: `printf 'atlas-1\nfile\n1700000060\na.mp4' | openssl dgst -sha256 -hmac 0123456789abcdef -binary | basenc --base64url`.
#[test]
fn the_signature_is_the_documented_hmac() {
    let url = one_key().sign_file(b"a.mp4", NOW + 60).unwrap();
    assert_eq!(url, "/a.mp4?expires=1700000060&sig=L50MyMKMB3I2Cgr8N2XvLOQxau8CxFel3JP6MlEXAA4");
}

mod a_file_link {
    use super::*;

    #[test]
    fn opens_its_file_until_it_expires() {
        let keys = one_key();
        let url = keys.sign_file(b"films/a b.mp4", NOW + 60).unwrap();
        assert_eq!(opens(&keys, &url, NOW), Ok(b"films/a b.mp4".to_vec()));
        assert_eq!(opens(&keys, &url, NOW + 59), Ok(b"films/a b.mp4".to_vec()));
        assert_eq!(opens(&keys, &url, NOW + 60), Err(Denied::Expired));
    }

    #[test]
    fn opens_nothing_else() {
        let keys = one_key();
        let url = keys.sign_file(b"films/a.mp4", NOW + 60).unwrap();
        assert_eq!(opens(&keys, &url.replace("a.mp4", "b.mp4"), NOW), Err(Denied::Wrong));
        assert_eq!(opens(&keys, &url.replace("170000006", "180000006"), NOW), Err(Denied::Wrong));
        // Nor a directory, by calling itself a prefix.
        for count in 0..3 {
            let url = std::format!("{url}&prefix={count}");
            assert_eq!(opens(&keys, &url, NOW), Err(Denied::Wrong));
        }
    }

    #[test]
    fn does_not_open_with_any_bit_of_its_signature_changed() {
        let keys = one_key();
        let url = keys.sign_file(b"a", NOW + 60).unwrap();
        let start = url.find("sig=").unwrap() + 4;
        for at in start..url.len() {
            for bit in 0..7 {
                let mut bytes = url.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                if !bytes[at].is_ascii_alphanumeric() && !b"-_".contains(&bytes[at]) {
                    continue;
                }
                let changed = String::from_utf8(bytes).unwrap();
                assert!(opens(&keys, &changed, NOW).is_err(), "{changed}");
            }
        }
    }

    #[test]
    fn without_its_parts_is_missing_or_malformed() {
        let keys = one_key();
        let url = keys.sign_file(b"a", NOW + 60).unwrap();
        let signature = &url[url.find("sig=").unwrap()..];
        for (url, denied) in [
            ("/a", Denied::Missing),
            ("/a?expires=1700000060", Denied::Missing),
            (&std::format!("/a?{signature}"), Denied::Malformed),
            (&std::format!("/a?expires=x&{signature}"), Denied::Malformed),
            (&std::format!("/a?expires=1700000060&{signature}A"), Denied::Malformed),
            ("/a?expires=1700000060&sig=", Denied::Malformed),
            ("/a?expires=1700000060&sig=!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!", Denied::Malformed),
        ] {
            assert_eq!(opens(&keys, url, NOW), Err(denied), "{url}");
        }
    }
}

mod a_directory_link {
    use super::*;

    #[test]
    fn opens_everything_below_and_nothing_beside() {
        let keys = one_key();
        for url in [
            keys.sign_directory_of(b"films/a/master.m3u8", NOW + 60).unwrap(),
            keys.sign_directory_of_in_query(b"films/a/master.m3u8", NOW + 60).unwrap(),
        ] {
            assert_eq!(opens(&keys, &url, NOW), Ok(b"films/a/master.m3u8".to_vec()), "{url}");
            let below = url.replace("master.m3u8", "720p/seg-1.m4s");
            assert_eq!(opens(&keys, &below, NOW), Ok(b"films/a/720p/seg-1.m4s".to_vec()));
            let beside = url.replace("films/a/", "films/b/");
            assert_eq!(opens(&keys, &beside, NOW), Err(Denied::Wrong));
            let above = url.replace("films/a/master.m3u8", "films/other.mp4");
            assert_eq!(opens(&keys, &above, NOW), Err(Denied::Wrong));
            assert_eq!(opens(&keys, &url, NOW + 60), Err(Denied::Expired));
        }
    }

    #[test]
    fn of_the_root_opens_everything() {
        let keys = one_key();
        let url = keys.sign_directory_of(b"a.m3u8", NOW + 60).unwrap();
        assert_eq!(opens(&keys, &url.replace("a.m3u8", "x/y/z"), NOW), Ok(b"x/y/z".to_vec()));
    }

    #[test]
    fn is_no_wider_by_another_count() {
        let keys = one_key();
        let url = keys.sign_directory_of(b"films/a/m", NOW + 60).unwrap();
        for count in ["0", "1", "3", "18446744073709551615", "-1", ""] {
            assert!(opens(&keys, &url.replace("/2/", &std::format!("/{count}/")), NOW).is_err());
        }
    }

    #[test]
    fn without_its_parts_is_malformed() {
        for path in ["/.signed/", "/.signed/1", "/.signed/1/2/3/a", "/.signed/1/2/3"] {
            assert_eq!(opens(&one_key(), path, NOW), Err(Denied::Malformed), "{path}");
        }
    }
}

mod keys_that_rotate {
    use super::*;

    #[test]
    fn open_what_any_of_them_signed() {
        let old = keys(&["an old key, still good"]);
        let both = keys(&["a new key, which signs", "an old key, still good"]);
        let url = old.sign_file(b"a", NOW + 60).unwrap();
        assert!(opens(&both, &url, NOW).is_ok());
        assert_eq!(opens(&keys(&["a new key, which signs"]), &url, NOW), Err(Denied::Wrong));
    }

    #[test]
    fn sign_with_the_first() {
        let both = keys(&["a new key, which signs", "an old key, still good"]);
        assert!(
            opens(&keys(&["a new key, which signs"]), &both.sign_file(b"a", NOW + 60).unwrap(), NOW).is_ok()
        );
    }

    #[test]
    fn are_neither_short_nor_many() {
        assert_eq!(Key::new(b"short").err(), Some(KeyError::Short { bytes: 5 }));
        let key = Key::new(b"0123456789abcdef").unwrap();
        assert_eq!(Keys::new(std::vec![key; 5]).err(), Some(KeyError::Many { count: 5 }));
    }

    #[test]
    fn do_not_show_themselves() {
        assert!(!std::format!("{:?}", one_key()).contains("0123"));
    }
}

mod no_key {
    use super::*;

    #[test]
    fn needs_no_signature_and_makes_none() {
        let none = Keys::default();
        assert_eq!(opens(&none, "/a?sig=x", NOW), Ok(b"a".to_vec()));
        assert_eq!(none.sign_file(b"a", NOW), None);
    }

    #[test]
    fn still_takes_the_signature_out_of_a_path() {
        let url = one_key().sign_directory_of(b"a/b", NOW + 60).unwrap();
        assert_eq!(opens(&Keys::default(), &url, NOW), Ok(b"a/b".to_vec()));
    }
}
