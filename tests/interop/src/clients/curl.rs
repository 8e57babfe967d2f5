//! curl: HTTP/1.1 and TLS as the world's favourite client speaks them.

use crate::harness::content::SIZES;
use crate::harness::process::Output;
use crate::harness::{Process, World, assert_same, eventually};
use std::path::Path;

fn curl(arguments: &[&str]) -> Output {
    // No configuration file of the user, no proxy, no progress, any certificate.
    Process::new("curl")
        .args(["--disable", "--noproxy", "*", "--silent", "--show-error", "--insecure", "--max-time", "50"])
        .args(arguments)
        .run()
}

fn download(url: &str, arguments: &[&str]) -> Vec<u8> {
    curl(&[&["--fail"], arguments, &[url]].concat()).success().stdout
}

#[test]
#[ignore = "needs root"]
fn files_of_every_size_arrive_byte_for_byte() {
    let world = World::new();
    for size in SIZES {
        let name = format!("{size}.bin");
        for base in [world.server.http(), world.server.https(), world.server.http6(), world.server.https6()] {
            let url = format!("{base}/{name}");
            assert_same(&url, &download(&url, &[]), &world.files.read(&name));
        }
    }
}

#[test]
#[ignore = "needs root"]
fn every_version_and_suite_carries_a_file() {
    let world = World::new();
    let name = "1048583.bin";
    let url = format!("{}/{name}", world.server.https());
    let tls13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    let tls12 = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"];
    for suite in tls13 {
        let output = curl(&["--verbose", "--tlsv1.3", "--tls13-ciphers", suite, "--fail", &url]).success();
        assert!(output.stderr.contains(&format!("TLSv1.3 / {suite}")), "{suite}: {}", output.stderr);
        assert_same(suite, &output.stdout, &world.files.read(name));
    }
    for suite in tls12 {
        // Whichever key the certificate has.
        let names = format!("ECDHE-ECDSA-{suite}:ECDHE-RSA-{suite}");
        let output = curl(&["--verbose", "--tls-max", "1.2", "--ciphers", &names, "--fail", &url]).success();
        assert!(output.stderr.contains("TLSv1.2 / ECDHE-"), "{suite}: {}", output.stderr);
        assert!(output.stderr.contains(suite), "{suite}: {}", output.stderr);
        assert_same(suite, &output.stdout, &world.files.read(name));
    }
}

#[test]
#[ignore = "needs root"]
fn the_server_prefers_aes_128() {
    let world = World::new();
    let output = curl(&["--verbose", "--fail", &format!("{}/1.bin", world.server.https())]).success();
    assert!(output.stderr.contains("TLSv1.3 / TLS_AES_128_GCM_SHA256"), "{}", output.stderr);
}

#[test]
#[ignore = "needs root"]
fn a_connection_carries_one_request_after_the_other() {
    let world = World::new();
    for base in [world.server.http(), world.server.https()] {
        let urls = ["4096.bin", "0.bin", "300000.bin", "1.bin"].map(|name| format!("{base}/{name}"));
        let mut arguments = vec!["--fail", "--write-out", "%{stderr}%{num_connects}\\n"];
        arguments.extend(urls.iter().map(String::as_str));
        let output = curl(&arguments).success();
        assert_eq!(output.stderr.lines().collect::<Vec<_>>(), ["1", "0", "0", "0"], "{base}");
        let expected =
            ["4096.bin", "0.bin", "300000.bin", "1.bin"].map(|name| world.files.read(name)).concat();
        assert_same(base, &output.stdout, &expected);
    }
}

