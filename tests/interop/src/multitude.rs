//! Very many zones, and one that is very large: replaced under load, and what they weigh.

use crate::harness::process::output;
use crate::harness::server::IPV4;
use crate::harness::{Namespace, Process, Server, fresh_directory, namestorm};
use core::fmt::Write as _;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

const ZONES: u32 = 10_000;
const NAMES: u32 = 1_000_000;

/// Zone files, and the configuration that names them.
struct Farm(PathBuf);

impl Farm {
    fn new(zones: &[String]) -> Self {
        let farm = Self(fresh_directory(&std::env::temp_dir(), "namestorm-multitude"));
        let list: String = zones.iter().map(|zone| format!("  \"{zone}={zone}.zone\",\n")).collect();
        fs::write(farm.path("namestorm.toml"), format!("zone = [\n{list}]\n")).expect("a file of ours");
        farm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A zone whose `pair` ends in twice the serial, and one more.
    fn write(&self, zone: &str, serial: u32, rest: &str) -> u64 {
        let text = format!(
            "$TTL 300\n@ SOA ns hostmaster {serial} 3600 900 604800 300\n@ NS ns\nns A {IPV4}\n\
             pair A 192.0.2.{}\npair A 192.0.2.{}\n{rest}",
            serial * 2,
            serial * 2 + 1
        );
        // Written aside and moved over, as an editor does.
        let aside = self.path("aside");
        fs::write(&aside, &text).expect("a file of ours");
        fs::rename(aside, self.path(&format!("{zone}.zone"))).expect("a file of ours");
        text.len() as u64
    }

    fn serve(&self) -> Server {
        let address = format!("{IPV4}/24");
        let config = self.path("namestorm.toml");
        let process = namestorm()
            .args(["serve", "--admin", "127.0.0.1:9464", "--addr", &address, "--rate", "0", "--config"])
            .arg(config);
        Server::ready_for(process, &["dns://"])
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks for everything read again, and waits until it is in force.
fn reload() -> String {
    let curl = ["-s", "--fail", "--max-time", "100", "-X", "POST", "http://127.0.0.1:9464/reload"];
    output(Process::new("curl").args(curl)).stdout_text()
}

/// Names, and bytes in all, of a line `… N names in SIZE, M bytes a name`.
fn bytes_a_name(told: &str) -> (u64, u64) {
    let line = told.lines().find(|line| line.contains("bytes a name")).unwrap_or_else(|| panic!("{told}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    let before = |word: &str| {
        let at = words.iter().position(|found| *found == word).expect("the word");
        words[at - 1].parse().expect("a number")
    };
    (before("names"), before("bytes"))
}

/// Has the zones replaced, a few times over, while all of `questions`, each of which has two addresses, are asked again and
/// again. Returns the serials that were seen.
fn asked_while(questions: &str, farm: &Farm, mut replace: impl FnMut(u32)) -> BTreeSet<u32> {
    let batch = farm.path("batch");
    fs::write(&batch, questions).expect("a file of ours");
    let over = AtomicBool::new(false);
    let ask = || {
        let mut seen = BTreeSet::new();
        while !over.load(Ordering::Relaxed) {
            let at = format!("@{IPV4}");
            let dig = ["+tries=1", "+time=20", "+short", "+notcp", &at, "-f"];
            let text = output(Process::new("dig").args(dig).arg(&batch)).stdout_text();
            let ends = text.lines().map(|line| line.rsplit('.').next().and_then(|last| last.parse().ok()));
            let ends: Vec<u32> =
                ends.map(|last| last.unwrap_or_else(|| panic!("an address: {text}"))).collect();
            assert_eq!(ends.len(), 2 * questions.lines().count(), "every question has its answer");
            for pair in ends.chunks(2) {
                assert!(pair[0] / 2 == pair[1] / 2 && pair[0] != pair[1], "a mixture: {pair:?}");
            }
            seen.extend(ends.iter().map(|last| last / 2));
        }
        seen
    };
    std::thread::scope(|scope| {
        let asking = scope.spawn(ask);
        (2..=5).for_each(&mut replace);
        over.store(true, Ordering::Relaxed);
        asking.join().expect("every question has its answer")
    })
}

#[test]
#[ignore = "needs root"]
fn ten_thousand_zones_are_replaced_under_load_and_no_question_is_lost() {
    let _namespace = Namespace::enter();
    let zones: Vec<String> = (0..ZONES).map(|index| format!("z{index}.test")).collect();
    let farm = Farm::new(&zones);
    let rest: String = (0..5).map(|index| format!("n{index} A 192.0.2.{index}\n")).collect();
    let write_all = |serial: u32| zones.iter().map(|zone| farm.write(zone, serial, &rest)).sum::<u64>();
    let text_bytes = write_all(1);
    let mut server = farm.serve();
    let (names, bytes) = bytes_a_name(&server.stderr());
    assert_eq!(names, u64::from(ZONES) * 8, "the apex, ns, pair and five more of each");
    // A zone of ten records is mostly its SOA, which lies there in three forms.
    assert!(names * bytes < 6 * text_bytes, "{names} names of {bytes} bytes, {text_bytes} of text");

    let questions: String = (0..20_000_u32).fold(String::new(), |mut text, index| {
        let _ = writeln!(text, "pair.z{}.test A", index.wrapping_mul(7_919) % ZONES);
        text
    });
    let mut resident = Vec::new();
    let seen = asked_while(&questions, &farm, |serial| {
        write_all(serial);
        let told = reload();
        assert!(told.lines().count() < 10, "what is as it should be is no news: {told}");
        assert_eq!(bytes_a_name(&told).0, names, "{told}");
        resident.push(server.resident_bytes());
    });
    assert!(seen.len() > 1, "they were replaced under way: {seen:?}");
    // For a while all of them are there twice, and the allocator keeps what that took; but no more each time.
    let (second, last) = (resident[1], resident[resident.len() - 1]);
    assert!(last < second + names * bytes / 4, "after each reload: {resident:?}");

    // One of them changes: the others are not touched.
    farm.write(&zones[77], 120, &rest);
    reload();
    let dig = ["+short", "+tries=1", &format!("@{IPV4}"), "pair.z77.test", "A"];
    let answer = output(Process::new("dig").args(dig)).stdout_text();
    assert!(answer.contains("192.0.2.240") && answer.contains("192.0.2.241"), "{answer}");
    assert!(server.resident_bytes() < last + (4 << 20), "a zone of ten records takes next to nothing");
    server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn a_zone_of_a_million_names_is_replaced_under_load_and_others_are_answered_meanwhile() {
    let _namespace = Namespace::enter();
    let farm = Farm::new(&["large.test".to_owned(), "small.test".to_owned()]);
    let rest: String = (0..NAMES).fold(String::new(), |mut text, index| {
        let [_, b, c, d] = index.to_be_bytes();
        let _ = writeln!(text, "n{index} A 10.{b}.{c}.{d}");
        text
    });
    farm.write("small.test", 1, "");
    let text_bytes = farm.write("large.test", 1, &rest);
    let mut server = farm.serve();
    let (names, bytes) = bytes_a_name(&server.stderr());
    assert!(names > u64::from(NAMES) && names * bytes < 3 * text_bytes, "{names} names of {bytes} bytes");
    let at_first = server.resident_bytes();

    let questions = "pair.large.test A\npair.small.test A\n".repeat(15_000);
    let mut health = core::time::Duration::ZERO;
    let seen = asked_while(&questions, &farm, |serial| {
        farm.write("small.test", serial, "");
        farm.write("large.test", serial, &rest);
        let reloading = std::thread::spawn(|| {
            let began = std::time::Instant::now();
            (reload(), began.elapsed())
        });
        // Control answers while a million names are read.
        let (mut asked, mut longest) = (0, core::time::Duration::ZERO);
        while !reloading.is_finished() {
            let began = std::time::Instant::now();
            let curl = ["-s", "--fail", "-o", "/dev/null", "http://127.0.0.1:9464/healthz"];
            output(Process::new("curl").args(curl));
            (asked, longest) = (asked + 1, longest.max(began.elapsed()));
        }
        let (told, whole) = reloading.join().expect("it was reloaded");
        assert_eq!(bytes_a_name(&told).0, names, "{told}");
        assert!(asked > 1 && longest < whole, "{asked} times within {whole:?}, the longest {longest:?}");
        health = health.max(longest);
    });
    assert!(seen.len() > 1, "it was replaced under way: {seen:?}");
    let at_last = server.resident_bytes();
    assert!(at_last < at_first + 2 * names * bytes, "{at_first} bytes at first, {at_last} at last");
    let dig = ["+short", "+tries=1", &format!("@{IPV4}"), "n999999.large.test", "A"];
    assert_eq!(output(Process::new("dig").args(dig)).stdout_text(), "10.15.66.63\n");
    server.interrupt().success();
}
