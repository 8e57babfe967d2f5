//! What is code, and what merely mentions it.

use super::*;

mod code_only {
    use super::*;

    #[test]
    fn blanks_comments_of_every_kind() {
        assert_eq!(code_only("a // unsafe\nb"), "a          \nb");
        assert_eq!(code_only("a /* x /* y */ z */ b").replace(' ', ""), "ab");
        assert_eq!(code_only("//! unsafe\nfn f() {}").trim(), "fn f() {}");
    }

    #[test]
    fn blanks_strings_of_every_kind() {
        for literal in [
            r#""unsafe""#,
            r##"r#"uns"afe"#"##,
            r#"b"unsafe""#,
            r#"br"unsafe""#,
            r#""a\"unsafe""#,
            r#"c"unsafe""#,
        ] {
            let code = code_only(&format!("f({literal}) + unsafely"));
            assert_eq!(line_with_word(&code, "unsafe"), None, "{literal} became {code}");
            assert!(code.contains("unsafely"), "{literal} swallowed what follows: {code}");
        }
    }

    #[test]
    fn tells_a_lifetime_from_a_character() {
        assert_eq!(code_only("fn f<'a>(x: &'a str) -> char { '\"' }").matches('"').count(), 0);
        assert!(code_only("fn f<'a>(x: &'a str) { unsafe {} }").contains("unsafe"));
        assert!(code_only(r"let q = '\''; unsafe {}").contains("unsafe"));
        assert!(code_only("let q = b'\"'; unsafe {}").contains("unsafe"));
    }

    #[test]
    fn keeps_line_numbers() {
        let source = "a\n/*\n*/\n\"x\ny\"\nunsafe";
        assert_eq!(line_with_word(&code_only(source), "unsafe"), Some(6));
    }
}

mod words {
    use super::*;

    #[test]
    fn are_whole() {
        assert_eq!(line_with_word("unsafe_code", "unsafe"), None);
        assert_eq!(line_with_word("not_unsafe", "unsafe"), None);
        assert_eq!(line_with_word("x\nunsafe {", "unsafe"), Some(2));
        assert_eq!(line_with_word("dbg!(x)", "dbg!"), Some(1));
    }
}