#[test]
#[ignore = "needs root"]
fn a_range_is_exactly_the_bytes_asked_for() {
    let world = World::new();
    let file = world.files.read("300000.bin");
    let last = file.len() - 1;
    let ranges = [
        ("0-0", 0..=0),
        ("1-16384", 1..=16_384),
        ("511-512", 511..=512),
        ("16383-16385", 16_383..=16_385),
        ("100000-199999", 100_000..=199_999),
        ("299999-", last..=last),
        ("12345-", 12_345..=last),
        ("5-999999999", 5..=last),
        ("-1", last..=last),
        ("-70001", file.len() - 70_001..=last),
        ("-999999999", 0..=last),
    ];
    for base in [world.server.http(), world.server.https()] {
        let url = format!("{base}/300000.bin");
        for (range, expected) in &ranges {
            let output =
                curl(&["--fail", "--range", range, "--write-out", "%{stderr}%{http_code}", &url]).success();
            assert_eq!(output.stderr, "206", "{range}");
            assert_same(range, &output.stdout, &file[expected.clone()]);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn a_range_beyond_the_end_is_416_with_the_length() {
    let world = World::new();
    let url = format!("{}/512.bin", world.server.http());
    let output = curl(&["--range", "512-", "--dump-header", "-", "--output", "/dev/null", &url]).success();
    let head = output.stdout_text().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 416 "), "{head}");
    assert!(head.contains("content-range: bytes */512"), "{head}");
}

#[test]
#[ignore = "needs root"]
fn an_interrupted_download_is_resumed() {
    let world = World::new();
    let file = world.files.read("1048583.bin");
    for (base, have) in [(world.server.http(), 700_001), (world.server.https(), 16_384)] {
        let partial = world.files.beside("partial.bin");
        std::fs::write(&partial, &file[..have]).expect("a file of ours");
        let url = format!("{base}/1048583.bin");
        curl(&["--fail", "--continue-at", "-", "--output", path(&partial), &url]).success();
        assert_same(base, &std::fs::read(&partial).expect("a file of ours"), &file);
    }
}

#[test]
#[ignore = "needs root"]
fn head_has_the_headers_of_get_and_no_body() {
    let world = World::new();
    let url = format!("{}/300000.bin", world.server.https());
    let varying = |line: &&str| !line.to_ascii_lowercase().starts_with("date:");
    let head = curl(&["--fail", "--head", &url]).success().stdout_text();
    let get = curl(&["--fail", "--dump-header", "-", "--output", "/dev/null", &url]).success().stdout_text();
    assert!(head.to_ascii_lowercase().contains("content-length: 300000"), "{head}");
    assert_eq!(
        head.lines().filter(varying).collect::<Vec<_>>(),
        get.lines().filter(varying).collect::<Vec<_>>()
    );
}

#[test]
#[ignore = "needs root"]
fn what_has_not_changed_is_not_sent_again() {
    let world = World::new();
    let url = format!("{}/65536.bin", world.server.http());
    let (etag, body) = (world.files.beside("etag"), world.files.beside("body"));
    let code = |arguments: &[&str]| {
        let common = ["--output", path(&body), "--write-out", "%{http_code}", &url];
        curl(&[arguments, &common].concat()).success().stdout_text()
    };
    assert_eq!(code(&["--etag-save", path(&etag)]), "200");
    assert_same(
        "the first time",
        &std::fs::read(&body).expect("a file of ours"),
        &world.files.read("65536.bin"),
    );
    assert_eq!(code(&["--etag-compare", path(&etag)]), "304");
    assert_eq!(code(&["--time-cond", "Fri, 01 Jan 2100 00:00:00 GMT"]), "304");
    assert_eq!(code(&["--time-cond", "Thu, 01 Jan 1970 00:00:01 GMT"]), "200");
    assert_eq!(code(&["--header", "If-Match: \"never\""]), "412");

    world.files.write("65536.bin", b"something else");
    // A look at a name is believed for a second.
    eventually("the change is seen", || code(&["--etag-compare", path(&etag)]) == "200");
    assert_same("after a change", &std::fs::read(&body).expect("a file of ours"), b"something else");
}

#[test]
#[ignore = "needs root"]
fn a_preflight_allows_what_players_send() {
    let world = World::new();
    let url = format!("{}/300000.bin", world.server.https());
    let head = curl(&[
        "--fail",
        "--request",
        "OPTIONS",
        "--header",
        "Origin: https://player.example",
        "--header",
        "Access-Control-Request-Method: GET",
        "--header",
        "Access-Control-Request-Headers: range, cmcd-request",
        "--dump-header",
        "-",
        "--output",
        "/dev/null",
        &url,
    ])
    .success()
    .stdout_text()
    .to_ascii_lowercase();
    for wanted in [
        "access-control-allow-origin:",
        "access-control-allow-methods:",
        "range",
        "cmcd-request",
        "access-control-max-age:",
    ] {
        assert!(head.contains(wanted), "{wanted} is missing in {head}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_hundred_downloads_at_once_are_all_exact() {
    let world = World::new();
    let file = world.files.read("1048583.bin");
    let place = world.files.beside("many");
    std::fs::create_dir_all(&place).expect("a directory of ours");
    for base in [world.server.http(), world.server.https()] {
        let url = format!("{base}/1048583.bin?copy=[1-100]");
        let pattern = format!("{}/#1", place.display());
        curl(&[
            "--fail",
            "--parallel",
            "--parallel-immediate",
            "--parallel-max",
            "100",
            "--output",
            &pattern,
            &url,
        ])
        .success();
        for number in 1..=100 {
            let received = std::fs::read(place.join(number.to_string())).expect("curl wrote it");
            assert_same(&format!("{base}, copy {number}"), &received, &file);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn a_large_file_arrives_whole() {
    let world = World::new();
    let file = world.files.add("large.bin", (96 << 20) + 77);
    world.learns("large.bin");
    for base in [world.server.http(), world.server.https()] {
        assert_same(base, &download(&format!("{base}/large.bin"), &[]), &file);
    }
}

#[test]
#[ignore = "needs root"]
fn a_missing_file_is_404_and_the_connection_lives() {
    let world = World::new();
    let base = world.server.http();
    let output = curl(&[
        "--write-out",
        "%{stderr}%{http_code} %{num_connects}\\n",
        "--output",
        "/dev/null",
        &format!("{base}/nothing-here"),
        "--output",
        "/dev/null",
        &format!("{base}/1.bin"),
    ])
    .success();
    assert_eq!(output.stderr.lines().collect::<Vec<_>>(), ["404 1", "200 0"]);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("our own paths are text")
}
