//! ffmpeg and ffprobe: the stream as a player reads it, frame by frame.

use crate::harness::content::example_video;
use crate::harness::process::output;
use crate::harness::{Namespace, Process, Server, World};
use serde_json::Value;

/// The hash of every decoded frame of `input`, or of a second from a place on.
///
/// Streams are only played through: Debian 12's ffmpeg cannot seek in HLS with fragmented MP4, not even on disk.
fn frames(input: &str, from: Option<f64>) -> Vec<String> {
    let secure: &[&str] = if input.starts_with("https") { &["-tls_verify", "0"] } else { &[] };
    let (seek, length) = match from {
        Some(from) => (vec!["-ss".to_owned(), from.to_string()], &["-t", "1"][..]),
        None => (Vec::new(), &[][..]),
    };
    let text = output(
        Process::new("ffmpeg")
            .args(["-nostdin", "-loglevel", "error", "-xerror"])
            .args(secure)
            .args(seek)
            .args(["-i", input])
            .args(length)
            .args(["-map", "0:v:0", "-map", "0:a:0", "-f", "framemd5", "-"]),
    )
    .stdout_text();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root"]
fn ffprobe_reads_the_stream_over_https() {
    let _namespace = Namespace::enter();
    let server = Server::start(example_video(), &[]);
    let url = format!("{}/master.m3u8", server.https());
    let text = output(Process::new("ffprobe").args([
        "-loglevel",
        "error",
        "-tls_verify",
        "0",
        "-show_format",
        "-show_streams",
        "-of",
        "json",
        &url,
    ]))
    .stdout_text();
    let probe: Value = serde_json::from_str(&text).expect("ffprobe writes JSON");
    assert_eq!(probe["format"]["format_name"], "hls", "{text}");
    let duration: f64 =
        probe["format"]["duration"].as_str().and_then(|d| d.parse().ok()).expect("a duration");
    assert!(duration > 5.0, "{text}");
    let kinds: Vec<&str> = probe["streams"]
        .as_array()
        .expect("streams")
        .iter()
        .filter_map(|s| s["codec_type"].as_str())
        .collect();
    assert!(kinds.contains(&"video") && kinds.contains(&"audio"), "{kinds:?}");
}

#[test]
#[ignore = "needs root"]
fn the_stream_decodes_to_the_same_frames_as_its_files() {
    let _namespace = Namespace::enter();
    let video = example_video();
    let server = Server::start(&video, &[]);
    let local = frames(&video.join("master.m3u8").to_string_lossy(), None);
    assert!(local.len() > 100, "the example holds {} frames", local.len());
    for base in [server.http(), server.https()] {
        let remote = frames(&format!("{base}/master.m3u8"), None);
        assert!(remote == local, "{base}: {} frames, {} expected, or other ones", remote.len(), local.len());
    }
}

#[test]
#[ignore = "needs root"]
fn seeks_find_the_frames_that_are_there() {
    let world = World::new();
    let (video, single) = (example_video().join("master.m3u8"), world.files.root().join("single.mp4"));
    // One file whose index stands at its end: a player must ask for ranges to find it.
    output(
        Process::new("ffmpeg")
            .args(["-nostdin", "-loglevel", "error", "-i"])
            .arg(&video)
            .args(["-map", "0:v:0", "-map", "0:a:0", "-codec", "copy"])
            .arg(&single),
    );
    let local = single.to_string_lossy().into_owned();
    for from in [0.0, 3.3, 11.7, 7.0, 1.9] {
        let expected = frames(&local, Some(from));
        assert!(!expected.is_empty(), "frames at {from} s");
        for base in [world.server.http(), world.server.https()] {
            let found = frames(&format!("{base}/single.mp4"), Some(from));
            assert!(found == expected, "{base}: other frames at {from} s");
        }
    }
}
