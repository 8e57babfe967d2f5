//! One line and status 2 for every mistake.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests {
    use std::process::Command;

    fn refusal(arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_middlebox")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(output.stdout, b"");
        String::from_utf8(output.stderr).unwrap()
    }

    #[test]
    fn a_device_that_does_not_exist_is_named() {
        let line = refusal(&["--client", "no-such-a", "--server", "no-such-b"]);
        assert_eq!(line, "middlebox: there is no interface no-such-a: `ip link` lists those there are\n");
    }

    #[test]
    fn a_device_on_both_sides_is_refused_before_anything_is_opened() {
        let line = refusal(&["--client", "no-such-a", "--server", "no-such-a"]);
        assert_eq!(
            line,
            "middlebox: no-such-a is on both sides: --client and --server must be two devices\n"
        );
    }

    #[test]
    fn a_path_that_cannot_be_is_refused_before_anything_is_opened() {
        let line = refusal(&["--client", "no-such-a", "--server", "no-such-b", "--rate", "0gbit"]);
        assert!(line.starts_with("middlebox: a rate of zero") && line.lines().count() == 1, "{line}");
    }
}
