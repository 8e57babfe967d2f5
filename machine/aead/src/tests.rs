use tls::{
    Alert, ContentType, ExpandedKeys, KeyUpdateRequest, Message, OpenError, Opener, Role, Scratch, SealError,
    Sealer, TrafficKeys, Version,
};

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

struct Vector {
    suite: Suite,
    key: &'static str,
    nonce: &'static str,
    aad: &'static str,
    plaintext: &'static str,
    ciphertext: &'static str,
    tag: &'static str,
}

/// McGrew and Viega, *The Galois/Counter Mode of Operation*, test cases 4 and 16; RFC 8439 §2.8.2.
const VECTORS: [Vector; 3] = [
    Vector {
        suite: Suite::Aes128Gcm,
        key: "feffe9928665731c6d6a8f9467308308",
        nonce: "cafebabefacedbaddecaf888",
        aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        plaintext: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                    1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        ciphertext: "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
                     21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
        tag: "5bc94fbc3221a5db94fae95ae7121a47",
    },
    Vector {
        suite: Suite::Aes256Gcm,
        key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        nonce: "cafebabefacedbaddecaf888",
        aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        plaintext: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                    1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        ciphertext: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
                     8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        tag: "76fc6ece0f4e1768cddf8853bb2d551b",
    },
    Vector {
        suite: Suite::Chacha20Poly1305,
        key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
        nonce: "070000004041424344454647",
        aad: "50515253c0c1c2c3c4c5c6c7",
        plaintext: "4c616469657320616e642047656e746c656d656e206f662074686520636c6173
                    73206f66202739393a204966204920636f756c64206f6666657220796f75206f
                    6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73
                    637265656e20776f756c642062652069742e",
        ciphertext: "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
                     3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
                     92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
                     3ff4def08e4b7a9de576d26586cec64b6116",
        tag: "1ae10b594f09e26a7e902ecbd0600691",
    },
];

#[test]
fn published_vectors_are_sealed_and_opened_wherever_the_extra_input_begins() {
    for vector in &VECTORS {
        let key = AwsLc::key(vector.suite, &hex(vector.key));
        let nonce: Nonce = hex(vector.nonce).try_into().unwrap();
        let (aad, plaintext) = (hex(vector.aad), hex(vector.plaintext));
        let sealed = [hex(vector.ciphertext), hex(vector.tag)].concat();
        // Every split of the plaintext into what lies in place and what is put behind it is the same message.
        for extra_bytes in 0..plaintext.len() {
            let split = plaintext.len() - extra_bytes;
            let mut in_place = plaintext[..split].to_vec();
            let mut extra_out_and_tag = vec![0; extra_bytes + TAG_BYTES];
            AwsLc::seal(&key, &nonce, &aad, &mut in_place, &plaintext[split..], &mut extra_out_and_tag);
            assert_eq!([in_place, extra_out_and_tag].concat(), sealed, "{:?}", vector.suite);

            let (mut out, mut extra_out_and_tag) = (vec![0xee; split], vec![0xee; extra_bytes + TAG_BYTES]);
            let (front, behind) = plaintext.split_at(split);
            AwsLc::seal_separate(&key, &nonce, &aad, front, &mut out, behind, &mut extra_out_and_tag);
            assert_eq!([out, extra_out_and_tag].concat(), sealed, "{:?}, out of place", vector.suite);
        }
        let mut opened = sealed.clone();
        assert_eq!(AwsLc::open(&key, &nonce, &aad, &mut opened), Ok(plaintext.len()));
        assert_eq!(opened[..plaintext.len()], plaintext);
        for bit in 0..sealed.len() * 8 {
            let mut broken = sealed.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(AwsLc::open(&key, &nonce, &aad, &mut broken), Err(BadRecord));
        }
        assert_eq!(AwsLc::open(&key, &nonce, &aad[1..], &mut sealed.clone()), Err(BadRecord));
        assert_eq!(AwsLc::open(&key, &nonce, &aad, &mut []), Err(BadRecord));
    }
}

