//! `namestorm set`: what a running server thinks of its targets, and the operator's word about one.

use clap::Args;
use core::net::{Ipv4Addr, SocketAddr};
use host::look::AdminPort;
use host::values::AdminChoice;
use std::io::Write as _;

use crate::offline::Complaint;
use crate::serve::ADMIN_PORT;

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The target, as the table of --steering calls it; without one, all of them are listed
    target: Option<String>,
    /// Its share of clients, 0 for none, until the server is started again
    #[arg(long, value_name = "N", requires = "target")]
    weight: Option<u32>,
    /// It is well, whatever its checks say
    #[arg(long, requires = "target", conflicts_with_all = ["down", "auto"])]
    up: bool,
    /// It is not, whatever its checks say
    #[arg(long, requires = "target", conflicts_with = "auto")]
    down: bool,
    /// Its checks decide again
    #[arg(long, requires = "target")]
    auto: bool,
    #[command(flatten)]
    admin: AdminArgs,
    /// The list as JSON
    #[arg(long, conflicts_with = "target")]
    json: bool,
}

/// Where a running server is asked.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct AdminArgs {
    /// The server's admin port: PORT (on 127.0.0.1) or ADDRESS:PORT [default: 9466]
    #[arg(long, value_name = "WHERE")]
    admin: Option<AdminChoice>,
}

impl AdminArgs {
    /// The port; nothing when it was said to be off.
    pub(crate) fn port(self) -> Result<AdminPort, Complaint> {
        match self.admin {
            None => Ok(AdminPort(SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT)))),
            Some(AdminChoice::At(address)) => Ok(AdminPort(address)),
            Some(AdminChoice::Off) => Err("an admin port that is off cannot be asked".into()),
        }
    }
}

impl Set {
    pub(crate) fn run(self) -> Result<(), Complaint> {
        let port = self.admin.port()?;
        let mut out = std::io::stdout();
        let Some(target) = &self.target else {
            let body = port.ask("GET", "/steering")?;
            if self.json {
                out.write_all(&body)?;
            } else {
                writeln!(out, "{}", table(&body)?)?;
            }
            return Ok(());
        };
        let mut wish = format!("/set?target={}", escaped(target));
        if let Some(weight) = self.weight {
            wish.push_str(&format!("&weight={weight}"));
        }
        for (said, state) in [(self.up, "up"), (self.down, "down"), (self.auto, "auto")] {
            if said {
                wish.push_str(&format!("&state={state}"));
            }
        }
        let line = port.ask("POST", &wish)?;
        out.write_all(&line)?;
        Ok(())
    }
}

/// Everything but what names of targets are made of.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            byte => format!("%{byte:02x}"),
        })
        .collect()
}

/// A line for each target, in columns.
fn table(body: &[u8]) -> Result<String, Complaint> {
    let steering: serde_json::Value = serde_json::from_slice(body)?;
    let mut rows = vec![["TARGET", "STATE", "BY", "WEIGHT", "POOLS", "ADDRESSES", "LAST"].map(str::to_owned)];
    for target in steering["targets"].as_array().into_iter().flatten() {
        let text = |name: &str| target[name].as_str().unwrap_or_default().to_owned();
        let list = |name: &str| {
            let words = target[name].as_array().into_iter().flatten().filter_map(|word| word.as_str());
            words.collect::<Vec<_>>().join(",")
        };
        let by = if target["forced"] == "auto" { "checks" } else { "operator" };
        rows.push([
            text("target"),
            if target["up"] == true { "up" } else { "down" }.to_owned(),
            by.to_owned(),
            target["weight"].to_string(),
            list("pools"),
            list("addresses"),
            text("why"),
        ]);
    }
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect();
    let problems = steering["problems"].as_array().into_iter().flatten().filter_map(|line| line.as_str());
    lines.extend(problems.map(|line| format!("! {line}")));
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_stand_in_columns_and_problems_below() {
        let body = br#"{"targets": [
            {"target": "paris-1", "up": true, "forced": "auto", "weight": 3, "pools": ["paris"],
             "addresses": ["192.0.2.10", "2001:db8::10"], "why": "it answers 200"},
            {"target": "t", "up": false, "forced": "down", "weight": 0, "pools": [], "addresses": [], "why": ""}],
            "problems": ["x. is not steered: its zone is signed"]}"#;
        let shown = table(body).unwrap();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(
            lines[1],
            "paris-1  up     checks    3       paris  192.0.2.10,2001:db8::10  it answers 200"
        );
        assert_eq!(lines[2], "t        down   operator  0");
        assert_eq!(lines[3], "! x. is not steered: its zone is signed");
    }

    #[test]
    fn a_target_cannot_smuggle_a_parameter_in() {
        assert_eq!(escaped("a&state=up"), "a%26state%3dup");
    }
}
