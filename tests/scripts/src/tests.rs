//! Every script beside this crate is played; and a script that lies is caught.

use crate::player::play;
use crate::script::{Misspelt, parse};
use std::path::Path;

#[test]
fn every_conversation_goes_as_it_is_written() {
    let mut files: Vec<_> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .expect("our own directory")
        .map(|entry| entry.expect("our own directory").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pkt"))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "the scripts are gone");
    let mut otherwise = Vec::new();
    for file in files {
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a script is text");
        assert!(text.starts_with("// RFC "), "{name} does not say what it is an example of");
        match parse(&text) {
            Ok(lines) => otherwise.extend(play(&lines).err().map(|error| format!("{name}, {error}"))),
            Err(error) => otherwise.push(format!("{name}, {error}")),
        }
    }
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
}

mod a_script_that_lies {
    use super::*;

    const OPENING: &str = "+0 < S 0:0 <mss 1000>\n+0 > S. 0:0 ack 1\n+0.1 < . 1:1 ack 1\n";

    fn said_of(rest: &str) -> String {
        let lines = parse(&format!("{OPENING}{rest}")).expect("well spelt");
        play(&lines).expect_err("it lies").to_string()
    }

    #[test]
    fn about_what_leaves_is_caught() {
        assert!(said_of("+0 write 100\n+0 > . 1:102 ack 1\n").contains("other numbers"));
        assert!(said_of("+0 write 100\n+0 > . 1:101 ack 2\n").contains("another acknowledgement"));
        assert!(said_of("+0 write 100\n+0 > F. 1:101 ack 1\n").contains("other flags"));
        assert!(said_of("+0 > . 1:1 ack 1\n").contains("nothing leaves"));
    }

    #[test]
    fn about_when_is_caught() {
        assert!(said_of("+0 write 100\n+0.1 > . 1:101 ack 1\n").contains("from its time"));
    }

    #[test]
    fn by_leaving_something_out_is_caught() {
        assert!(said_of("+0 write 100\n").contains("after the end"));
        assert!(said_of("+0 write 100\n+0 > nothing\n").contains("leaves"));
    }

    #[test]
    fn about_the_state_is_caught() {
        assert!(said_of("+0 state CLOSE-WAIT\n").contains("the state is established"));
        assert!(said_of("+0 delivered 1\n").contains("0 bytes were delivered"));
    }
}

mod a_misspelt_line {
    use super::*;

    #[test]
    fn is_named() {
        for line in
            ["+0 frobnicate", "+x write 1", "+0 < Q 0:0", "+0 < . 0:0 ack", "+0 < . 0:0 <mss>", "+0 < ."]
        {
            let misspelt = parse(&format!("// fine\n{line}\n")).expect_err(line);
            assert!(matches!(misspelt, Misspelt { line: 2, .. }), "{misspelt}");
        }
    }
}

mod a_conversation_of_dns {
    use super::Path;
    use crate::rpl::play;

    #[test]
    fn goes_as_it_is_written() {
        let mut files: Vec<_> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
            .expect("our own directory")
            .map(|entry| entry.expect("our own directory").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "rpl"))
            .collect();
        files.sort();
        assert!(files.len() >= 20, "the scripts are gone");
        let mut otherwise = Vec::new();
        for file in files {
            let name = file.file_name().expect("a file").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&file).expect("a script is text");
            assert!(text.starts_with("// RFC "), "{name} does not say what it is an example of");
            assert!(text.contains("\nquery "), "{name} asks nothing");
            otherwise.extend(play(&text).err().map(|error| format!("{name}\n{error}")));
        }
        assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
    }

    const ZONE: &str = "zone t.\n  @ 60 IN SOA a. b. 1 2 3 4 5\n  @ 60 IN NS ns.x.\n  w 60 IN A 192.0.2.1\n";

    #[test]
    fn that_lies_is_caught() {
        for (lie, why) in [
            ("query w.t. A\nNOERROR aa\n", "expected"),
            ("query w.t. A\nNOERROR\nanswer\n  w.t. 60 IN A 192.0.2.1\n", "instead of"),
            ("query w.t. A\nNOERROR aa\nanswer\n  w.t. 60 IN A 192.0.2.2\n", "expected"),
            ("query w.t. A\nNOERROR aa\nanswer\n  w.t. 60 IN A 192.0.2.1\nsize 30\n", "bytes"),
            ("query w.t. A\nNOERROR aa\nfoo\n", "not understood"),
            (
                "query w.t. A option 3 -\nNOERROR aa\nanswer\n  w.t. 60 IN A 192.0.2.1\noptions\n  3 00\n",
                "options",
            ),
            ("query w.t. A option 8 00010000\nNOERROR aa\nanswer\n  w.t. 60 IN A 192.0.2.1\n", "options"),
            ("query w.t. A edns\n", "no query"),
            ("query w.t. A\nnothing\n", "instead of"),
            ("query w.t. A qr\nNOERROR aa\n", "no answer"),
        ] {
            let said = play(&format!("{ZONE}{lie}")).expect_err(lie);
            assert!(said.contains(why), "{said}");
        }
        let truth = "query w.t. A\nNOERROR aa\nanswer\n  w.t. 60 IN A 192.0.2.1\n";
        assert_eq!(play(&format!("{ZONE}{truth}")), Ok(()));
    }
}