#[test]
fn hkdf_expands_as_in_rfc5869_appendix_a1() {
    let prk = hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    let mut okm = [0; 42];
    AwsLc::hkdf_expand(Suite::Aes128Gcm, &prk, &hex("f0f1f2f3f4f5f6f7f8f9"), &mut okm);
    let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(okm.to_vec(), hex(expected));
}

/// RFC 8448 §3, "Simple 1-RTT Handshake": what either side sends once the handshake is done.
mod rfc8448 {
    use super::*;

    const CLIENT_SECRET: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
    const SERVER_SECRET: &str = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
    const CLIENT_DATA: &str =
        "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b39
        5bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4";
    const SERVER_DATA: &str =
        "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6df
        fc602dcb501a59a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d";
    const CLIENT_CLOSE: &str = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3";
    const SERVER_CLOSE: &str = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9";

    fn keys(secret: &str) -> TrafficKeys {
        TrafficKeys::tls13::<AwsLc>(Suite::Aes128Gcm, &hex(secret)).unwrap()
    }

    #[test]
    fn our_records_are_its_records() {
        let payload: Vec<u8> = (0..50).collect();
        // The server has sent a ticket as its record 0.
        for (secret, number, data, close) in
            [(CLIENT_SECRET, 0, CLIENT_DATA, CLIENT_CLOSE), (SERVER_SECRET, 1, SERVER_DATA, SERVER_CLOSE)]
        {
            let mut cache = ExpandedKeys::<AwsLc>::new(8);
            let mut sealer = Sealer::new(keys(secret), number).unwrap();
            let mut frame = vec![0; 5 + 50 + 17];
            frame[5..55].copy_from_slice(&payload);
            let record = sealer.bind().unwrap();
            sealer.seal(&mut cache, record, ContentType::ApplicationData, &mut frame, 5..55).unwrap();
            assert_eq!(frame, hex(data));
            assert_eq!(sealer.seal_alert(&mut cache, Alert::CLOSE_NOTIFY).unwrap().as_bytes(), hex(close));
        }
    }

    #[test]
    fn its_records_open() {
        let mut cache = ExpandedKeys::<AwsLc>::new(8);
        let mut scratch = Scratch::new();
        let mut opener = Opener::new(Role::Server, keys(CLIENT_SECRET), 0);
        let stream = [hex(CLIENT_DATA), hex(CLIENT_CLOSE)].concat();
        let mut input = stream.as_slice();
        let payload: Vec<u8> = (0..50).collect();
        assert_eq!(opener.poll(&mut cache, &mut scratch, &mut input), Ok(Some(Message::Data(&payload))));
        assert_eq!(opener.poll(&mut cache, &mut scratch, &mut input), Ok(Some(Message::CloseNotify)));
    }
}

fn pair(version: Version, suite: Suite) -> (Sealer, Opener) {
    let keys = || match version {
        Version::Tls12 => TrafficKeys::tls12(suite, &[7; 32][..suite.key_bytes()], &[9; 12]),
        Version::Tls13 => TrafficKeys::tls13::<AwsLc>(suite, &[7; 48][..suite.hash().bytes()]),
    };
    (Sealer::new(keys().unwrap(), 0).unwrap(), Opener::new(Role::Server, keys().unwrap(), 0))
}

