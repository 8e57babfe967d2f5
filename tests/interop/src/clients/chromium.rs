//! Chromium: the page as a person sees it, driven over the DevTools protocol.

use crate::harness::content::{artefacts, example_video};
use crate::harness::process::Running;
use crate::harness::{Library, Namespace, PATIENCE, Process, Server};
use core::time::Duration;
use serde_json::{Value, json};
use std::time::Instant;

/// A browser with one page. It speaks on two pipes: messages are JSON, each ends with a zero byte.
#[derive(Debug)]
struct Browser {
    running: Running,
    read: usize,
    number: u64,
    session: Option<String>,
    /// Console messages, exceptions and failed requests: what a developer would look at.
    complaints: Vec<String>,
    _profile: Library,
}

impl Browser {
    fn open() -> Self {
        let profile = Library::empty();
        // The protocol wants descriptors 3 and 4; a shell moves our pipes there.
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--mute-audio",
            "--ignore-certificate-errors",
            "--autoplay-policy=no-user-gesture-required",
            "--window-size=1280,900",
            "--remote-debugging-pipe",
        ];
        let running = Process::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null 1>&2", "sh"])
            .args(flags)
            .arg(format!("--user-data-dir={}", profile.root().display()))
            .arg("about:blank")
            .env("HOME", profile.root())
            .start();
        let mut browser =
            Self { running, read: 0, number: 0, session: None, complaints: Vec::new(), _profile: profile };
        let targets = browser.call("Target.getTargets", &json!({}));
        let page = targets["targetInfos"]
            .as_array()
            .and_then(|targets| targets.iter().find(|target| target["type"] == "page"))
            .unwrap_or_else(|| panic!("a browser without a page: {targets}"));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Network.enable", "Log.enable"] {
            browser.call(domain, &json!({}));
        }
        browser
    }

    /// Calls a method and waits for its answer.
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.running.write(&bytes);
        let started = Instant::now();
        loop {
            while let Some(message) = self.message() {
                if message["id"] == json!(self.number) {
                    assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                    return message["result"].clone();
                }
                self.notice(&message);
            }
            assert!(started.elapsed() < PATIENCE, "no answer to {method}; {}", self.running.stderr());
            assert!(!self.running.has_ended(), "chromium ended: {}", self.running.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The next whole message, if there is one.
    fn message(&mut self) -> Option<Value> {
        let stdout = self.running.stdout();
        let rest = &stdout[self.read..];
        let end = rest.iter().position(|byte| *byte == 0)?;
        self.read += end + 1;
        Some(serde_json::from_slice(&rest[..end]).expect("DevTools speaks JSON"))
    }

    fn notice(&mut self, event: &Value) {
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
            Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
            Some("Network.loadingFailed") => event["params"]["canceled"] != json!(true),
            _ => false,
        };
        if complaint {
            self.complaints.push(event["params"].to_string());
        }
    }

    fn navigate(&mut self, url: &str) {
        let result = self.call("Page.navigate", &json!({ "url": url }));
        assert!(result["errorText"].is_null(), "{url}: {result}");
        self.until("document.readyState === 'complete'");
    }

    /// The value of an expression in the page.
    fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true
        });
        let result = self.call("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression holds.
    fn until(&mut self, expression: &str) {
        let started = Instant::now();
        while self.evaluate(expression) != json!(true) {
            if started.elapsed() > PATIENCE {
                self.screenshot("chromium-failed");
                let state = self.evaluate(
                    "JSON.stringify({ text: document.body.innerText.slice(0, 2000), \
                     video: [...document.querySelectorAll('video')].map(v => ({ t: v.currentTime, r: v.readyState, \
                     p: v.paused, e: v.error && v.error.message })) })",
                );
                panic!("never true: {expression}\n{state}\n{:#?}", self.complaints);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Keeps a picture of the page.
    fn screenshot(&mut self, name: &str) {
        let picture = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let bytes = base64(picture["data"].as_str().unwrap_or_default());
        assert!(bytes.starts_with(b"\x89PNG"), "a picture");
        std::fs::write(artefacts().join(format!("{name}.png")), bytes).expect("a file of ours");
    }
}

#[test]
#[ignore = "needs root"]
fn the_page_lists_the_catalogue_and_plays_it() {
    let _namespace = Namespace::enter();
    let server = Server::start(example_video(), &[]);
    let mut browser = Browser::open();
    for (scheme, base) in [("http", server.http()), ("https", server.https())] {
        browser.navigate(&format!("{base}/"));
        browser.until("!!document.querySelector('#list a[href*=\"master.m3u8\"]')");
        browser.screenshot(&format!("chromium-catalogue-{scheme}"));
        // As a person would: press what stands for the stream, and it plays.
        browser.evaluate("document.querySelector('#list a[href*=\"master.m3u8\"]').click()");
        browser.until("document.querySelector('video').currentTime > 2");
        browser.screenshot(&format!("chromium-playing-{scheme}"));
        // It shows pictures, and forward and backward are places like any other.
        browser.until("document.querySelector('video').videoWidth > 0");
        for place in [15.5, 4.2] {
            browser.evaluate(&format!("document.querySelector('video').currentTime = {place}"));
            browser.until(&format!(
                "(v => !v.seeking && v.currentTime > {place} + 0.5)(document.querySelector('video'))"
            ));
        }
        let frames =
            browser.evaluate("document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames");
        assert!(frames.as_u64().is_some_and(|frames| frames > 25), "{frames} frames were shown");
        assert_eq!(browser.evaluate("document.querySelector('video').error === null"), json!(true));
    }
    let complaints: Vec<&String> =
        browser.complaints.iter().filter(|text| !text.contains("favicon")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Decodes what DevTools encodes: RFC 4648 §4, padded, without line breaks.
fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let word = group.iter().fold(0_u32, |word, byte| word << 6 | u32::from(value(*byte)));
        let word = word << (6 * (4 - group.len()));
        bytes.extend_from_slice(&word.to_be_bytes()[1..group.len()]);
    }
    bytes
}

#[test]
fn base64_is_that_of_rfc_4648() {
    for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
        assert_eq!(base64(text), bytes.as_bytes(), "RFC 4648 §10");
    }
}
