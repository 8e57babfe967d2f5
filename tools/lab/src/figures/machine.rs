//! What a measurement was made on.

use std::fs;

/// The machine in lines: what, and how it is.
#[must_use]
pub fn describe() -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut tell = |what: &str, how: Option<String>| {
        if let Some(how) = how.filter(|how| !how.is_empty()) {
            lines.push((what.to_owned(), how));
        }
    };
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    tell("processor", field(&cpuinfo, "model name"));
    let count = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    tell("logical processors", Some(count.to_string()));
    tell("last-level cache", last_level_cache());
    let virtual_by = cpuinfo.lines().any(|line| line.starts_with("flags") && line.contains(" hypervisor"));
    tell("virtual", Some(if virtual_by { "yes" } else { "no" }.to_owned()));
    tell("memory", read("/proc/meminfo").and_then(|text| field(&text, "MemTotal")));
    tell("kernel", read("/proc/sys/kernel/osrelease"));
    let release = read("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    tell("system", name.map(|name| name.trim_matches('"').to_owned()));
    tell("network devices", devices("/sys/class/net"));
    tell("NVMe controllers", Some(devices("/sys/class/nvme").unwrap_or_else(|| "none".to_owned())));
    tell("memory counters", Some(crate::uncore::describe()));
    lines
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The first `name : value` of a listing.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn last_level_cache() -> Option<String> {
    let index = |number| format!("/sys/devices/system/cpu/cpu0/cache/index{number}");
    (0..8).filter_map(|number| read(&format!("{}/size", index(number)))).next_back()
}

fn devices(directory: &str) -> Option<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "lo")
        .collect();
    names.sort();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_processor_and_a_kernel() {
        let lines = describe();
        let has = |what: &str| lines.iter().any(|(name, how)| name == what && !how.is_empty());
        assert!(has("logical processors") && has("kernel") && has("memory"), "{lines:?}");
    }
}