#[test]
fn full_records_travel_under_every_suite_and_version() {
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(tls::PLAINTEXT_BYTES_MAX).collect();
    for version in [Version::Tls12, Version::Tls13] {
        for suite in Suite::ALL {
            let mut cache = ExpandedKeys::<AwsLc>::new(8);
            let mut scratch = Scratch::new();
            let (mut sealer, mut opener) = pair(version, suite);
            let layout = sealer.layout();
            let range = layout.head_bytes..layout.head_bytes + payload.len();
            let mut frame = vec![0; layout.sealed_bytes(payload.len())];
            frame[range.clone()].copy_from_slice(&payload);
            let record = sealer.bind().unwrap();
            let sent = sealer
                .seal(&mut cache, record, ContentType::ApplicationData, &mut frame, range.clone())
                .unwrap();
            let first = frame.clone();
            let heard = opener.poll(&mut cache, &mut scratch, &mut frame.as_slice());
            assert_eq!(heard, Ok(Some(Message::Data(&payload))));

            frame[range.clone()].copy_from_slice(&payload);
            let reference = (sent.id, &sent.tag);
            sealer
                .reseal(&mut cache, reference, ContentType::ApplicationData, &mut frame, range.clone())
                .unwrap();
            assert_eq!(frame, first);

            frame[range.clone()].copy_from_slice(&payload);
            frame[range.start + 9999] ^= 1;
            let refused =
                sealer.reseal(&mut cache, reference, ContentType::ApplicationData, &mut frame, range);
            assert_eq!(refused, Err(SealError::PlaintextChanged));
        }
    }
}

#[test]
fn a_cache_smaller_than_the_connections_still_seals_for_each_under_its_own_key() {
    let mut cache = ExpandedKeys::<AwsLc>::new(8);
    let mut scratch = Scratch::new();
    let mut pairs: Vec<_> = (0..40).map(|n| pair(Version::Tls13, Suite::ALL[n % 3])).collect();
    for round in 0..3 {
        for (sealer, opener) in &mut pairs {
            let update = sealer.seal_key_update(&mut cache, KeyUpdateRequest::NotRequested).unwrap();
            let heard = opener.poll(&mut cache, &mut scratch, &mut update.as_bytes());
            assert_eq!(heard, Ok(Some(Message::KeyUpdate(KeyUpdateRequest::NotRequested))), "round {round}");
        }
    }
    let (mut sealer, _) = pair(Version::Tls13, Suite::Aes128Gcm);
    let stray = sealer.seal_alert(&mut cache, Alert::CLOSE_NOTIFY).unwrap();
    let heard = pairs[0].1.poll(&mut cache, &mut scratch, &mut stray.as_bytes());
    assert_eq!(heard, Err(OpenError::BadRecord), "a record of another connection");
}

#[test]
fn a_record_is_the_same_sealed_in_place_and_out_of_place_and_sealed_again() {
    for version in [Version::Tls12, Version::Tls13] {
        for suite in Suite::ALL {
            for bytes in [0, 1, 15, 16, 17, 255, 4_096, 16_383, tls::PLAINTEXT_BYTES_MAX] {
                let payload: Vec<u8> = (0..=u8::MAX).cycle().take(bytes).collect();
                let content = ContentType::ApplicationData;
                let mut cache = ExpandedKeys::<AwsLc>::new(8);
                let [(mut here, _), (mut there, mut opener)] = [pair(version, suite), pair(version, suite)];
                let layout = here.layout();
                let range = layout.head_bytes..layout.head_bytes + bytes;
                let mut frame = vec![0; layout.sealed_bytes(bytes)];
                frame[range.clone()].copy_from_slice(&payload);
                let record = here.bind().unwrap();
                let in_place = here.seal(&mut cache, record, content, &mut frame, range).unwrap();

                let mut out = vec![0xee; layout.sealed_bytes(bytes) + 3];
                let record = there.bind().unwrap();
                let sealed = there.seal_into(&mut cache, record, content, &payload, &mut out).unwrap();
                assert_eq!((&sealed, sealed.range.end), (&in_place, frame.len()));
                assert_eq!(out, [&frame[..], &[0xee; 3]].concat(), "{version:?} {suite:?} {bytes}");
                let mut scratch = Scratch::new();
                let heard = opener.poll(&mut cache, &mut scratch, &mut &out[..frame.len()]);
                if bytes > 0 {
                    assert_eq!(heard, Ok(Some(Message::Data(&payload))));
                }

                out.fill(0xee);
                let reference = (sealed.id, &sealed.tag);
                there.reseal_into(&mut cache, reference, content, &payload, &mut out).unwrap();
                assert_eq!(out, [&frame[..], &[0xee; 3]].concat());
            }
        }
    }
}
